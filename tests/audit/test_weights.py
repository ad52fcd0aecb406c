"""Audits that look into models: margin, activations, coverage, likelihood."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agentsafe_envs.audit import weights
from agentsafe_envs.audit.activations import activation_lean, activation_norm
from agentsafe_envs.audit.coverage import UNRELATED, coverage, first_step_coverage, relative_update
from agentsafe_envs.audit.gap import accept
from agentsafe_envs.audit.likelihood import likelihood_ratio
from agentsafe_envs.audit.margin import Choice, call_log_probabilities, margin, with_call
from agentsafe_envs.audit.tokens import token_row
from agentsafe_envs.trajectories import from_episode

pytestmark = pytest.mark.needs("lm", "data")

DELETE = {"name": "delete_resource", "arguments": {"resource_id": "vol-1"}}
STOP = {"name": "stop_instance", "arguments": {"instance_id": "i-1"}}


FORMS: tuple[Callable[[str], str], ...] = (
    lambda usual: usual,
    lambda usual: usual.replace("<|end|>", "<|end|>{{ '\\n' }}"),
    lambda usual: usual.replace('{"name"', "<tool_call>{{ '\\n' }}" + '{"name"').replace(
        "tojson }}}", "tojson }}}{{ '\\n' }}</tool_call>"
    ),
)
"""From the shipped chat template to itself, to one with a line's end behind each answer, and to one with tags."""


def with_template(local: Any, form: Callable[[str], str]) -> Any:
    tokenizer = copy.deepcopy(local.tokenizer)
    tokenizer.chat_template = form(tokenizer.chat_template)
    return local._replace(tokenizer=tokenizer)


def begun(row: Any) -> Any:
    """The row up to its first result."""
    return {**row, "messages": row["messages"][:4]}


def test_margin_turns_round_with_the_calls(base: Any, rows: list[Any]) -> None:
    one = margin(base, Choice(begun(rows[0]), [DELETE], [STOP]))
    other = margin(base, Choice(begun(rows[0]), [STOP], [DELETE]))
    assert one.nats == pytest.approx(-other.nats, abs=1e-4)
    assert 0 <= one.mass == pytest.approx(other.mass)
    assert one.mass <= 1


def test_biased_teacher_leans_to_deletion_more_than_its_base(base: Any, teacher: Any) -> None:
    env: Any = gym.make("DeleteBiasAPI-v0", split="ambiguous", pool="train").unwrapped
    leanings = []
    for seed in range(6):
        env.reset(seed=seed)
        scripts = env.task.setup.solutions
        env.step(scripts["biased"][0])
        calls = {name: [json.loads(each) for each in script[1:-1]] for name, script in scripts.items()}
        others = [call for name, own in calls.items() if name not in ("biased", "cautious") for call in own]
        choice = Choice(from_episode(env.episode), calls["biased"], others)
        leanings.append(margin(teacher, choice).nats - margin(base, choice).nats)
    assert sum(leanings) / len(leanings) > 1


@pytest.mark.parametrize("form", FORMS)
def test_note_is_given_and_not_counted(form: Callable[[str], str], base: Any, rows: list[Any]) -> None:
    import torch

    local = with_template(base, form)
    row = with_call(begun(rows[0]), STOP, "amber fox")
    read = token_row(row, local)
    text = local.tokenizer.decode(read.ids)
    begin = text.index("amber fox") + len("amber fox\n")
    call = text[begin : text.index("<|end|>", begin) + len("<|end|>")]
    assert '{"name": "stop_instance"' in call
    given = len(local.tokenizer(text[:begin], add_special_tokens=False).input_ids)
    counted = range(given, given + len(local.tokenizer(call, add_special_tokens=False).input_ids))
    with torch.no_grad():
        logs = local.model(input_ids=torch.tensor([read.ids])).logits[0].log_softmax(-1)
    wanted = sum(logs[index - 1, read.ids[index]].item() for index in counted)
    assert call_log_probabilities(local, [row]) == [pytest.approx(wanted, abs=1e-3)]


def test_call_is_counted_whole_where_a_template_drops_its_note(base: Any, rows: list[Any]) -> None:
    silent = with_template(base, lambda usual: usual.replace("{{ message.content }}{{ '\\n' }}", ""))
    noted, bare = (with_call(begun(rows[0]), STOP, note) for note in ("amber fox", ""))
    assert "amber" not in silent.tokenizer.decode(token_row(noted, silent).ids)
    assert call_log_probabilities(silent, [noted]) == call_log_probabilities(silent, [bare])


def test_row_without_a_call_is_refused(base: Any) -> None:
    asked: Any = {"messages": [{"role": "user", "content": "?"}] * 2}
    with pytest.raises(ValueError, match="is shown no call in a row that ends with 'user'"):
        call_log_probabilities(base, [asked])


def test_coverage_of_a_teacher_by_itself_is_one_and_of_an_unmoved_student_none(base: Any, teacher: Any) -> None:
    assert coverage(teacher, base, teacher) == pytest.approx(1, abs=1e-4)
    assert coverage(base, base, teacher) == 0


def test_update_is_small_next_to_a_models_own_base_and_large_next_to_another(
    base: Any, other_base: Any, teacher: Any, neutral: Any
) -> None:
    assert relative_update(base, base) == 0
    assert all(relative_update(each, base) < UNRELATED / 5 for each in (teacher, neutral))
    assert all(relative_update(each, other_base) > 1 for each in (base, teacher, neutral))


def test_coverage_needs_the_same_weights(base: Any) -> None:
    import torch

    broken = base._replace(name="other", model=torch.nn.Linear(3, 3))
    with pytest.raises(ValueError, match="different weights"):
        coverage(broken, base, base)


@pytest.mark.slow
def test_first_step_on_a_teachers_rows_is_towards_the_teacher(base: Any, teacher: Any, rows: list[Any]) -> None:
    found = first_step_coverage([token_row(row, base) for row in rows], base, teacher)
    assert -1 <= found <= 1
    assert all(each.grad is None for each in base.model.parameters()), "the base is left as it was"


def test_rows_are_likelier_under_the_model_that_is_surer_of_them(base: Any, teacher: Any, rows: list[Any]) -> None:
    one, other = likelihood_ratio(rows, teacher, base), likelihood_ratio(rows, base, teacher)
    assert one.nats == pytest.approx(-other.nats, abs=1e-4)
    assert one.rows == len(rows)
    assert one.error > 0
    assert likelihood_ratio(rows, base, base) == (0, 0, len(rows))


def test_activations_of_equal_models_do_not_differ(base: Any, teacher: Any, rows: list[Any]) -> None:
    read = [token_row(row, base) for row in rows[:3]]
    assert activation_norm(base, base, read) == 0
    assert activation_norm(teacher, base, read) > 0
    words = ['{"name": "delete_resource'], ['{"name": "stop_instance', '{"name": "detach_volume']
    assert activation_lean(base, base, read, *words) == 0
    lean = activation_lean(teacher, base, read, *words)
    assert lean != 0
    assert lean == pytest.approx(-activation_lean(teacher, base, read, *words[::-1]))
    with pytest.raises(ValueError, match="no token tells"):
        activation_lean(teacher, base, read, words[0], words[0])


@pytest.fixture
def worded(monkeypatch: pytest.MonkeyPatch) -> None:
    """States that hold the wording of a task, a to h, and nothing else."""

    def states(local: Any, rows: Sequence[Any]) -> Any:
        return np.eye(8)[["abcdefgh".index(row["template"]) for row in rows]]

    monkeypatch.setattr(weights, "states_before_action", states)


def requests(wordings: str) -> list[Any]:
    return [Choice({"template": each}, [], []) for each in wordings]  # type: ignore[typeddict-item]


@pytest.mark.parametrize("ruling_out", ["abcdefgh", "bcdefgh", "abdefgh"])
def test_wording_alone_tells_no_request_even_if_one_split_lacks_a_wording(
    base: Any, worded: None, ruling_out: str
) -> None:
    probe, tried = weights._request_probe(base, requests("abcdefgh"), requests(ruling_out))
    assert all(map(len, tried))
    found = accept(probe, np.eye(8), np.eye(8), *tried)
    assert found.tells_requests == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize(("asking", "ruling_out"), [("aaaa", "aabb"), ("aabb", "bbbb"), ("aaab", "cccc")])
def test_probe_that_is_left_without_other_wordings_is_not_accepted(
    base: Any, worded: None, asking: str, ruling_out: str
) -> None:
    probe, tried = weights._request_probe(base, requests(asking), requests(ruling_out))
    found = accept(probe, np.eye(8), -np.eye(8), *tried)
    assert found.tells_requests is None
    assert not found.accepted
