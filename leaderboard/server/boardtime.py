"""The board's own clock: seconds for which a server has run.

An operator may set the wall clock, and a server may stand still for a night; neither ends an episode or a lease.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, insert, select, update

from leaderboard.server.clock import Clock
from leaderboard.server.store.engine import READING
from leaderboard.server.store.tables import BoardClock

TICK_S = 10.0
"""How often it is stored; a kill loses at most so much of it."""


class BoardTime:
    """The clock of the server's process, which alone lets it go on.

    Args:
        engine: Of the board.
        clock: Its monotonic side measures.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        with engine.begin() as connection:
            if connection.execute(select(BoardClock.board_s)).first() is None:
                connection.execute(insert(BoardClock).values(id=1, board_s=0.0))
            self._before = stored_board_s(connection)
        self._began = clock.monotonic()

    def now(self) -> float:
        """Seconds, continued from the last server's."""
        return self._before + self._clock.monotonic() - self._began

    def store(self) -> None:
        """Let other processes see it, and the next server go on from it."""
        with self._engine.begin() as connection:
            connection.execute(update(BoardClock).values(board_s=self.now()))


def stored_board_s(connection: Connection) -> float:
    """The clock as the server stored it last; what a worker goes by. Zero before there was a server."""
    return connection.execute(select(BoardClock.board_s)).scalar() or 0.0


def read_board_s(engine: Engine) -> float:
    """:func:`stored_board_s` on a connection of its own."""
    with engine.connect().execution_options(**READING) as connection:
        return stored_board_s(connection)
