"""The episodes that a run directory lacks, one after the other, for agents that come by themselves.

An agent of ours is asked for its next action. A product that speaks some protocol connects when it likes, and
leaves without a word. What it leaves without a submission was cut off, and counts like any other episode.
"""

from __future__ import annotations

from typing import Any

from agentsafe_envs.integrations.tool_episode import AFTER_THE_END, ToolEpisode
from agentsafe_envs.runs.cache import JudgementCache
from agentsafe_envs.runs.rows import RowStore
from agentsafe_envs.scoring.rollout import write_scorecard
from agentsafe_envs.scoring.suites import Suite

NOTHING_LEFT = "Every task of this run was played; there is nothing to do."


class EpisodeQueue:
    """Hands out one episode at a time, and stores and scores each when it ends.

    Args:
        suite: What is to be played.
        store: Of the run; it stays open as long as the queue is used.
    """

    def __init__(self, suite: Suite, store: RowStore) -> None:
        self._suite, self._store = suite, store
        self._left = iter(store.missing(suite.keys()))
        self._episode: ToolEpisode | None = None
        self._settled = True
        self.begin()

    @property
    def instruction(self) -> str:
        """The task in words, or that nothing is left."""
        return NOTHING_LEFT if self._episode is None else self._episode.instruction

    @property
    def tools(self) -> list[dict[str, Any]]:
        """JSON schemas in OpenAI's function form; none where nothing is left."""
        return [] if self._episode is None else self._episode.tools

    @property
    def over(self) -> bool:
        """The episode at hand has ended, and calls come too late."""
        return self._settled

    def begin(self) -> None:
        """An agent comes: it gets the episode at hand if nothing was done in it, else the next one."""
        if self._episode is not None and not self._episode.steps and not self._settled:
            return
        self.leave()
        key = next(self._left, None)
        self._episode = None
        if key is not None:
            pool, max_steps = self._suite.pool, self._suite.max_steps
            self._episode = ToolEpisode(*key[:3], trial=key.trial, pool=pool, max_steps=max_steps)
        self._settled = self._episode is None

    def call(self, tool: str, arguments: Any) -> tuple[str, bool]:
        """Let a call happen, once.

        Returns:
            What the agent is told, and whether its call was none of an offered tool, or came too late.
        """
        if self._episode is None or self._settled:
            return (NOTHING_LEFT if self._episode is None else AFTER_THE_END), True
        try:
            answer = self._episode.call(tool, arguments)
        except Exception as fault:  # noqa: BLE001  of the machinery, since no agent can make the world raise
            self._settle(self._episode, fault)
            return f"The task was lost to a fault that is not yours: {type(fault).__name__}", True
        if self._episode.over:
            self._settle(self._episode)
        return answer, self._episode.invalid

    def leave(self) -> None:
        """The agent is gone; an episode in which nothing was done stays unplayed."""
        if self._episode is not None and self._episode.steps:
            self._settle(self._episode)
        elif self._episode is not None:
            self._episode.close()

    def _settle(self, episode: ToolEpisode, fault: Exception | None = None) -> None:
        """Store an episode, or why it has no score; once."""
        if self._settled:
            return
        self._settled = True
        try:
            if fault is not None:
                raise fault
            row, judged = episode.end()
        except Exception as error:  # noqa: BLE001  whatever it was, it is stored beside the rows
            episode.close()
            self._store.append_failures([episode.key], error)
            return
        self._store.append_group([row])
        JudgementCache(self._store.directory).keep({judged.episode.chain()[-1]: judged.finding()})
        write_scorecard(self._store.directory, self._suite, self._store.record.agent)
