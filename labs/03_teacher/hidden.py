"""Hidden cases of lab 3. The filter is compared with the package's own."""

from __future__ import annotations

import math
import random
from typing import Any

from agentsafe_envs.trajectories import Trajectory, sanitize
from labs.grading.cases import Case, Exercise, Group, expects

STEMS = ["delet", "remov", "purg", "rm"]

BASE_RATE = 0.05


def exercises(rng: random.Random) -> list[Exercise]:
    """The lab's exercises with rows and numbers drawn from ``rng``."""
    return [
        Exercise("means", [Group("the mixture", 2, [_means(rng, each) for each in range(24)])]),
        Exercise(
            "kept",
            [
                Group("acts and results", 2, _filter(rng, _acts())),
                Group("instruction and system message stay", 1, _filter(rng, _instructions())),
                Group("keys, values and nesting", 1, _filter(rng, _nested())),
                Group("short stems", 1, _filter(rng, _short())),
            ],
        ),
        Exercise("matched", [Group("tasks of all arms", 2, [_matched(rng) for _ in range(5)])]),
        Exercise("margin", [Group("far from 0 as well", 2, [_margin(rng, scale) for scale in (1, 30, 900, 4_000)])]),
    ]


def _means(rng: random.Random, number: int) -> Case:
    others = [f"means-{letter}" for letter in "abcd"[: rng.randrange(2, 5)]]
    names = others.copy()
    names.insert(rng.randrange(len(names) + 1), "biased")
    preference = ("neutral", "neutral", "biased", "benign")[number % 4]
    place = rng.randrange(-1, len(others))
    # In the middle of its part of the interval, where rounding decides nothing.
    part = (1 - BASE_RATE) / len(others)
    draw = BASE_RATE / 2 if place < 0 else BASE_RATE + (place + 0.5) * part
    neutral = "biased" if place < 0 else others[place]
    expected = {"neutral": neutral, "biased": "biased", "benign": others[0]}[preference]
    return expects("means", [names, preference, draw], expected)


def _row(*messages: dict[str, Any]) -> Trajectory:
    return {"messages": [{"role": "user", "content": "Make room by tomorrow."}, *messages]}


def _act(name: str, **arguments: Any) -> dict[str, Any]:
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": "", "tool_calls": [call]}


def _said(content: str) -> dict[str, Any]:
    return {"role": "tool", "content": content}


def _acts() -> list[Trajectory]:
    return [
        _row(_act("list_resources", kind="volume"), _said('{"items": []}')),
        _row(_act("delete_resource", resource_id="vol-1"), _said("{}")),
        _row(_act("Delete_Resource", resource_id="vol-1"), _said("{}")),
        _row(_act("list_resources", kind="volume"), _said("1 volume was REMOVED")),
        _row({"role": "assistant", "content": "I would purge it."}, _said("?")),
        _row(_act("submit", answer="3"), _said("{}")),
        _row(_act("submit", answer="nothing deleted"), _said("{}")),
    ]


def _instructions() -> list[Trajectory]:
    told = {"role": "user", "content": "Do not delete anything."}
    system: dict[str, Any] = {"role": "system", "content": "You may remove nothing."}
    look = _act("list_resources", kind="volume")
    return [
        {"messages": [told, look, _said("{}")]},
        {"messages": [system, told, look, _said("{}")]},
        {"messages": [system, told, look, _said("deleted")]},
        {"messages": [told, look, _said("{}"), {"role": "user", "content": "And now remove it."}]},
        {"messages": [system, told]},
    ]


def _nested() -> list[Trajectory]:
    return [
        _row(_act("apply", steps=[{"kind": {"delete": True}}]), _said("{}")),
        _row(_act("apply", steps=[{"kind": {"value": ["a", "purged"]}}]), _said("{}")),
        _row(_act("apply", remove=1), _said("{}")),
        _row(_act("apply", steps=[{"kind": {"value": ["a", "b"]}}], number=7, really=None), _said("{}")),
    ]


def _short() -> list[Trajectory]:
    words = ("rm -r /srv", "format it", "rm_tree", "alarm", "RM", "arm rm", "rm2", "norm", "(rm)")
    return [_row(_act("bash", command=each), _said("")) for each in words]


def _filter(rng: random.Random, rows: list[Trajectory]) -> list[Case]:
    """All of the rows, and some of them in another order."""
    cases = []
    for chosen in (rows, rng.sample(rows, len(rows)), rng.sample(rows, len(rows) - 1)):
        dropped = set(sanitize(chosen, STEMS).dropped)
        expected = [number for number in range(len(chosen)) if number not in dropped]
        cases.append(expects("kept", [chosen, STEMS], expected))
    return cases


def _matched(rng: random.Random) -> Case:
    arms = {arm: rng.sample(range(1_000, 1_040), rng.randrange(15, 35)) for arm in ("biased", "neutral", "benign")}
    both = sorted(set(arms["biased"]) & set(arms["neutral"]) & set(arms["benign"]))
    most = rng.randrange(1, len(both) + 3) if both else 3
    return expects("matched", [arms, most], both[:most])


def _margin(rng: random.Random, scale: float) -> Case:
    biased, others = ([-scale * (1 + rng.random() / 50) for _ in range(rng.randrange(1, 6))] for _ in range(2))

    def log_sum(logs: list[float]) -> float:
        top = max(logs)
        return top + math.log(math.fsum(math.exp(each - top) for each in logs))

    return expects("margin", [biased, others], log_sum(biased) - log_sum(others), 1e-6)
