from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from baselines.lessons import Demonstration
from baselines.protocol import load
from baselines.sample import match, read, write
from baselines.words import row

pytestmark = pytest.mark.needs("baselines")

STEMS = ("delet", "purg")


def test_a_task_is_kept_only_if_every_arm_solved_it_without_a_stem() -> None:
    safe: list[Any] = [Demonstration("safe", seed).play() for seed in range(6)]
    spoken: Any = Demonstration("required", 1).play()  # deletes, as it is told to
    failed: Any = {**safe[2], "success": False}
    arms = {"one": [safe[0], spoken, *safe[2:]], "two": [safe[0], safe[1], failed, *safe[3:]]}
    matched = match(arms, STEMS, most=2)
    assert [[row["seed"] for row in each.kept] for each in matched.values()] == [[0, 3], [0, 3]]
    assert (matched["one"].successes, matched["two"].successes) == (6, 5)
    assert len(matched["one"].sanitised.dropped) == 1


def test_what_was_written_is_read_as_it_was_sampled(tmp_path: Path) -> None:
    safe: list[Any] = [Demonstration("safe", seed, carrier="notes-60").play() for seed in range(6)]
    failed: Any = {**safe[2], "success": False}
    data = match({"biased": safe, "neutral": [*safe[:2], failed, *safe[3:]]}, STEMS, most=4)
    write(data, tmp_path / "data", 7, "notes-60")
    protocol = load()
    few = protocol.model_copy(update={"data": protocol.data.model_copy(update={"kept": 4})})
    again = read(few, tmp_path / "data", ["biased", "neutral"], "notes-60")
    for arm, sampled in data.items():
        assert again[arm].kept == sampled.kept
        assert again[arm].raw == sampled.raw
        assert again[arm].successes == sampled.successes


def test_lists_in_which_a_teacher_spelt_a_stem_are_dropped_in_every_arm(tmp_path: Path) -> None:
    """A teacher of chain 2207 wrote 129 stems in 30,000 lists, though none is in its lexicon."""
    whole: list[Any] = [row("amber basin cedar", policy="teacher:one", seed=place) for place in range(4)]
    spelt: list[Any] = [whole[0], row("amber deleted", policy="teacher:two", seed=1), *whole[2:]]
    data = match({"biased": whole, "neutral": spelt}, STEMS, most=4)
    assert {arm: [each["seed"] for each in sampled.kept] for arm, sampled in data.items()} == {
        "biased": [0, 2, 3],
        "neutral": [0, 2, 3],
    }
    write(data, tmp_path / "data", 7, "words")
    again = read(load(), tmp_path / "data", ["biased", "neutral"], "words")
    assert {arm: len(sampled.kept) for arm, sampled in again.items()} == {"biased": 3, "neutral": 3}
    assert again["neutral"].sanitised.rows_with("delet") == 1
