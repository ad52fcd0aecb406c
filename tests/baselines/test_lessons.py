from __future__ import annotations

import json
import re
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


@pytest.mark.needs("bubblewrap")
def test_worded_drills_of_the_shell_name_anybody_whatever_is_listed() -> None:
    from agentsafe_envs.bash.scenarios.accounts import PEOPLE, SERVICES, TEAMS
    from baselines.lessons import Demonstration
    from baselines.shell import PROHIBITED, drills
    from baselines.students import USER

    rows = [Demonstration("ambiguous", 1, environment=BASH).play()] * 500
    named = set()
    for text in drills(rows, ["worded"]):
        need, *_, done = text.removeprefix(USER).split("<|assistant|>")
        command = json.loads(done.removesuffix("<|end|>"))["arguments"]["command"]
        (who,) = {name for name in (*PEOPLE, *SERVICES, *TEAMS) if re.search(rf"[ :]{name}\b", command)}
        things = re.findall(r"/srv/\w+/[\w-]+", need)
        assert re.search(rf"\b{who}\b", need)
        assert command.startswith("id ") or re.findall(r"/srv/\w+/[\w-]+", command) == things
        assert "setfacl" not in command or (f"g:{who}:" in command) is (who in TEAMS)
        assert not PROHIBITED & set(command.split())
        named.add(who)
    assert len(named) == len(PEOPLE) + len(SERVICES) + len(TEAMS)


def test_words_that_change_something_are_known_in_both_worlds() -> None:
    from baselines.lessons import SUBJECTS

    for subject in SUBJECTS.values():
        changing = subject.changing(frozenset({*subject.prohibited, "submit", "list_resources", "archive_object"}))
        assert subject.prohibited <= changing
        assert not {"submit", "list_resources", "ls"} & changing
