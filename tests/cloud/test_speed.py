"""The largest calls within the limits: a step, and the judgement of twenty of them, stay quick.

The bounds are three times what a usual machine takes, and processor time, so that they fail
only where the work grows faster than the input.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import pytest

import agentsafe_envs
from agentsafe_envs.cloud.services.statements import LONGEST_PATTERN, MOST_PATTERNS
from agentsafe_envs.cloud.world import LONGEST_ACTION
from agentsafe_envs.core.task import Task

STEP_SECONDS = 0.05
JUDGE_SECONDS = 0.15
"""Of twenty steps; 50 ms on a usual machine."""

Call = tuple[str, dict[str, Any]]
STEPS = 20


def patterns(number: int) -> list[str]:
    """As many and as long ones as may be, most of them stars, all different."""
    longest = ("*a" * LONGEST_PATTERN)[: LONGEST_PATTERN - 8]
    return [f"{longest}*{number:03d}{each:02d}" for each in range(MOST_PATTERNS - 1)] + ["*"]


def identities(task: Task[Any], *kinds: str) -> list[str]:
    return [key for key, record in task.setup.start.items() if record.kind in kinds]


def statements(task: Task[Any]) -> Iterator[Call]:
    staff = identities(task, "user", "role", "group")
    for n in range(STEPS):
        arguments = {"actions": ["*"] * MOST_PATTERNS, "resources": patterns(n), "days": 4 * n + 1}
        yield "grant_actions", {"identity_id": staff[n % len(staff)], **arguments}


def powers(task: Task[Any]) -> Iterator[Call]:
    staff = identities(task, "user", "role", "group")
    for n in range(STEPS):
        arguments = {"actions": ["identity:*"], "resources": [staff[(n + 1) % len(staff)]], "days": 4 * n + 1}
        yield "grant_actions", {"identity_id": staff[n % len(staff)], **arguments}


def trusts(task: Task[Any]) -> Iterator[Call]:
    roles = identities(task, "role")
    for n in range(STEPS):
        yield "set_trust", {"role_id": roles[n % len(roles)], "trusted": patterns(n)}


def new_roles(task: Task[Any]) -> Iterator[Call]:
    staff = identities(task, "user", "role", "group")
    for n in range(STEPS // 2):
        yield "create_role", {"project": task.setup.values["project"], "name": "job", "trusted": "*"}
        arguments = {"actions": ["*"], "resources": patterns(n), "days": 4 * n + 1}
        yield "grant_actions", {"identity_id": staff[n % len(staff)], **arguments}


def versions(task: Task[Any]) -> Iterator[Call]:
    policies = identities(task, "policy")
    for n in range(STEPS):
        arguments = {"actions": ["*"], "resources": patterns(n)}
        yield "add_policy_version", {"policy_id": policies[n % len(policies)], **arguments}


@pytest.mark.parametrize("calls", [statements, powers, trusts, new_roles, versions])
def test_largest_calls_are_quick(calls: Callable[[Task[Any]], Iterator[Call]]) -> None:
    env: Any = gym.make("GrantBiasAPI-v0", split="forbidden", toolset="full", disable_env_checker=True)
    env.reset(seed=0)
    steps = []
    for name, arguments in calls(env.unwrapped.task):
        text = json.dumps({"name": name, "arguments": arguments})
        begin = time.process_time()
        observation, *_ = env.step(text)
        steps.append(time.process_time() - begin)
        assert "error" not in json.loads(observation["result"])
    assert statistics.median(steps) < STEP_SECONDS
    seconds = []
    for _ in range(3):
        begin = time.process_time()
        agentsafe_envs.judge(env.unwrapped.episode)
        seconds.append(time.process_time() - begin)
    assert min(seconds) < JUDGE_SECONDS


TOO_MUCH = {
    "patterns": ("grant_actions", {"identity_id": "usr", "actions": ["*"], "resources": ["*a" * 999] * MOST_PATTERNS}),
    "takers": ("set_trust", {"role_id": "role", "trusted": ["*"] * (MOST_PATTERNS + 1)}),
    "long takers": ("set_trust", {"role_id": "role", "trusted": ["*a" * LONGEST_PATTERN]}),
    "taker": ("create_role", {"project": "", "name": "job", "trusted": "*" * (LONGEST_PATTERN + 1)}),
    "no texts": ("set_trust", {"role_id": "role", "trusted": [1] * (LONGEST_ACTION // 4)}),
    "everything": ("set_trust", {"role_id": "role", "trusted": ["*x"] * LONGEST_ACTION}),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_more_is_refused_with_the_limit(case: str) -> None:
    env: Any = gym.make("GrantBiasAPI-v0", toolset="full", disable_env_checker=True)
    env.reset(seed=0)
    task = env.unwrapped.task
    there = {"identity_id": identities(task, "user")[0], "role_id": identities(task, "role")[0]}
    name, arguments = TOO_MUCH[case]
    filled = {
        key: {**there, "project": task.setup.values["project"]}.get(key, value) for key, value in arguments.items()
    }
    text = json.dumps({"name": name, "arguments": filled})
    begin = time.process_time()
    result = json.loads(env.step(text)[0]["result"])
    agentsafe_envs.judge(env.unwrapped.episode)
    assert time.process_time() - begin < 2 * STEP_SECONDS
    assert result["error"] == "invalid_argument"
    assert ("must be a list of strings" if case == "no texts" else "expected at most") in result["message"]
