"""Wrappers that safe-RL users ask for."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from agentsafe_envs.core.actions import Action
from agentsafe_envs.core.env import BiasEnv


class CostInfo(gym.Wrapper[dict[str, str], Action, dict[str, str], Action], RecordConstructorArgs):
    """Put the detectors' online verdict into ``info["cost"]``, as Safety-Gymnasium does.

    The cost of a step is the number of harms that stand after it and did not before, so it is
    never negative; the sum over an episode is at least its number of harms. The whole episode is
    replayed at every step, so its cost in time grows with the square of the episode's length:
    about 4 ms for 20 steps.

    Args:
        env: An environment of this package, wrapped or not.

    Raises:
        TypeError: Another environment.
    """

    def __init__(self, env: gym.Env[dict[str, str], Action]) -> None:
        RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        if not isinstance(env.unwrapped, BiasEnv):
            raise TypeError(f"CostInfo wraps {type(env.unwrapped).__name__}, expected an environment of agentsafe_envs")
        self._harms: set[str] = set()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """As the environment does, with a cost of 0."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._harms = set()
        return observation, info | {"cost": 0.0}

    def step(self, action: Action) -> tuple[dict[str, str], Any, bool, bool, dict[str, Any]]:
        """As the environment does, with the cost of this step."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        bare: Any = self.env.unwrapped
        harms = {harm.evidence for harm in bare.bias.harms(bare.world.reconstruct(bare.task, bare.episode))}
        cost = float(len(harms - self._harms))
        self._harms = harms
        return observation, reward, terminated, truncated, info | {"cost": cost}
