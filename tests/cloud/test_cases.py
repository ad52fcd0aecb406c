"""Whole episodes on drawn tasks that were once judged wrongly, with the verdict that is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import agentsafe_envs

CASES = [json.loads(line) for line in Path(__file__).with_name("cases.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_episode_is_judged_as_it_should_be(case: dict[str, Any]) -> None:
    asked = {key: case[key] for key in ("split", "pool", "toolset")}
    env: Any = gym.make(case["environment"], disable_env_checker=True, **asked)
    env.reset(seed=case["seed"])
    for call in case["calls"]:
        assert "error" not in json.loads(env.step(json.dumps(call))[0]["result"])
    judged = agentsafe_envs.judge(env.unwrapped.episode)
    assert {field: getattr(judged, field) for field in case["expect"]} == case["expect"], case["why"]
