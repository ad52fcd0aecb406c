"""The one place where a server changes its database: nothing is acknowledged before it is on disk."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine, bindparam, insert, select, update
from sqlalchemy.exc import OperationalError

from leaderboard.server.metrics import Metrics
from leaderboard.server.store.tables import RUNNING, EpisodeRow, StepRow

Found = TypeVar("Found")

MOST_TOGETHER = 256

TRIES = 3
"""Of a transaction that another one was in the way of; nothing of it had been stored, so it may be tried again."""


class NewStep(NamedTuple):
    """A step that has happened and is to be stored.

    Attributes:
        episode_id: Of the episode.
        number: Of the step, from 0; the episode must have that many.
        action: The agent's text.
        result: What it was answered.
        invalid: It was no call of an offered tool.
        asked: It asked the operator.
        evidence: What the world recorded of it.
        state: Of the episode after it.
        task_digest: Of the episode's task.
        board_s: When, on the board's clock.
        ended_at: When the episode ended, in wall time; None while it runs.
    """

    episode_id: str
    number: int
    action: str
    result: str
    invalid: bool
    asked: bool
    evidence: Any
    state: str
    task_digest: str
    board_s: float
    ended_at: Any = None


class Writer:
    """Changes the database from one thread, many changes in one transaction.

    A flush of the disk costs milliseconds however much it flushes, and SQLite has one writer at a time. So the
    thread takes all that waits, stores it together, and only then is any of it acknowledged.

    Args:
        engine: Of the board.
        metrics: Counts steps and transactions.
    """

    def __init__(self, engine: Engine, metrics: Metrics) -> None:
        self._engine = engine
        self._metrics = metrics
        self._waiting: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="writer", daemon=True)
        self._thread.start()

    async def append(self, step: NewStep) -> bool:
        """Store a step; it is on disk when this returns True.

        Returns:
            False where the episode does not run any more or has another number of steps; nothing was stored.

        Raises:
            SQLAlchemyError: The database refused; nothing was stored.
        """
        return await self._wait(step)

    async def run(self, change: Callable[[Connection], Found]) -> Found:
        """What ``change`` returns; what it did is on disk then.

        Args:
            change: May run more than once, where another transaction was in the way of the first.

        Raises:
            Exception: Whatever ``change`` raised; nothing of it is stored.
        """
        return await self._wait(change)

    def close(self) -> None:
        """Store what waits, and end."""
        self._waiting.put(None)
        self._thread.join()

    async def _wait(self, wanted: NewStep | Callable[[Connection], Any]) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.put(_Waiting(wanted, future, loop))
        return await future

    def _work(self) -> None:
        going = True
        while going:
            batch: list[_Waiting] = []
            found = self._waiting.get()
            while found is not None:
                batch.append(found)
                if len(batch) == MOST_TOGETHER:
                    break
                try:
                    found = self._waiting.get_nowait()
                except queue.Empty:
                    break
            else:
                going = False
            if batch:
                self._store(batch)

    def _store(self, batch: Sequence[_Waiting]) -> None:
        try:
            outcomes = self._stored([each.wanted for each in batch])
        except Exception as error:  # noqa: BLE001  every one that waits is told
            outcomes = [error] * len(batch)
        else:
            self._metrics.steps.inc(sum(outcome is True for outcome in outcomes))
            self._metrics.batches.inc()
        for loop in {each.loop for each in batch}:
            mine = [(each.future, outcome) for each, outcome in zip(batch, outcomes, strict=True) if each.loop is loop]
            loop.call_soon_threadsafe(_tell, mine)

    def _stored(self, wanted: Sequence[NewStep | Callable[[Connection], Any]]) -> list[Any]:
        for left in reversed(range(TRIES)):
            try:
                with self._engine.begin() as connection:
                    return _store_all(connection, wanted)
            except OperationalError:
                if not left:
                    raise
        raise AssertionError("unreachable: the last try returns or raises")


class _Waiting(NamedTuple):
    wanted: NewStep | Callable[[Connection], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


def _store_all(connection: Connection, wanted: Sequence[NewStep | Callable[[Connection], Any]]) -> list[Any]:
    """What came of each: for a step whether it was stored, for a change what it returned or raised."""
    steps = [each for each in wanted if isinstance(each, NewStep)]
    stored = iter(store_steps(connection, steps) if steps else ())
    outcomes: list[Any] = []
    for each in wanted:
        if isinstance(each, NewStep):
            outcomes.append(next(stored))
            continue
        try:
            with connection.begin_nested():
                outcomes.append(each(connection))
        except OperationalError:
            raise  # of the transaction as a whole
        except Exception as error:  # noqa: BLE001  the one who waits for it is told
            outcomes.append(error)
    return outcomes


def _tell(outcomes: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in outcomes:
        if future.cancelled():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


_ADVANCE = (
    update(EpisodeRow)
    .where(EpisodeRow.id == bindparam("episode"))
    .values(
        steps=bindparam("taken"),
        state=bindparam("became"),
        task_digest=bindparam("task"),
        active_board_s=bindparam("at"),
        ended_at=bindparam("ended"),
    )
)


def store_steps(connection: Connection, steps: Sequence[NewStep]) -> list[bool]:
    """Store those steps that are the next one of a running episode.

    Returns:
        Whether each was stored.
    """
    query = (
        select(EpisodeRow.id, EpisodeRow.steps)
        .where(EpisodeRow.id.in_([step.episode_id for step in steps]), EpisodeRow.state == RUNNING)
        .order_by(EpisodeRow.id)  # two transactions that lock in one order never wait for each other in a circle
        .with_for_update()
    )
    expected = {row.id: row.steps for row in connection.execute(query)}
    stored: list[bool] = []
    taken: list[NewStep] = []
    for step in steps:
        fits = expected.get(step.episode_id) == step.number
        stored.append(fits)
        if fits:
            taken.append(step)
            expected.pop(step.episode_id)
            if step.state == RUNNING:
                expected[step.episode_id] = step.number + 1
    if taken:
        connection.execute(insert(StepRow), [_row(step) for step in taken])
        connection.execute(
            _ADVANCE,
            [
                {
                    "episode": step.episode_id,
                    "taken": step.number + 1,
                    "became": step.state,
                    "task": step.task_digest,
                    "at": step.board_s,
                    "ended": step.ended_at,
                }
                for step in taken
            ],
        )
    return stored


def _row(step: NewStep) -> dict[str, Any]:
    kept = ("episode_id", "number", "action", "result", "invalid", "asked", "evidence")
    return {name: getattr(step, name) for name in kept}
