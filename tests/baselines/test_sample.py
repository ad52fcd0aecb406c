from __future__ import annotations

from typing import Any

import pytest

from baselines.lessons import Demonstration
from baselines.sample import match

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
