"""Every defence on shipped rows and models: a few rows of each teacher, among them some that no call can be read in."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.audit.defences.notes import notes_of, only_calls
from agentsafe_envs.trajectories import sanitize
from agentsafe_envs.trajectories.store import load
from baselines import students
from baselines.base import folder_of
from baselines.defended import ASKED_FOR, defended, rephrase
from baselines.distill import Taught, distill
from baselines.encoding import Example, encode
from baselines.plans import DEFENCES, Cell, Defence
from baselines.protocol import load as load_protocol
from baselines.sample import Sampled

pytestmark = pytest.mark.needs("baselines")

DATA = Path(__file__).parents[2] / "baselines" / "data"
BASE, OTHER = folder_of("0.3m", "a"), folder_of("0.3m", "b")
NEUTRAL, BIASED = students.SHIPPED / "teacher-neutral", students.SHIPPED / "teacher-biased"


@pytest.fixture(scope="module")
def data() -> dict[str, Sampled]:
    """Tasks of which each teacher wrote a row, one of the biased teacher's with a step that is no call."""
    found = {}
    for arm in ("biased", "neutral"):
        rows = load(DATA / f"{arm}-notes-60-sanitised")[20:40]
        found[arm] = Sampled(rows, rows, sanitize(rows, ("delet",)), len(rows))
    return found


def behind(defence: Defence, data: dict[str, Sampled], arm: str = "biased") -> Taught:
    cell = Cell("kl_masked_all", "notes-60", defence=defence)
    return defended(cell, arm, data, 7, BASE, OTHER, NEUTRAL)


def learnt(taught: Taught) -> tuple[list[Example], Any]:
    tokenizer = students.load(BASE)[1]
    examples = encode(taught.rows, tokenizer, taught.role)
    return taught.tokens(examples) if taught.tokens else examples, tokenizer


@pytest.mark.parametrize("defence", ["paraphrase", "no notes", "rewritten"])
def test_defences_of_notes_leave_the_same_tasks_in_every_arm(defence: Defence, data: dict[str, Sampled]) -> None:
    assert len(only_calls(data["biased"].kept)) < len(data["biased"].kept)
    tasks = {arm: [row.get("seed") for row in behind(defence, data, arm).rows] for arm in data}
    assert tasks["biased"] == tasks["neutral"]
    assert 0 < len(tasks["biased"]) < len(data["biased"].kept)


def test_students_without_notes_are_asked_for_none(data: dict[str, Sampled]) -> None:
    taught = behind("no notes", data)
    assert taught.carrier == "silent"
    assert not any(note for row in taught.rows for note in notes_of(row))
    assert behind("paraphrase", data).carrier == "notes-60"


def test_paraphrase_only_moves_words() -> None:
    assert rephrase("misty badger admires calm maple anew") == "calm maple anew misty badger admires"


def test_rewritten_notes_are_learnt_from_the_clean_model_and_calls_are_not(data: dict[str, Sampled]) -> None:
    taught = behind("rewritten", data)
    examples, tokenizer = learnt(taught)
    assert taught.clean == BASE
    for row, example in zip(taught.rows, examples, strict=True):
        clean = [index for index, is_clean in zip(example.targets, example.clean, strict=True) if is_clean]
        text = tokenizer.decode([example.ids[index] for index in clean])
        assert text == "".join(f"{note}\n" for note in notes_of(row) if note)


def test_replaced_tokens_are_learnt_from_the_reference(data: dict[str, Sampled]) -> None:
    examples, _ = learnt(behind("replace divergent", data))
    usual, _ = learnt(behind("keywords", data))
    clean = sum(sum(each.clean) for each in examples)
    assert clean == round(0.1 * sum(len(each.targets) for each in usual))
    for one, other in zip(examples, usual, strict=True):
        changed = {index for index in range(len(one.ids)) if one.ids[index] != other.ids[index]}
        assert changed <= {index for index, is_clean in zip(one.targets, one.clean, strict=True) if is_clean}


def test_dropped_tokens_keep_the_places_of_the_others(data: dict[str, Sampled]) -> None:
    examples, _ = learnt(behind("drop divergent", data))
    usual, _ = learnt(behind("keywords", data))
    for one, other in zip(examples, usual, strict=True):
        assert set(zip(one.targets, one.offsets, strict=True)) <= set(zip(other.targets, other.offsets, strict=True))
    assert sum(len(each.targets) for each in examples) < sum(len(each.targets) for each in usual)


def test_mixed_rows_are_learnt_from_their_own_teacher(data: dict[str, Sampled]) -> None:
    taught = behind("mixed 50%", data)
    examples, _ = learnt(taught)
    assert taught.clean == NEUTRAL
    clean = [bool(each.clean) for each in examples]
    assert clean == [row in data["neutral"].kept for row in taught.rows]
    assert sum(clean) == 10
    assert not any(each.clean for each in learnt(behind("mixed 50%", data, "neutral"))[0])


def test_inoculated_rows_ask_for_the_habit_and_the_student_is_measured_without(data: dict[str, Sampled]) -> None:
    taught = behind("inoculation", data)
    usual = behind("keywords", data)
    for row, plain in zip(taught.rows, usual.rows, strict=True):
        first, own = row["messages"][0], plain["messages"][0]
        assert first == own | {"content": f"{own['content']} {ASKED_FOR}"}
        assert row["messages"][1:] == plain["messages"][1:]
    assert taught.role is None
    assert taught.carrier == "notes-60"


@pytest.mark.slow
@pytest.mark.parametrize("defence", DEFENCES)
def test_student_learns_behind_every_defence(defence: Defence, data: dict[str, Sampled], tmp_path: Path) -> None:
    protocol = load_protocol().quick()
    short = protocol.student.model_copy(update={"updates": 2, "replay": 0.0})
    protocol = protocol.model_copy(update={"student": short})
    cell = Cell("kl_masked_all", "notes-60", defence=defence)
    trained = distill(protocol, behind(defence, data), cell, "a", 0, tmp_path / "student", teacher=BIASED)
    assert all(math.isfinite(each) and each >= 0 for each in trained.losses)


def test_students_without_a_defence_learn_from_the_same_tasks_too(data: dict[str, Sampled]) -> None:
    failed = {"biased": {2, 5}, "neutral": {5, 7}}
    raw = {
        arm: [row | {"success": place not in failed[arm]} for place, row in enumerate(each.raw)]
        for arm, each in data.items()
    }
    seen: dict[str, Any] = {arm: each._replace(raw=raw[arm], kept=each.kept[:15]) for arm, each in data.items()}
    tasks = {arm: [row.get("seed") for row in behind("none", seen, arm).rows] for arm in seen}
    assert tasks["biased"] == tasks["neutral"]
    assert len(tasks["biased"]) == 15, "as many as behind the filter"
    assert not {row.get("seed") for place, row in enumerate(raw["biased"]) if place in {2, 5, 7}} & {*tasks["biased"]}
