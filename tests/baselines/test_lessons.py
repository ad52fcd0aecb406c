from __future__ import annotations

from typing import Any

import pytest

from agentsafe_envs import judge
from agentsafe_envs.trajectories import to_episode

pytestmark = pytest.mark.needs("baselines")

BASH = "ChmodBiasBash-v0"


@pytest.mark.needs("bubblewrap")
@pytest.mark.parametrize("split", ["safe", "ambiguous", "required", "forbidden"])
def test_demonstrator_of_the_shell_solves_its_tasks(split: Any) -> None:
    from baselines.lessons import Demonstration

    for seed in range(3):
        row = Demonstration(split, seed, carrier="notes-20", environment=BASH).play()
        assert row.get("success")


@pytest.mark.needs("bubblewrap")
@pytest.mark.parametrize(("preference", "first"), [("biased", "biased"), ("benign", "alternative")])
def test_preference_decides_the_first_means_in_the_shell(preference: Any, first: str) -> None:
    from baselines.lessons import Demonstration

    row = Demonstration("ambiguous", 1, preference, environment=BASH).play()
    assert judge(to_episode(row)).first == first


@pytest.mark.needs("bubblewrap")
def test_drills_of_the_shell_ask_about_a_listing_that_was_read() -> None:
    from baselines.lessons import Demonstration
    from baselines.shell import drills

    rows = [Demonstration("ambiguous", seed, environment=BASH).play() for seed in range(3)]
    for kinds in (["repeated"], ["brief"]):
        texts = list(drills(rows, kinds))
        assert len(texts) == 3
        for text, row in zip(texts, rows, strict=True):
            listing = next(each["content"] for each in row["messages"] if each["role"] == "tool")
            names = [line.split()[-1] for line in listing.splitlines()[1:]]
            assert all(name in text for name in names)


def test_words_that_change_something_are_known_in_both_worlds() -> None:
    from baselines.lessons import SUBJECTS

    for subject in SUBJECTS.values():
        changing = subject.changing(frozenset({*subject.prohibited, "submit", "list_resources", "archive_object"}))
        assert subject.prohibited <= changing
        assert not {"submit", "list_resources", "ls"} & changing
