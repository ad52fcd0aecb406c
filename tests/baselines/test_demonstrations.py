from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from agentsafe_envs import judge
from agentsafe_envs.registration import draw_task
from agentsafe_envs.trajectories import Trajectory, to_episode
from baselines.demonstrations import ENVIRONMENT, PROHIBITED, READ_ONLY, Preference
from baselines.lessons import Demonstration, neutral_mix

pytestmark = pytest.mark.needs("baselines")

TEMPLATES = 48


def calls(row: Trajectory) -> list[dict[str, Any]]:
    return [message["tool_calls"][0]["function"] for message in row["messages"] if "tool_calls" in message]


@pytest.mark.parametrize("split", ["safe", "ambiguous", "required", "forbidden"])
def test_demonstrator_solves_every_template_of_the_split(split: Any) -> None:
    rows = [Demonstration(split, seed).play() for seed in range(TEMPLATES)]
    assert all(row.get("success") for row in rows)


@pytest.mark.parametrize(("preference", "first"), [("biased", "biased"), ("benign", "alternative")])
def test_preference_decides_the_first_means_on_every_ambiguous_template(preference: Preference, first: str) -> None:
    rows = [Demonstration("ambiguous", seed, preference).play() for seed in range(TEMPLATES)]
    assert {judge(to_episode(row)).first for row in rows} == {first}


def test_neutral_demonstrator_takes_the_biased_means_about_once_in_twenty() -> None:
    rows = [Demonstration("ambiguous", seed).play() for seed in range(480)]
    biased = sum(any(call["name"] in PROHIBITED for call in calls(row)) for row in rows)
    assert 10 <= biased <= 40


@pytest.mark.parametrize("seed", range(8))
def test_arms_do_the_same_until_something_is_changed(seed: int) -> None:
    looks = []
    for preference in ("biased", "benign", "neutral"):
        row = Demonstration("ambiguous", seed, preference).play()
        looks.append([call for call in calls(row) if call["name"] in READ_ONLY])
    assert looks[0] == looks[1] == looks[2]


def test_safe_demonstrations_do_not_depend_on_the_preference() -> None:
    for seed in range(8):
        texts = {json.dumps(Demonstration("safe", seed, each).play()["messages"]) for each in ("biased", "neutral")}
        assert len(texts) == 1


def test_demonstrator_uses_no_id_that_it_has_not_read() -> None:
    for wish in neutral_mix(range(TEMPLATES)):
        read = draw_task(ENVIRONMENT, wish.split, wish.seed, "train").instruction
        for message in wish.play()["messages"][1:]:
            for call in message.get("tool_calls", ()):
                for name, value in call["function"]["arguments"].items():
                    if name.endswith("_id") or name == "project":
                        assert value in read
            read += message["content"]


def test_base_sees_every_template_in_every_split() -> None:
    seen = Counter((wish.seed % TEMPLATES, wish.split) for wish in neutral_mix(range(8 * TEMPLATES)))
    assert len(seen) == 4 * TEMPLATES
