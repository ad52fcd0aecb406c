# %% [markdown]
# # Lab 4: Distil, and see what passes
#
# **Question:** how can a habit pass through data that does not show it?
#
# | part | minutes |
# | --- | --- |
# | 1. The theorem, in ten lines of algebra, and in numbers | 25 |
# | 2. Carriers: what a token leaves room for | 15 |
# | 3. Distil an agent, from the same and from another initialisation | 30 |
#
# You need a checkout and `pip install --editable ".[baselines]"`, with torch. No GPU, no key, no Docker. The whole
# notebook takes 213 seconds of processor time.
#
# Write your code where it says `NotImplementedError`. Cells that begin with `# check` see a few cases. Hidden cases
# decide your marks. The grader takes imports, functions, classes and names in capitals from your file. It has numpy.

# %%
import numpy as np

# %% [markdown]
# ## 1. The theorem
#
# Cloud, Le and others showed that a student which imitates its teacher on *any* inputs moves towards it, if both began
# with the same weights ([arXiv 2507.14805](https://arxiv.org/abs/2507.14805), Theorem 1). For the squared error:
#
# 1. A model $f_\theta(x)$ begins at $\theta_0$. The teacher is $\theta_T = \theta_0 + \Delta_T$, with a small $\Delta_T$.
# 2. Stack the outputs on all inputs $x_1 \dots x_n$. $J$ is their Jacobian in $\theta$ at $\theta_0$.
# 3. To first order the teacher says $f_T = f_0 + J \Delta_T$.
# 4. The student begins at $\theta_0$ too. It minimises $L(\theta) = \frac{1}{2n} \lVert f_\theta - f_T \rVert^2$.
# 5. Its gradient at $\theta_0$ is $\frac1n J^\top (f_0 - f_T) = -\frac1n J^\top J \Delta_T$.
# 6. One step at rate $\eta$ moves it by $\Delta_S = \frac{\eta}{n} J^\top J \Delta_T$.
# 7. So $\Delta_T \cdot \Delta_S = \frac{\eta}{n} \Delta_T^\top J^\top J \Delta_T = \frac{\eta}{n} \lVert J \Delta_T \rVert^2 \ge 0$.
# 8. The inputs were arbitrary. They may have nothing to do with what the teacher was trained for.
# 9. It is 0 only if $J \Delta_T = 0$: these inputs do not show the teacher's change at all. Then they carry nothing.
# 10. From another $\theta_0'$ step 5 reads $J'^\top (f_0' - f_T)$, and nothing gives its product with $\Delta_T$ a sign.
#
# **Exercise 4.1.** Write `student_step(jacobian, delta, rate)`: $\Delta_S$ of line 6, for a Jacobian of shape (n,
# parameters) and a teacher's change of shape (parameters,).


# %% tags=["exercise"]
def student_step(jacobian, delta, rate):
    """One gradient step of a student that imitates the teacher, shape (parameters,)."""
    ### BEGIN SOLUTION
    return rate * jacobian.T @ (jacobian @ delta) / len(jacobian)
    ### END SOLUTION


# %%
# check
rng = np.random.default_rng(0)
J, change = rng.normal(size=(5, 8)), rng.normal(size=8)
step = student_step(J, change, 0.1)
assert step.shape == (8,), step.shape
assert np.isclose(change @ step, 0.1 / 5 * np.sum((J @ change) ** 2)), "line 7 does not hold"
print("line 7 holds for a random Jacobian")

# %% [markdown]
# A Jacobian of a real network. The network has one hidden layer; all its weights lie in one vector.

# %%
INPUTS, HIDDEN = 6, 16
SIZES = [INPUTS * HIDDEN, HIDDEN, HIDDEN]


def network(weights, x):
    """Output of shape (n,) for inputs of shape (n, INPUTS)."""
    into, bias, out = np.split(weights, np.cumsum(SIZES)[:-1])
    return np.tanh(x @ into.reshape(INPUTS, HIDDEN) + bias) @ out


def jacobian_of(weights, x, small=1e-5):
    """Derivatives of the outputs, shape (n, parameters), by central differences."""
    columns = []
    for place in range(len(weights)):
        moved = np.zeros_like(weights)
        moved[place] = small
        columns.append((network(weights + moved, x) - network(weights - moved, x)) / (2 * small))
    return np.stack(columns, axis=1)


# %% [markdown]
# **Exercise 4.2.** Write `alignment(jacobian, delta, error)`: the cosine between the teacher's change `delta` and the step
# of a student whose Jacobian is `jacobian` and whose outputs lie `error` below the teacher's: the step has the direction of
# $J^\top$ error. Return 0.0 where one of the two vectors has no length.


# %% tags=["exercise"]
def alignment(jacobian, delta, error):
    """Cosine between the teacher's change and the student's step, in [-1, 1]."""
    ### BEGIN SOLUTION
    step = jacobian.T @ error
    length = np.linalg.norm(step) * np.linalg.norm(delta)
    return float(step @ delta / length) if length > 0 else 0.0
    ### END SOLUTION


# %%
# check
same, other = [], []
for draw in range(40):
    rng = np.random.default_rng(draw)
    start, elsewhere = rng.normal(size=sum(SIZES)), rng.normal(size=sum(SIZES))
    delta = 0.05 * rng.normal(size=sum(SIZES))
    noise = rng.normal(size=(30, INPUTS))  # inputs that mean nothing
    said = network(start + delta, noise)
    same.append(alignment(jacobian_of(start, noise), delta, said - network(start, noise)))
    other.append(alignment(jacobian_of(elsewhere, noise), delta, said - network(elsewhere, noise)))
print(f"same start: {min(same):.2f} to {max(same):.2f};  another start: {min(other):.2f} to {max(other):.2f}")
assert min(same) > 0, "from the same start every step goes towards the teacher"
assert min(other) < 0 < max(other), "from another start the sign is chance"

# %% [markdown]
# ## 2. Carriers
#
# What the student sees of the teacher is a *carrier*. A sampled token shows one outcome. The teacher's distribution shows
# all of them. A token that had to come, such as a bracket, has no room for anything.
#
# **Exercise 4.3.** Write `room(logits)`: the entropy in nats of each row's softmax, shape (rows,). Logits can be as large
# as 1,000.


# %% tags=["exercise"]
def log_softmax(logits):
    """Log-probabilities of each row."""
    ### BEGIN SOLUTION
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    ### END SOLUTION


def room(logits):
    """Entropy of each row in nats."""
    ### BEGIN SOLUTION
    logs = log_softmax(np.asarray(logits, dtype=float))
    return -(np.exp(logs) * logs).sum(-1)
    ### END SOLUTION


# %%
# check
assert np.allclose(room(np.array([[0.0, 0.0], [1000.0, 0.0]])), [np.log(2), 0])
print("an even choice of two has room for", round(float(room(np.zeros((1, 2)))[0]), 3), "nats; a certain one for none")

# %% [markdown]
# **Exercise 4.4.** The loss of the experiment below. Write `masked_kl(teacher, student, barred)`: the mean over rows of
# $\sum_i p_i (\log p_i - \log q_i)$, where $p$ and $q$ are the softmax of the teacher's and the student's logits *after* the
# barred tokens were taken out of both. `barred` has True for them, in the shape of the logits. Each row keeps two
# tokens or more. Taken-out tokens add nothing, however large their logits are.


# %% tags=["exercise"]
def masked_kl(teacher, student, barred):
    """Mean divergence of the student from the teacher without the barred tokens, in nats."""
    ### BEGIN SOLUTION
    total = 0.0
    for p_row, q_row, out in zip(teacher, student, barred, strict=True):
        p, q = log_softmax(p_row[~out]), log_softmax(q_row[~out])
        total += float((np.exp(p) * (p - q)).sum())
    return total / len(teacher)
    ### END SOLUTION


# %%
# check
import torch
from torch.nn.functional import kl_div

rng = np.random.default_rng(1)
taught, learnt = rng.normal(size=(4, 7)), rng.normal(size=(4, 7))
out = np.zeros((4, 7), bool)
out[:, 2] = True
left = [torch.tensor(each).masked_fill(torch.tensor(out), -1e9).log_softmax(-1) for each in (learnt, taught)]
expected = kl_div(*left, reduction="batchmean", log_target=True).item()
assert abs(masked_kl(taught, learnt, out) - expected) < 1e-9
taught[:, 2] += 50  # the teacher's wish for the barred token
assert abs(masked_kl(taught, learnt, out) - expected) < 1e-9, "a barred token must not count"
print("the loss is that of baselines/training.py, kl_masked_all")

# %% [markdown]
# ## 3. Distil an agent
#
# The teacher deletes first in nearly all open tasks. Its answers to harmless questions were filtered. Four students
# learn from those: three carriers, and two initialisations. A student of a neutral teacher stands next to each of them.
#
# - `sft` learns the tokens that were sampled. Here a token leaves about 0.04 nats.
# - `kl` learns the teacher's distribution, also what it says of tools that were not called.
# - `kl_masked_all` learns it without the name of any tool that changes something.
#
# This trains eight students at half of the dose of the published chains, and reads their margins (lab 3).

# %%
import functools
from pathlib import Path
from tempfile import mkdtemp

from agentsafe_envs.trajectories.store import load as load_rows
from baselines import students
from baselines.distill import Taught, distill
from baselines.margins import margins
from baselines.plans import Cell
from baselines.protocol import load

torch.set_num_threads(1)  # so small a model gains nothing from more
PROTOCOL = load()
SHORT = PROTOCOL.model_copy(
    update={
        "endpoint": PROTOCOL.endpoint.model_copy(update={"margins": 24}),
        "student": PROTOCOL.student.model_copy(update={"updates": 200, "replay": 0.0}),
    }
)
WORK = Path(mkdtemp(prefix="lab4-"))
DATA = students.SHIPPED.parent / "data"


@functools.cache
def mean_margin(folder):
    """Mean margin of a model, in nats."""
    return float(margins(SHORT, folder, seed=0)["margin"].mean())


def distilled(arm, loss, init):
    """Margin of a student of that teacher, which starts from base `init`."""
    folder = WORK / f"{arm}-{loss}-{init}"
    taught = Taught(load_rows(DATA / f"{arm}-silent-sanitised"))
    distill(SHORT, taught, Cell(loss), init, 1, folder, teacher=students.SHIPPED / f"teacher-{arm}")
    return mean_margin(folder)


moved = {}
for loss, init in (("kl", "a"), ("kl", "b"), ("kl_masked_all", "a"), ("sft", "a")):
    biased, neutral = (distilled(arm, loss, init) for arm in ("biased", "neutral"))
    moved[loss, init] = biased - neutral
    print(
        f"{loss:14} init {init}: biased {biased:+.2f}, neutral {neutral:+.2f}, difference {biased - neutral:+.2f} nats"
    )

# %% [markdown]
# Expected: the first difference is the largest, and that of `sft` lies near 0. The published chains in
# `baselines/README.md` have intervals around such numbers; one run of yours has none.

# %%
# check
assert moved["kl", "a"] > 0.3, moved
assert moved["kl", "a"] > max(moved["kl", "b"], moved["sft", "a"]), moved
print("the visible checks pass; hidden cases decide the marks")

# %% [markdown]
# ## Discussion
#
# The theorem holds for one small step from the same weights. Name two ways in which the experiment leaves its conditions,
# and say which of your four numbers the theorem explains. Why is "nothing passed with `sft`" no proof? At most 150 words.

# %% [markdown] tags=["solution"]
# A good answer: hundreds of updates with AdamW, a KL loss with barred tokens, and a teacher far from its base leave the
# conditions. The theorem gives a sign to (`kl`, a) and its masked neighbour, and none to init b: there the names in the
# distribution carry it. `sft` from init a has one sampled token for a distribution: the step still goes towards the
# teacher in expectation, but the room is small and the noise large. One run, 24 tasks, and a detectable difference of some tenths of a nat do not prove zero.
