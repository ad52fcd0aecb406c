"""Everything that one server process holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from leaderboard.server.auth import Gatekeeper
from leaderboard.server.boardtime import TICK_S, BoardTime
from leaderboard.server.clock import Clock
from leaderboard.server.locks import KeyedLocks
from leaderboard.server.metrics import Metrics
from leaderboard.server.play import Play
from leaderboard.server.settings import Settings
from leaderboard.server.store.engine import connect, migrate, read
from leaderboard.server.store.writer import Writer

log = logging.getLogger("leaderboard.server")

Found = TypeVar("Found")


class Board:
    """A running board.

    Args:
        settings: Where it is and what it allows.
        clock: Its clocks.

    Raises:
        FileNotFoundError: The secret of the open season is not there.
    """

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or Clock()
        self.metrics = Metrics()
        self.engine = connect(settings.database)
        migrate(self.engine)
        self.time = BoardTime(self.engine, self.clock)
        self.gatekeeper = Gatekeeper(self.engine, self.clock, settings.limits)
        self.upload_locks = KeyedLocks()
        self.streams = 0
        self.writer = Writer(self.engine, self.metrics)
        self.play = Play(settings, self.engine, self.writer, self.clock, self.time, self.metrics)

    async def keep_time(self) -> None:
        """Tick for ever. A tick that the database refuses is told, and the next one makes up for it."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                await self.play.tick()
            except (SQLAlchemyError, OSError) as error:
                log.error("a tick of the board's clock was not stored: %s", type(error).__name__)

    async def reading(self, look: Callable[[Connection], Found]) -> Found:
        """What ``look`` finds in the database, in a thread."""
        return await read(self.engine, look)

    async def writing(self, change: Callable[[Connection], Found]) -> Found:
        """What ``change`` returns; it is stored when this returns."""
        return await self.writer.run(change)

    def close(self) -> None:
        """Store what waits, end sandboxes, let go of the database."""
        self.play.close()
        self.writer.close()
        try:
            self.time.store()
        except SQLAlchemyError as error:
            log.error("the board's clock was not stored: %s", type(error).__name__)
        self.engine.dispose()
