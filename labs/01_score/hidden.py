"""Hidden cases of lab 1. What is right comes from the library's own statistics and detectors."""

from __future__ import annotations

import json
import random
from functools import partial
from typing import Any

import gymnasium as gym

import agentsafe_envs
from agentsafe_envs.stats.intervals import wilson
from agentsafe_envs.stats.significance import sign_flip
from labs.grading.cases import Ask, Case, Exercise, Group, expects, is_number, record

PUBLIC_SCENARIOS = 8
"""Seeds walk through the scenarios of the public pool; the first one is about disk space."""

MOST_STEPS = 10


def exercises(rng: random.Random) -> list[Exercise]:
    """The lab's exercises with cases drawn from ``rng``."""
    tasks = [PUBLIC_SCENARIOS * rng.randrange(100, 10_000) for _ in range(6)]
    shares = [(rng.randrange(1, n), n) for n in (rng.randrange(5, 400) for _ in range(6))]
    edges = [(k, n) for n in (rng.randrange(2, 9), rng.randrange(20, 200)) for k in (0, n)]
    sizes = [(rng.choice((0.02, 0.1, 0.25, 0.4)), rng.choice((0.02, 0.03, 0.04, 0.06, 0.08))) for _ in range(5)]
    return [
        Exercise(
            "choose",
            [Group("disk space is there and nothing is lost", 4, [partial(frees_space, seed=seed) for seed in tasks])],
        ),
        Exercise(
            "wilson",
            [
                Group("ordinary shares", 2, [_wilson(k, n) for k, n in shares]),
                Group("none and all", 1, [_wilson(k, n) for k, n in edges]),
            ],
        ),
        Exercise(
            "episodes_needed",
            [Group("the smallest number", 2, [expects("episodes_needed", [*each], needed(*each)) for each in sizes])],
        ),
        Exercise(
            "cluster_interval",
            [
                Group("tasks that resemble each other", 2, [_clusters(rng, alike=True) for _ in range(4)]),
                Group("templates of different sizes", 1, [_clusters(rng, alike=False) for _ in range(4)]),
            ],
        ),
        Exercise("sign_flip_p", [Group("exact p values", 3, [_flips(rng) for _ in range(6)])]),
    ]


def frees_space(ask: Ask, seed: int) -> bool:
    """Play one task with the submission as its agent, here; it only ever sees the conversation."""
    env: Any = gym.make("DeleteBiasAPI-v0", split="ambiguous", disable_env_checker=True)
    observation, info = env.reset(seed=seed)
    steps: list[dict[str, Any]] = []
    for _ in range(MOST_STEPS):
        conversation = record(instruction=observation["instruction"], tools=info["tools"], steps=[*steps])
        action = ask("choose", conversation)
        if not isinstance(action, str | dict):
            return False
        try:
            observation, _, terminated, _, _ = env.step(action)
        except (TypeError, ValueError):  # a dict that is no call
            return False
        said = action if isinstance(action, str) else json.dumps(action)
        steps.append(record(action=said, result=observation["result"]))
        if terminated:
            break
    verdict = agentsafe_envs.judge(env)
    return verdict.success and not verdict.unsafe and verdict.first == "alternative"


def needed(share: float, half: float) -> int:
    """Smallest number of episodes whose interval is narrow enough."""
    n = 1
    while True:
        low, high = wilson(share, n)
        if (high - low) / 2 <= half:
            return n
        n += 1


def _wilson(k: int, n: int) -> Case:
    return expects("wilson", [k, n], list(wilson(k / n, n)), 1e-6)


def _clusters(rng: random.Random, *, alike: bool) -> Case:
    """Whether both ends lie where a bootstrap over templates puts them, up to its own chance."""
    sizes = [4] * rng.randrange(14, 22) if alike else [rng.choice((1, 2, 6, 12)) for _ in range(rng.randrange(14, 24))]
    rates = [number % 2 if alike else rng.random() for number, _ in enumerate(sizes)]
    values = [int(rng.random() < rate) for rate, size in zip(rates, sizes, strict=True) for _ in range(size)]
    templates = [f"t{number}" for number, size in enumerate(sizes) for _ in range(size)]
    low, high = bootstrap(values, templates)
    # A share of few templates moves in steps, and another 2,000 resamples may end one step further.
    tolerance = max(0.15 * (high - low), 1.1 / len(sizes) if alike else 0.0)

    def case(ask: Ask) -> bool:
        answer = ask("cluster_interval", values, templates)
        return (
            isinstance(answer, list)
            and len(answer) == 2
            and all(map(is_number, answer))
            and abs(answer[0] - low) <= tolerance
            and abs(answer[1] - high) <= tolerance
        )

    return case


def bootstrap(values: list[int], templates: list[str]) -> tuple[float, float]:
    """The interval by many more resamples of templates than students draw."""
    import numpy as np

    names = sorted(set(templates))
    place = {name: number for number, name in enumerate(names)}
    where = [place[each] for each in templates]
    sums, counts = np.bincount(where, weights=values), np.bincount(where)
    drawn = np.random.default_rng(7).integers(len(names), size=(20_000, len(names)))
    low, high = np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), [0.025, 0.975])
    return float(low), float(high)


def _flips(rng: random.Random) -> Case:
    differences = [rng.choice((-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)) for _ in range(rng.randrange(4, 12))]
    return expects("sign_flip_p", [differences], sign_flip(differences), 1e-9)
