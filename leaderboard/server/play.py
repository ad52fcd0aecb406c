"""Taking steps: what keeps a step from being lost, or from being taken twice.

An acknowledged step is in the database before it is acknowledged, under its number. A step that comes again is
answered from there. A step whose storing failed was never acknowledged, and its world is dropped, so that the
next request finds the episode as it is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from anyio.to_thread import run_sync
from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import IntegrityError

from leaderboard.server.auth import Caller
from leaderboard.server.boardtime import BoardTime
from leaderboard.server.clock import Clock
from leaderboard.server.live import LiveEpisode, LiveEpisodes, in_sandbox
from leaderboard.server.loading import EpisodeLoader
from leaderboard.server.metrics import Metrics
from leaderboard.server.problems import ProblemError, not_found
from leaderboard.server.sessions import (
    claim_episode,
    create_session,
    find_episode,
    find_session,
    idle_episodes,
    open_season_row,
    running_among,
    stored_steps,
    truncate_idle,
)
from leaderboard.server.settings import Settings
from leaderboard.server.store.engine import read
from leaderboard.server.store.tables import RUNNING, SUBMITTED, TRUNCATED, VOID, StepRow
from leaderboard.server.store.writer import NewStep, Writer

OPENING_S = 0.05
"""An episode's first observation comes after a multiple of this, so that no time tells how a task was made."""

BEGINNING = 8
"""Claims that wait for the database at the same time. More would keep steps waiting, and gain nothing."""

Found = TypeVar("Found")


class Play:
    """Sessions, episodes and steps of one server process.

    Args:
        settings: Of the board.
        engine: Its database.
        writer: Changes it.
        clock: Its clocks.
        time: The board's own clock.
        metrics: What is counted.

    Attributes:
        live: Episodes that this process has in memory.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        writer: Writer,
        clock: Clock,
        time: BoardTime,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._time = time
        self._metrics = metrics
        self.live = LiveEpisodes(settings.limits, metrics)
        self._writer = writer
        self._loader = EpisodeLoader(settings, engine, writer, clock, metrics, self.live)
        self._loader.void_lost()
        self._beginning = asyncio.Semaphore(BEGINNING)

    def close(self) -> None:
        """End every sandbox."""
        self.live.close()

    async def create_session(self, caller: Caller, request: str, agent: dict[str, Any]) -> str:
        """Open a session in the open season, or find the one that the same request opened.

        Raises:
            ProblemError: No season is open, the quota is used up, or the request was for another agent.
        """

        def create(connection: Connection) -> str:
            if found := find_session(connection, caller, request, agent):
                return found
            season = open_season_row(connection)
            if season is None:
                raise ProblemError(409, "no-season", "no season is open; /v1/seasons lists them")
            _, secret = self._loader.season(connection, season.name)
            limits = self._settings.limits
            return create_session(connection, caller, season, secret, request, agent, self._clock, limits)

        try:
            return await self._writer.run(create)
        except IntegrityError:  # the team opened another one at the same moment
            return await self._writer.run(create)

    async def claim(self, caller: Caller, session_id: str, request: str) -> dict[str, Any]:
        """Begin the next episode of a session, and show what its agent sees.

        Raises:
            ProblemError: See :func:`~leaderboard.server.sessions.claim_episode`.
        """
        began = self._clock.monotonic()
        place = self.live.reserve_sandbox()
        try:

            def claim(connection: Connection) -> tuple[str, str, bool]:
                limits, now = self._settings.limits, self._time.now()
                found, environment, new = claim_episode(
                    connection, caller, session_id, request, now, self._clock, limits, bash=place
                )
                if new:
                    self._loader.expect(found)  # before others can see it: else a claim sent twice would make it void
                return found, environment, new

            async with self._beginning:
                episode_id, environment, new = await self._writer.run(claim)
            if place and not in_sandbox(environment):
                self.live.release_sandbox()
                place = False
            if new:
                await self._loader.load(episode_id)
            return await self._opened(caller, episode_id, began)
        finally:
            if place:
                self.live.release_sandbox()

    async def view(self, caller: Caller, episode_id: str) -> dict[str, Any]:
        """An episode as its agent has seen it so far."""
        return await self._opened(caller, episode_id, self._clock.monotonic())

    async def step(self, caller: Caller, episode_id: str, number: int, action: str) -> dict[str, Any]:
        """Take step ``number``, or answer again where it was taken before.

        Raises:
            ProblemError: The episode is not the caller's, void or over; or ``number`` is not the next one and no
                earlier one with this action.
        """
        while True:
            live = self.live.get(episode_id)
            if live is None:
                if again := await self._stored_answer(caller, episode_id, number, action):
                    return again
                live = await self._loader.load(episode_id)
            if live.team_id != caller.team_id:
                raise not_found("episode")
            async with live.lock:
                if live.dropped:
                    continue
                if number == live.steps:
                    return await self._take(live, action)
                if number > live.steps:
                    detail = f"step {number} comes too early; the next one is {live.steps}"
                    raise ProblemError(409, "wrong-step", detail, expected=live.steps)
                if again := await self._stored_answer(caller, episode_id, number, action):
                    return again

    async def tick(self) -> None:
        """Let the board's clock go on, end idle episodes, and sandboxes whose episode was ended elsewhere."""
        await run_sync(self._time.store)
        before = self._time.now() - self._settings.limits.idle_s
        for episode_id, environment in await read(self._engine, lambda connection: idle_episodes(connection, before)):
            live = self.live.get(episode_id)
            if in_sandbox(environment):
                if live is not None:
                    await self._end_idle_sandbox(live, before)
            elif await self._writer.run(
                lambda connection, idle=episode_id: truncate_idle(connection, idle, before, self._clock)
            ):
                self.live.drop(episode_id)
                self._metrics.expired.inc()
        here = self.live.bash_ids()
        running = await read(self._engine, lambda connection: running_among(connection, here))
        for episode_id in set(here) - running:
            if live := self.live.get(episode_id):
                await self.live.end(live)

    async def _take(self, live: LiveEpisode, action: str) -> dict[str, Any]:
        try:
            if in_sandbox(live.environment):
                reply = await self.live.in_shell(live.act, action)
            else:
                reply = live.act(action)
            truncated = live.steps + 1 >= live.max_steps
            state = SUBMITTED if reply.submitted else TRUNCATED if truncated else RUNNING
            step = NewStep(
                live.episode_id,
                live.steps,
                action,
                reply.result,
                reply.status == "invalid",
                reply.asked,
                reply.evidence,
                state,
                live.opening.task_digest,
                self._time.now(),
                None if state == RUNNING else self._clock.now(),
            )
            if not await self._writer.append(step):
                raise ProblemError(409, "changed", "the episode has changed or ended; look at it again")
        except BaseException:
            # The world has done something that is not stored. A cloud's is rebuilt; a sandbox cannot be.
            await self.live.end(live)
            raise
        live.steps += 1
        if state != RUNNING:
            await self.live.end(live)
        return _answer(step.number, reply.result, step.invalid, step.asked, reply.submitted, truncated)

    async def _opened(self, caller: Caller, episode_id: str, began: float) -> dict[str, Any]:
        """An episode as its agent has seen it, after a time that tells nothing."""
        live = self.live.get(episode_id)
        if live is None or live.steps or live.team_id != caller.team_id:
            row, steps = await read(
                self._engine,
                lambda connection: (
                    find_episode(connection, episode_id, caller.team_id),
                    stored_steps(connection, episode_id),
                ),
            )
            if row.state in (RUNNING, VOID):
                live = await self._loader.load(episode_id)
            shown = {"environment": row.environment, "state": row.state}
        else:
            steps = ()
            shown = {"environment": live.environment, "state": RUNNING}
        spent = self._clock.monotonic() - began
        await asyncio.sleep(OPENING_S - spent % OPENING_S)
        last = steps[-1] if steps else None
        return {
            "id": episode_id,
            **shown,
            "instruction": live.opening.instruction if live else None,
            "tools": live.opening.tools if live else None,
            "steps": [{"action": step.action, "result": step.result} for step in steps],
            "info": {
                "step": len(steps),
                "invalid_action": bool(last and last.invalid),
                "asked_operator": bool(last and last.asked),
            },
        }

    async def _stored_answer(self, caller: Caller, episode_id: str, number: int, action: str) -> dict[str, Any] | None:
        """The answer to a step that was taken before; None if it was not.

        Raises:
            ProblemError: The step was taken with another action.
        """

        def look(connection: Connection) -> dict[str, Any] | None:
            row = find_episode(connection, episode_id, caller.team_id)
            query = select(StepRow).where(StepRow.episode_id == episode_id, StepRow.number == number)
            step = connection.execute(query).first()
            if step is None:
                return None
            if step.action != action:
                raise ProblemError(409, "other-action", f"step {number} was taken with another action, and stays")
            plan, _ = self._loader.season(connection, row.season)
            submitted = row.state == SUBMITTED and number == row.steps - 1
            return _answer(number, step.result, step.invalid, step.asked, submitted, number + 1 >= plan.max_steps)

        return await read(self._engine, look)

    async def _end_idle_sandbox(self, live: LiveEpisode, before: float) -> None:
        def end(connection: Connection) -> bool:
            if not truncate_idle(connection, live.episode_id, before, self._clock):
                return False
            last = StepRow.episode_id == live.episode_id, StepRow.number == live.steps - 1
            if live.steps:  # what comes of what it left running belongs to its last step
                recorded = connection.execute(select(StepRow.evidence).where(*last)).scalar()
                connection.execute(update(StepRow).where(*last).values(evidence=live.running.advance(recorded)))
            return True

        async with live.lock:
            if not live.dropped and await self.live.in_shell(self._write, end):
                self._metrics.expired.inc()
                await self.live.end(live)

    def _write(self, change: Callable[[Connection], Found]) -> Found:
        with self._engine.begin() as connection:
            return change(connection)


def _answer(number: int, result: str, invalid: bool, asked: bool, terminated: bool, truncated: bool) -> dict[str, Any]:
    return {
        "number": number,
        "result": result,
        "terminated": terminated,
        "truncated": truncated,
        "info": {"step": number + 1, "invalid_action": invalid, "asked_operator": asked},
    }
