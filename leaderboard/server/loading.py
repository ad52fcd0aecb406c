"""Bringing running episodes into memory: a fresh world, one rebuilt by replay, or none where that is impossible.

The world of a Bash episode lives in a sandbox of one process. An episode that has lost its sandbox becomes void,
and another task takes its place. One that never got a sandbox waits as it did before: its task was not shown.
"""

from __future__ import annotations

import logging
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from sqlalchemy import Connection, Engine, select

from agentsafe_envs.bash.sandbox.base import SandboxError
from leaderboard.server.clock import Clock
from leaderboard.server.live import (
    LiveEpisode,
    LiveEpisodes,
    LostWorldError,
    in_sandbox,
    replay_actions,
    start_world,
)
from leaderboard.server.locks import KeyedLocks
from leaderboard.server.metrics import Metrics
from leaderboard.server.problems import ProblemError, later
from leaderboard.server.seasons import SeasonPlan, SeasonSecret, read_secret, session_tasks, use_templates
from leaderboard.server.sessions import BASH_IDS, find_episode, hand_back, stored_steps, void_episode
from leaderboard.server.settings import Settings
from leaderboard.server.store.engine import READING, read
from leaderboard.server.store.tables import PENDING, RUNNING, VOID, EpisodeRow, Season
from leaderboard.server.store.writer import Writer

log = logging.getLogger("leaderboard.server")

CLOUD_THREADS = 1
"""Threads that make cloud worlds. They only compute, so each further one would hold up the steps for 5 ms at a time."""


NO_SANDBOX_S = 5
"""When to ask again where no sandbox could be started; trying takes the server a second or two."""


class EpisodeLoader:
    """Makes the worlds of running episodes; no two at a time for one episode.

    Args:
        settings: Of the board.
        engine: Its database.
        writer: Changes it.
        clock: Its clocks.
        metrics: Counts worlds that were rebuilt, and episodes that became void.
        live: Where worlds are kept.
    """

    def __init__(
        self, settings: Settings, engine: Engine, writer: Writer, clock: Clock, metrics: Metrics, live: LiveEpisodes
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._writer = writer
        self._clock = clock
        self._metrics = metrics
        self._live = live
        self._seasons: dict[str, tuple[SeasonPlan, SeasonSecret]] = {}
        self._loading = KeyedLocks()
        self._fresh: set[str] = set()
        self._cloud = CapacityLimiter(CLOUD_THREADS)

    def expect(self, episode_id: str) -> None:
        """Note an episode that is being begun: only such a one gets a new sandbox."""
        self._fresh.add(episode_id)

    async def load(self, episode_id: str) -> LiveEpisode:
        """The world of a running episode, from memory or made now.

        Raises:
            ProblemError: The episode is over, or void, or there is no sandbox to begin it in.
        """
        async with self._loading.hold(episode_id):
            live = self._live.get(episode_id)
            if live is not None:
                return live
            row, steps = await read(
                self._engine,
                lambda connection: (find_episode(connection, episode_id), stored_steps(connection, episode_id)),
            )
            if row.state == VOID:
                raise _void()
            if row.state == PENDING:  # it was handed back while this request waited
                raise _no_sandbox()
            if row.state != RUNNING:
                raise ProblemError(409, "episode-over", f"the episode is over: it was {row.state}", state=row.state)
            bash = in_sandbox(row.environment)
            fresh = episode_id in self._fresh
            self._fresh.discard(episode_id)
            try:
                if bash and not fresh:
                    raise LostWorldError("its sandbox was in a process that has ended")
                if bash:
                    live = await self._live.in_shell(self._start, row, steps)
                else:
                    live = await run_sync(self._start, row, steps, limiter=self._cloud)
            except SandboxError as error:
                # Only a fresh Bash episode gets here: its agent has seen nothing, so the task can wait.
                log.error("no sandbox for episode %s: %s", episode_id, error)
                await self._writer.run(lambda connection: hand_back(connection, episode_id))
                raise _no_sandbox() from error
            except Exception as error:
                if not bash and not isinstance(error, LostWorldError):
                    raise
                log.error("episode %s is void: %s: %s", episode_id, type(error).__name__, error)
                self._metrics.voided.inc()
                await self._writer.run(lambda connection: void_episode(connection, episode_id, self._clock))
                raise _void() from error
            return self._live.keep(live)

    def season(self, connection: Connection, name: str) -> tuple[SeasonPlan, SeasonSecret]:
        """The plan of a season and its secret, read once."""
        if name not in self._seasons:
            row = connection.execute(select(Season).where(Season.name == name)).one()
            self._seasons[name] = (SeasonPlan.of(row), read_secret(self._settings.secrets, name))
        return self._seasons[name]

    def void_lost(self) -> None:
        """Make Bash episodes void that ran in a server before this one: their sandboxes are gone."""
        with self._engine.begin() as connection:
            lost = select(EpisodeRow.id).where(EpisodeRow.state == RUNNING, EpisodeRow.environment.in_(BASH_IDS))
            for episode_id in connection.execute(lost).scalars().all():
                void_episode(connection, episode_id, self._clock)
                self._metrics.voided.inc()

    def _start(self, row: Any, steps: Any) -> LiveEpisode:
        plan, secret = self._seasons.get(row.season) or self._read_season(row.season)
        key = session_tasks(plan, secret, row.session_id, row.number).key(row.position, row.attempt)
        use_templates(secret, plan.pool)
        running, opening = start_world(key, plan.pool)
        if row.task_digest not in (None, opening.task_digest):
            raise LostWorldError("this release draws another task than the one that was begun")
        if steps:
            replay_actions(running, [(step.action, step.result) for step in steps])
            self._metrics.rebuilt.inc()
        live = LiveEpisode(row.id, row.team_id, row.environment, plan.max_steps, running, opening)
        live.steps = len(steps)
        return live

    def _read_season(self, name: str) -> tuple[SeasonPlan, SeasonSecret]:
        with self._engine.connect().execution_options(**READING) as connection:
            return self.season(connection, name)


def _no_sandbox() -> ProblemError:
    detail = "this server cannot start a sandbox at present; its log says why. Nothing was begun: ask again"
    return later(503, "no-sandbox", detail, NO_SANDBOX_S)


def _void() -> ProblemError:
    detail = "a fault of the server ended this episode; it does not count, and another task takes its place: begin it"
    return ProblemError(410, "void", detail)
