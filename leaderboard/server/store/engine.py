"""Connections to SQLite or PostgreSQL, and the migrations that make the tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from anyio.to_thread import run_sync
from sqlalchemy import Connection, Engine, create_engine, event, make_url

BUSY_S = 15.0
"""How long a writer waits for another one."""

READING = {"reading": True}
"""Execution option of a connection that only reads, so that it never waits for a writer."""

Found = TypeVar("Found")

MIGRATIONS = Path(__file__).parent / "migrations"


def connect(url: str) -> Engine:
    """An engine on ``url``, whose errors never tell the values of a statement.

    SQLite is opened in WAL mode with ``synchronous=FULL``: a commit is on disk, and not only with the system,
    when it returns. The writer commits many steps at once, so that costs one flush for all of them.

    Args:
        url: Of SQLAlchemy, with a driver.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, hide_parameters=True, pool_size=12, max_overflow=20, pool_pre_ping=True)
    engine = create_engine(url, hide_parameters=True, pool_size=12, max_overflow=20, connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions begin below, and not by the driver's guess
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "journal_size_limit=67108864"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and writes later could fail in the middle; one that says so at once waits.
        reads = connection.get_execution_options().get("reading")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


async def read(engine: Engine, look: Callable[[Connection], Found]) -> Found:
    """What ``look`` finds in the database, in a thread."""

    def in_thread() -> Found:
        with engine.connect().execution_options(**READING) as connection:
            return look(connection)

    return await run_sync(in_thread)


def migrate(engine: Engine) -> None:
    """Bring the tables of ``engine`` to those of this release."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
