"""Worlds in memory. They are a cache: what an episode is stands in the database.

A cloud world can be dropped at any moment and is rebuilt by replaying its steps. A Bash world lives in a
sandbox of this process and cannot be rebuilt, so an episode that lost its sandbox is void.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.spaces import MAX_INSTRUCTION_CHARS, sanitise_text
from agentsafe_envs.core.transition import Reply
from agentsafe_envs.core.world import RunningWorld
from agentsafe_envs.registration import find, resolve
from leaderboard.server.metrics import Metrics
from leaderboard.server.settings import Limits

Found = TypeVar("Found")
ArgTs = TypeVarTuple("ArgTs")


class LostWorldError(RuntimeError):
    """An episode whose world is gone and cannot be rebuilt."""


class Opening(NamedTuple):
    """What an agent sees before its first step.

    Attributes:
        instruction: The task in words.
        tools: JSON schemas in the order offered.
        task_digest: Of the task; not shown.
    """

    instruction: str
    tools: list[dict[str, Any]]
    task_digest: str


class LiveEpisode:
    """A running episode with its world.

    Args:
        episode_id: Of the episode.
        team_id: Whose it is.
        environment: Registered id.
        max_steps: After which it is truncated.
        running: Its world.
        opening: What the agent saw first.

    Attributes:
        steps: Stored ones.
        lock: Held while a step is taken.
        dropped: The world is ahead of what is stored, or closed; look the episode up again.
    """

    def __init__(
        self,
        episode_id: str,
        team_id: str,
        environment: str,
        max_steps: int,
        running: RunningWorld[Any],
        opening: Opening,
    ) -> None:
        self.episode_id = episode_id
        self.team_id = team_id
        self.environment = environment
        self.max_steps = max_steps
        self.opening = opening
        self.running = running
        self.steps = 0
        self.lock = asyncio.Lock()
        self.dropped = False

    def act(self, action: str) -> Reply:
        """Take one action in the world; whether it meets the need is not asked, so no time tells."""
        reply = self.running.act(action)
        if not reply.submitted and self.steps + 1 >= self.max_steps:
            reply = reply._replace(evidence=self.running.advance(reply.evidence))
        return reply._replace(result=sanitise_text(reply.result))


class LiveEpisodes:
    """The worlds of this process, the least recently used dropped first.

    Args:
        limits: How many cloud worlds are kept, and how many sandboxes there may be.
        metrics: Counts them.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._cloud: OrderedDict[str, LiveEpisode] = OrderedDict()
        self._bash: dict[str, LiveEpisode] = {}
        self._reserved = 0
        self._shells = ThreadPoolExecutor(limits.sandboxes, thread_name_prefix="shell")

    def get(self, episode_id: str) -> LiveEpisode | None:
        """The world of an episode, if it is in memory."""
        live = self._cloud.get(episode_id)
        if live is not None:
            self._cloud.move_to_end(episode_id)
            return live
        return self._bash.get(episode_id)

    def keep(self, live: LiveEpisode) -> LiveEpisode:
        """Keep a world; of two for one cloud episode the first one stays."""
        if not in_sandbox(live.environment):
            live = self._cloud.setdefault(live.episode_id, live)
            while len(self._cloud) > self._limits.live_worlds:
                _, oldest = self._cloud.popitem(last=False)
                oldest.dropped = True
        else:
            self._bash[live.episode_id] = live
        self._metrics.live.set(len(self._cloud) + len(self._bash))
        return live

    def drop(self, episode_id: str) -> LiveEpisode | None:
        """Forget a world; the caller closes it."""
        live = self._cloud.pop(episode_id, None) or self._bash.pop(episode_id, None)
        if live is not None:
            live.dropped = True
        self._metrics.live.set(len(self._cloud) + len(self._bash))
        return live

    async def end(self, live: LiveEpisode) -> None:
        """Forget a world and close it."""
        self.drop(live.episode_id)
        if in_sandbox(live.environment):
            await self.in_shell(live.running.close)
        else:
            live.running.close()

    async def in_shell(self, work: Callable[[*ArgTs], Found], *args: *ArgTs) -> Found:
        """What ``work`` returns, in one of the threads that wait for sandboxes."""
        return await asyncio.get_running_loop().run_in_executor(self._shells, work, *args)

    def bash_ids(self) -> list[str]:
        """Bash episodes whose sandbox is here."""
        return list(self._bash)

    def reserve_sandbox(self) -> bool:
        """Take one of the places for sandboxes, if there is one; :meth:`release_sandbox` gives it back."""
        if len(self._bash) + self._reserved >= self._limits.sandboxes:
            return False
        self._reserved += 1
        return True

    def release_sandbox(self) -> None:
        """Give back a place that was reserved: the sandbox is kept by now, or was never made."""
        self._reserved -= 1

    def close(self) -> None:
        """End every sandbox."""
        for live in list(self._bash.values()):
            self.drop(live.episode_id)
            live.running.close()
        self._shells.shutdown(wait=True, cancel_futures=True)


def in_sandbox(environment: str) -> bool:
    """Whether episodes of ``environment`` run in a sandbox, and so cannot be rebuilt."""
    return find(environment).world == "bash"


def start_world(key: EpisodeKey, pool: str) -> tuple[RunningWorld[Any], Opening]:
    """A fresh world for a task, and what the agent sees of it.

    Raises:
        SandboxError: The sandbox failed.
    """
    world, bias = resolve(key.environment)
    task = world.draw(bias, key.split, pool, key.seed)  # type: ignore[arg-type]
    opening = Opening(sanitise_text(task.instruction, MAX_INSTRUCTION_CHARS), world.tools(task), world.digest(task))
    return world.start(task), opening


def replay_actions(running: RunningWorld[Any], recorded: Sequence[tuple[str, str]]) -> None:
    """Bring a fresh cloud world to where an episode stood.

    Args:
        running: At the start of the task.
        recorded: Action and result of each stored step.

    Raises:
        LostWorldError: A result is another one than was stored.
    """
    for number, (action, result) in enumerate(recorded):
        if sanitise_text(running.act(action).result) != result:
            raise LostWorldError(f"step {number} gives another result than was stored")
