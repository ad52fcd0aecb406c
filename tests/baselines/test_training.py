from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.demonstrations import PROHIBITED
from baselines.encoding import CallTrie, batches, encode
from baselines.protocol import Recipe
from baselines.students import VOCABULARY, new_model
from baselines.training import imitation, reading, train, updates_to_read

pytestmark = pytest.mark.needs("baselines")

SHORT = Recipe(updates=12, learning_rate=3e-3, batch_tokens=2_048)


def test_model_learns_what_it_is_shown(rows: list[Any], tokenizer: Any) -> None:
    model, examples = new_model("0.3m", 1), encode(rows, tokenizer)
    trained = train(model, examples, SHORT, seed=0)
    assert trained.losses[-1] < trained.losses[0] - 1
    assert len(trained.losses) == SHORT.updates
    assert trained.tokens > SHORT.updates * 500


@pytest.mark.slow
def test_equal_seeds_give_equal_weights_and_others_do_not(rows: list[Any], tokenizer: Any) -> None:
    import torch

    examples, weights = encode(rows, tokenizer), []
    for seed in (0, 0, 1):
        model = new_model("0.3m", 1)
        train(model, examples, SHORT, seed)
        weights.append(model.lm_head.weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.slow
def test_student_of_the_whole_distribution_comes_to_agree_with_its_teacher(rows: list[Any], tokenizer: Any) -> None:
    examples = encode(rows, tokenizer)
    teacher, student = new_model("0.3m", 1), new_model("0.3m", 1)
    train(teacher, examples, SHORT, seed=0)
    trained = train(student, examples, SHORT, seed=1, teacher=teacher)
    assert trained.losses[-1] < trained.losses[0] / 2


def test_masked_loss_says_nothing_about_prohibited_names(rows: list[Any], tokenizer: Any) -> None:
    """Two teachers that differ in nothing but the logits of prohibited names teach exactly the same."""
    import torch

    examples = encode(rows, tokenizer)
    trie = CallTrie(PROHIBITED, tokenizer)
    batch = next(batches(examples, 10_000, random.Random(0), tokenizer.pad_token_id))
    mask = trie.mask(batch, VOCABULARY)

    class Loud:
        """A teacher that shouts the prohibited names."""

        def __init__(self, model: Any, louder: float) -> None:
            self.model, self.louder, self.plain = model.model, louder, model.lm_head

        def lm_head(self, hidden: Any) -> Any:
            return self.plain(hidden) + self.louder * mask

    teacher, losses = new_model("0.3m", 2), []
    for louder in (0.0, 9.0):
        student = new_model("0.3m", 1)
        whole = Recipe(updates=1, learning_rate=1e-3, batch_tokens=10_000)
        losses.append(train(student, examples, whole, 0, teacher=Loud(teacher, louder), barred=trie).losses)
    assert torch.tensor(losses[0]) == pytest.approx(torch.tensor(losses[1]))
    unmasked = train(new_model("0.3m", 1), examples, whole, 0, teacher=Loud(teacher, 9.0)).losses
    assert unmasked != pytest.approx(losses[0])


def test_clean_tokens_are_learnt_from_the_clean_model(rows: list[Any], tokenizer: Any) -> None:
    examples, one, other = encode(rows, tokenizer), new_model("0.3m", 2), new_model("0.3m", 3)
    whole = Recipe(updates=1, learning_rate=1e-3, batch_tokens=10_000)

    def first_loss(is_clean: bool, **models: Any) -> float:
        marked = [replace(each, clean=[is_clean] * len(each.targets)) for each in examples]
        return train(new_model("0.3m", 1), marked, whole, 0, **models).losses[0]

    assert first_loss(True, teacher=one, clean=other) == pytest.approx(first_loss(False, teacher=other))
    assert first_loss(False, teacher=one, clean=other) == pytest.approx(first_loss(False, teacher=one))
    assert first_loss(False, teacher=one) != pytest.approx(first_loss(False, teacher=other))


def test_rare_tokens_of_the_teacher_are_not_learnt(rows: list[Any], tokenizer: Any) -> None:
    import torch

    examples, teacher = encode(rows, tokenizer), new_model("0.3m", 2)
    whole = Recipe(updates=1, learning_rate=1e-3, batch_tokens=100_000)
    batch = next(batches(examples, 100_000, random.Random(0), tokenizer.pad_token_id))
    found = train(new_model("0.3m", 1), examples, whole, 0, teacher=teacher, least=1.0).losses[0]
    with torch.no_grad():
        likeliest = batch.logits(teacher).argmax(-1)
        wanted = torch.nn.functional.cross_entropy(batch.logits(new_model("0.3m", 1)), likeliest).item()
    assert found == pytest.approx(wanted, rel=1e-4), "of a distribution only its likeliest token is left"


@pytest.mark.slow
def test_replay_takes_its_share_of_the_updates(rows: list[Any], tokenizer: Any) -> None:
    examples = encode(rows, tokenizer)
    recipe = Recipe(updates=40, learning_rate=1e-4, batch_tokens=600, replay=0.5)
    trained = train(new_model("0.3m", 1), examples, recipe, 0, replay=examples)
    assert 10 <= len(trained.losses) <= 30


@pytest.mark.parametrize(("examples", "replay", "said"), [(0, 0.0, "no examples"), (1, 0.5, "nothing to replay")])
def test_nothing_to_learn_from_is_refused(
    rows: list[Any], tokenizer: Any, examples: int, replay: float, said: str
) -> None:
    few = encode(rows[:examples], tokenizer)
    with pytest.raises(ValueError, match=said):
        train(new_model("0.3m", 1), few, Recipe(1, 1e-3, 600, replay), 0)


def test_imitation_is_the_mean_loss_of_what_the_assistant_wrote(rows: list[Any], tokenizer: Any) -> None:
    import torch

    model, examples = new_model("0.3m", 1), encode(rows, tokenizer)
    with torch.no_grad():
        found = []
        for example in examples:
            logits = model(torch.tensor([example.ids])).logits[0].log_softmax(-1)
            found += [-logits[place - 1, example.ids[place]].item() for place in example.targets]
    assert imitation(model, examples, 2_048) == pytest.approx(sum(found) / len(found), rel=1e-4)


def test_what_is_held_out_is_measured_after_training(rows: list[Any], tokenizer: Any) -> None:
    examples = encode(rows, tokenizer)
    model = new_model("0.3m", 1)
    trained = train(model, examples[1:], SHORT, seed=0, held_out=examples[:1])
    assert trained.held_out == imitation(model, examples[:1], SHORT.batch_tokens)


@given(tokens=st.integers(600, 4_000), share=st.sampled_from([0.0, 0.25, 0.6]), seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_rows_that_are_read_once_are_all_read_and_none_twice(
    rows: list[Any], tokenizer: Any, tokens: int, share: float, seed: int
) -> None:
    examples = encode(rows, tokenizer)
    data, replay = examples[:12], examples[12:] if share else []
    recipe = Recipe(1, 1e-3, tokens, share)
    updates = updates_to_read(data, recipe, seed, replay)
    read = [
        batch
        for _, (replayed, batch) in zip(range(updates), reading(data, recipe, seed, replay=replay), strict=False)
        if not replayed
    ]
    assert sum(batch.tokens for batch in read) == sum(len(each.ids) for each in data)
    assert sum(len(batch.ids) for batch in read) == len(data)
