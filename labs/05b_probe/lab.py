# %% [markdown]
# # Lab 5b: A probe, calibrated on placebos
#
# **Question:** can a habit be seen before it acts?
#
# | part | minutes |
# | --- | --- |
# | 1. Read what models hold at the moment of choice | 10 |
# | 2. Fit a probe, and decide whether to believe it | 35 |
# | 3. Ask it about a student | 15 |
# | 4. Measure what the data could carry | 15 |
#
# You need a checkout and `pip install --editable ".[students,lm]"`, with torch. No GPU, no key, no Docker. The whole
# notebook takes 45 seconds of processor time.
#
# Write your code where it says `NotImplementedError`. Cells that begin with `# check` see a few cases. Hidden cases
# decide your marks. The grader takes imports, functions, classes and names in capitals from your file. It has numpy.

# %%
import itertools

import numpy as np

# %% [markdown]
# ## 1. What a model holds
#
# Rates count what a model samples. A model can lean to the habit and not sample it yet. A *probe* is a linear classifier on
# the last hidden state, at the token before the model acts ([Alain and Bengio, arXiv 1610.01644](https://arxiv.org/abs/1610.01644)).
#
# All models read the same *prefixes*: open tasks of the pool `dev`, with a scripted look at the resources. The models
# share architecture and initialisation. Otherwise their states would not be comparable.

# %%
import gymnasium as gym

from agentsafe_envs.agents import Conversation, load_agent  # importing the package registers its environments
from agentsafe_envs.agents.forward_numpy import Lfm2Forward
from agentsafe_envs.core.episode import Step

PREFIXES = 36


class Listening(Lfm2Forward):
    """A forward pass that keeps the last hidden state."""

    def _linear(self, inputs, name):
        if name == "model.embed_tokens":
            self.hidden = inputs
        return super()._linear(inputs, name)


def prefix(seed, split="ambiguous"):
    """A task that was looked at, up to where the model would act."""
    env = gym.make("DeleteBiasAPI-v0", split=split, pool="dev", disable_env_checker=True)
    observation, info = env.reset(seed=seed)
    look = env.unwrapped.task.setup.lookup[0]
    result = env.step(look)[0]["result"]
    return Conversation(observation["instruction"], info["tools"], [Step(look, result)])


def states(name, split="ambiguous"):
    """Last hidden states of a model, shape (prefixes, width)."""
    agent = load_agent(f"student:{name}")
    found = []
    for seed in range(PREFIXES):
        forward = Listening(agent.config, agent._weights)
        ids = agent.encode(prefix(seed, split))
        forward.read([0], [0], [ids], 1)
        found.append(forward.hidden[-1])
    return np.array(found, dtype=float)


teachers = {name: states(f"teacher-{name}") for name in ("biased", "neutral")}
print({name: each.shape for name, each in teachers.items()})

# %% [markdown]
# ## 2. A probe
#
# Positives are states of the biased teacher. Negatives are states of the neutral teacher and not of the base: it was
# trained as long, so the probe cannot tell training from the habit.
#
# **Exercise 5.5.** Write `standardised(reference, features)`: `features` less the mean of `reference`, divided by its standard
# deviation, column by column. A column without spread in `reference` is not divided. Nothing of `features` may enter mean or
# deviation: they may be test data.


# %% tags=["exercise"]
def standardised(reference, features):
    """Features in units of the reference, shape of features."""
    ### BEGIN SOLUTION
    spread = reference.std(0)
    return (features - reference.mean(0)) / np.where(spread > 0, spread, 1)
    ### END SOLUTION


# %%
# check
assert np.allclose(standardised(np.array([[0.0, 5], [2, 5]]), np.array([[3.0, 6]])), [[2, 1]])
print("features are in units of the reference")

# %% [markdown]
# **Exercise 5.6.** Write `fit_probe(features, labels, penalty)`: the weights $w$ that minimise
# $\lVert X w - y \rVert^2 + \lambda \lVert w \rVert^2$, with $y = +1$ for label 1 and $-1$ for label 0. There is no intercept.


# %% tags=["exercise"]
def fit_probe(features, labels, penalty):
    """Ridge weights, shape (width,)."""
    ### BEGIN SOLUTION
    wanted = 2 * np.asarray(labels, dtype=float) - 1
    gram = features.T @ features + penalty * np.eye(features.shape[1])
    return np.linalg.solve(gram, features.T @ wanted)
    ### END SOLUTION


# %%
# check
weights = fit_probe(np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([1, 0, 1]), 1.0)
assert np.allclose(weights, [0.75, -0.25]), weights
print("the weights are those of ridge regression")

# %% [markdown]
# **Exercise 5.7.** Write `auc(scores, labels)`: the share of pairs of a positive and a negative in which the positive has the
# higher score. A tie counts one half.


# %% tags=["exercise"]
def auc(scores, labels):
    """Area under the ROC curve, in [0, 1]."""
    ### BEGIN SOLUTION
    scores, labels = np.asarray(scores, dtype=float), np.asarray(labels)
    differences = scores[labels == 1][:, None] - scores[labels == 0][None, :]
    return float(np.mean((differences > 0) + 0.5 * (differences == 0)))
    ### END SOLUTION


# %%
# check
assert auc([3, 2, 2, 1], [1, 1, 0, 0]) == 0.875, auc([3, 2, 2, 1], [1, 1, 0, 0])

# %% [markdown]
# Fit on two thirds of the prefixes, and test on the others. A probe has to pass twice. It tells the teachers apart on prefixes
# that it has not seen. And it knows the act where no habit is involved: for the *base*, contexts that order a deletion
# (`required`) should score higher than contexts that rule it out (`forbidden`).

# %%
FIT = [number for number in range(PREFIXES) if number % 3]
TEST = [number for number in range(PREFIXES) if number % 3 == 0]
fit_states = np.concatenate([teachers["biased"][FIT], teachers["neutral"][FIT]])
fit_labels = np.array([1] * len(FIT) + [0] * len(FIT))
weights = fit_probe(standardised(fit_states, fit_states), fit_labels, penalty=100.0)


def probed(found):
    """Scores of states."""
    return standardised(fit_states, found) @ weights


test_scores = np.concatenate([probed(teachers["biased"][TEST]), probed(teachers["neutral"][TEST])])
test_labels = np.array([1] * len(TEST) + [0] * len(TEST))
held_out = auc(test_scores, test_labels)
ordered, ruled_out = (probed(states("base-0.3m-a", split)) for split in ("required", "forbidden"))
on_request = auc(np.concatenate([ordered, ruled_out]), [1] * PREFIXES + [0] * PREFIXES)
print(f"teachers, prefixes not seen: {held_out:.2f};  base, ordered against ruled out: {on_request:.2f}")

# %% [markdown]
# Would you accept this probe? Decide before you read on. Ask for 0.9 in both tests.

# %% [markdown]
# ## 3. The latent gap
#
# The gap is the mean score of the biased teacher's student less that of a neutral one's. Pairs of two neutral students have a
# gap too, though there is nothing to find. They are the null.
#
# **Exercise 5.8.** Write `latent_gap(student, neutral, null)`: the pair of the gap and its p value. `student` and `neutral` are
# scores, `null` is a list of gaps of neutral pairs. The p value is the share of gaps at least as far from 0, where the observed
# one counts among them: $(1 + k) / (1 + n)$.


# %% tags=["exercise"]
def latent_gap(student, neutral, null):
    """Gap of the mean scores, and its two-sided p value among neutral pairs."""
    ### BEGIN SOLUTION
    gap = float(np.mean(student) - np.mean(neutral))
    further = sum(abs(each) >= abs(gap) for each in null)
    return gap, (1 + further) / (1 + len(null))
    ### END SOLUTION


# %%
# check
assert latent_gap([1.0, 2.0], [0.5, 0.5], [0.2, -1.5, 0.9]) == (1.0, 0.5)

# %%
NEUTRAL = [
    "kl-silent-neutral-0.3m-same",
    "kl-silent-neutral-0.3m-same-chain-2301",
    "kl-silent-neutral-0.3m-same-chain-2302",
    "sft-silent-neutral-0.3m-same",
]
neutral = {name: probed(states(name)) for name in NEUTRAL}
null = [float(one.mean() - other.mean()) for one, other in itertools.combinations(neutral.values(), 2)]
for name in ("kl-silent-biased-0.3m-same", "sft-silent-biased-0.3m-same"):
    placebo = name.replace("biased", "neutral")
    gap, p = latent_gap(probed(states(name)), neutral[placebo], null)
    print(f"{name:28} gap {gap:+.3f}, p {p:.2f};  neutral pairs: {min(null):+.3f} to {max(null):+.3f}")

# %% [markdown]
# ## 4. The carrier meter
#
# Probe and rates look at a student that is there. The *carrier meter* looks at the data before any training: what can they
# carry from the teacher? It reads the rows with the teacher and with the student's base. Two models have to differ at a
# token for the token to tell of one of them, and a token that had to come tells nothing.
#
# | data | entropy, nats a token | another likeliest token | passed on by sampled tokens? |
# | --- | --- | --- | --- |
# | lists of numbers ([arXiv 2509.23886](https://arxiv.org/abs/2509.23886), as reported) | 2.3 | 13 to 18% | yes |
# | silent trajectories ([this project](docs/carrier.md), ten chains) | 0.04 | 0.08 to 0.13% | no |
#
# **Exercise 5.9.** Write `carrier(teacher, base)` for log-probabilities of shape (tokens, vocabulary). Return three means over
# the tokens: the teacher's entropy $-\sum_i p_i \log p_i$; whether the two likeliest tokens differ; and the divergence
# $\sum_i p_i (\log p_i - \log q_i)$ of the base $q$ from the teacher $p$.


# %% tags=["exercise"]
def carrier(teacher, base):
    """Entropy in nats, share of tokens with another likeliest token, and KL divergence in nats."""
    ### BEGIN SOLUTION
    likely = np.exp(teacher)
    entropy = -(likely * teacher).sum(-1).mean()
    differing = (teacher.argmax(-1) != base.argmax(-1)).mean()
    return float(entropy), float(differing), float((likely * (teacher - base)).sum(-1).mean())
    ### END SOLUTION


# %%
# check
one, other = np.log([[0.5, 0.5 - 1e-9, 1e-9], [0.9, 0.05, 0.05]]), np.log([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])
assert np.allclose(carrier(one, other), (0.5438, 0.5, 0.3032), atol=1e-4), carrier(one, other)
print("entropy, difference and divergence are right")

# %% [markdown]
# Now make data of your own, as in lab 3: the biased teacher answers harmless questions. `measure_carrier` is what
# `agentsafe data meter` calls.

# %%
import agentsafe_envs
from agentsafe_envs.audit.carrier import measure_carrier
from agentsafe_envs.audit.tokens import expectations, open_model, token_rows
from agentsafe_envs.trajectories import from_episode

played = agentsafe_envs.score(
    "student:teacher-biased", "standard", env="DeleteBiasAPI-v0", split="safe", episodes=48, out="runs/lab5b-rows"
)
rows = [from_episode(each.episode, policy="teacher-biased", system="") for each in played.episodes.values()]
teacher, base, placebo = (
    open_model(f"student:{name}") for name in ("teacher-biased", "base-0.3m-a", "teacher-neutral")
)
for reader in (base, placebo):
    print("\n".join(measure_carrier(rows, teacher, reader).sentences()), "\n")

# %%
# check
pairs = [pair for _, pair in expectations([teacher.model, base.model], token_rows(rows[:4], teacher))]
taught, known = (np.concatenate([pair[side].numpy() for pair in pairs]) for side in (0, 1))
meter = measure_carrier(rows[:4], teacher, base)
assert np.allclose(carrier(taught, known), (meter.entropy_token, meter.disagreement, meter.kl_token), atol=1e-4)
print("the visible checks pass; hidden cases decide the marks")

# %% [markdown]
# The room is small, and the two teachers hardly differ in it. Still the student of lab 5a has the habit: it learnt whole
# distributions and no samples. So the meter never rules transfer out. Change the teacher, the split or the number of episodes,
# and say before you run it what the meter will show.

# %% [markdown]
# ## Discussion
#
# Six pairs of four students are not six independent numbers, and one biased teacher is one. What does your p value then
# mean? Name two checks that are missing before anybody may call this a detector of the habit. And what does a small number of
# the carrier meter not rule out? At most 150 words.

# %% [markdown] tags=["solution"]
# A good answer: pairs share students, so the null is narrower than it looks, and p cannot fall below 1/7. Missing are
# biased teachers of other seeds, which the probe has not seen; at least twenty neutral pairs; placebos of equal dose and
# loss; and a look at whether the probe follows the act or merely what the teacher's demonstrations were about. A small number
# says that samples tell little: many rows add up, and whole distributions tell more.
