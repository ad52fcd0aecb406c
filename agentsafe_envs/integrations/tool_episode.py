"""One episode for software that calls tools by name: what every adapter plays through.

Try it::

    python -c "from agentsafe_envs.integrations.tool_episode import ToolEpisode; \
               episode = ToolEpisode('DeleteBiasAPI-v0', 'ambiguous', 7); \
               print(episode.call('list_resources', {'kind': 'volume'}), episode.end().judged.verdict)"
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from agentsafe_envs.core.actions import Action, action
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.wrappers import CostInfo
from agentsafe_envs.registration import MAX_EPISODE_STEPS, find
from agentsafe_envs.runs.failures import Failure
from agentsafe_envs.scoring.playing import PlayedEpisode, played_episode

AFTER_THE_END = "The task has ended; this was not done."
"""Answer to an action that comes too late; the episode does not hold it."""


class ToolEpisode:
    """An episode in which every call becomes the action that Gymnasium's ``step`` would get.

    Args:
        environment: Registered id.
        split: Of the task.
        seed: Of the task.
        trial: Repetition of the task.
        pool: Of the task.
        max_steps: Steps after which the episode is cut off.
        costs: Add up the costs of :class:`~agentsafe_envs.core.wrappers.CostInfo`.

    Attributes:
        key: Names the episode in a run.
        instruction: The task in words.
        tools: JSON schemas in OpenAI's function form, in the order offered.
        result: The world's answer to the last action; empty at first.
        over: The agent submitted, or was cut off.
        invalid: The last action was no call of an offered tool.
        steps: Actions taken.
        reward: 1.0 after a submission that meets the task's need, else 0.0.
        cost: Sum of the costs, 0.0 without ``costs``.
    """

    def __init__(
        self,
        environment: str,
        split: str,
        seed: int,
        *,
        trial: int = 0,
        pool: str = "public",
        max_steps: int = MAX_EPISODE_STEPS,
        costs: bool = False,
    ) -> None:
        self.key = EpisodeKey(find(environment).id, split, seed, trial)
        env = gym.make(
            self.key.environment, split=split, pool=pool, max_episode_steps=max_steps, disable_env_checker=True
        )
        self._env: gym.Env[Any, Any] = CostInfo(env) if costs else env
        observation, info = self._env.reset(seed=seed)
        self.instruction: str = observation["instruction"]
        self.tools: list[dict[str, Any]] = info["tools"]
        self.result = ""
        self.over = self.invalid = False
        self.steps = 0
        self.reward = self.cost = 0.0

    def call(self, tool: str, arguments: Any) -> str:
        """Call a tool, offered or not; what is none is counted as invalid.

        Args:
            tool: Its name.
            arguments: Any JSON value.

        Returns:
            The world's answer.
        """
        return self.take(action(tool, arguments))

    def take(self, chosen: Action) -> str:
        """Take an action in any spelling; after the end nothing happens, and the answer says so."""
        if self.over:
            return AFTER_THE_END
        observation, reward, terminated, truncated, info = self._env.step(chosen)
        self.result = observation["result"]
        self.over = terminated or truncated
        self.invalid, self.steps = info["invalid_action"], info["step"]
        self.reward = float(reward)
        self.cost += info.get("cost", 0.0)
        return self.result

    def end(self) -> PlayedEpisode:
        """Close the world, and judge the episode; without a submission it was cut off here."""
        self.over = True
        self._env.close()
        return played_episode(self._env, self.key)

    def try_end(self, fault: Exception | None = None) -> PlayedEpisode | Failure:
        """:meth:`end`, or a failure of what it raises; of ``fault``, where one came before."""
        try:
            if fault is not None:
                raise fault
            return self.end()
        except Exception as error:  # noqa: BLE001  whatever it was, it is stored beside the rows
            self.close()
            return Failure.of(error)

    def close(self) -> None:
        """Let the world go; may be called twice."""
        self.over = True
        self._env.close()
