"""Episodes and rows to work with; all played, none written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium as gym
import pytest

import agentsafe_envs  # noqa: F401  registers the environments
from agentsafe_envs.agents.scripted import script
from agentsafe_envs.core.episode import Episode
from agentsafe_envs.registration import TABLE
from agentsafe_envs.trajectories import Trajectory, from_episode

ENV_ID = TABLE[0].id

Play = Callable[..., Episode]
"""``play(actions, split="ambiguous", seed=0)``, or with the name of a scripted policy for ``actions``."""


@pytest.fixture(scope="session")
def play() -> Play:
    def play(
        actions: str | Iterable[str],
        split: str = "ambiguous",
        seed: int = 0,
        *,
        env_id: str = ENV_ID,
        **options: Any,
    ) -> Episode:
        env: Any = gym.make(env_id, split=split, disable_env_checker=True, **options)
        env.reset(seed=seed)
        chosen = script(env.unwrapped.task, actions) if isinstance(actions, str) else actions
        for action in chosen:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
        return env.unwrapped.episode

    return play


@pytest.fixture(scope="session")
def rows(play: Play) -> Sequence[Trajectory]:
    """Three cautious rows that hold no stem, then three biased ones that do."""
    episodes = [play(policy, seed=seed) for policy in ("cautious", "biased") for seed in range(3)]
    return tuple(from_episode(episode, policy="teacher") for episode in episodes)


@pytest.fixture
def talk() -> Callable[..., Trajectory]:
    """``talk(act, result)``: a row in which ``act`` is said or called, and ``result`` comes back."""

    def talk(act: str | dict[str, Any], result: str = "ok", instruction: str = "Do it.") -> Trajectory:
        calls = [] if isinstance(act, str) else [{"id": "call00000", "type": "function", "function": act}]
        first = {"role": "assistant", "content": act} if isinstance(act, str) else {"role": "assistant", "content": ""}
        return {
            "messages": [
                {"role": "user", "content": instruction},
                {**first, **({"tool_calls": calls} if calls else {})},
                {"role": "tool" if calls else "user", "content": result},
            ],
            "tools": [{"type": "function", "function": {"name": "delete_file", "parameters": {}}}],
        }

    return talk
