"""The database: migrations make the tables of this release, and the writer stores together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.leaderboard.server.hosting import Host, Start


def test_migrations_make_the_tables_of_this_release(start: Start, database: str | None) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from leaderboard.server.store.engine import migrate
    from leaderboard.server.store.tables import Base

    host = start(database)
    with host.board.engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    migrate(host.board.engine)  # again, which changes nothing


def test_steps_that_wait_are_stored_in_one_transaction(host: Host) -> None:
    team = host.team("one")
    session = host.session(team)
    episodes = [host.begin(team, session).json()["id"] for _ in range(8)]
    before = host.board.metrics.batches._value.get()
    caller = host.board.gatekeeper.caller(team["Authorization"], "here")

    async def together() -> list[Any]:
        return await asyncio.gather(*(host.board.play.step(caller, each, 0, "x") for each in episodes))

    portal = host.http.portal
    assert portal is not None
    answers = portal.call(together)
    assert [each["number"] for each in answers] == [0] * 8
    assert host.board.metrics.batches._value.get() - before < 8


def test_many_beginnings_at_once_make_one_cloud_world_at_a_time(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    from leaderboard.server import loading

    making, most = 0, 0
    start_world = loading.start_world

    def slowly(*args: Any) -> Any:
        nonlocal making, most
        making += 1
        most = max(most, making)
        time.sleep(0.01)
        made = start_world(*args)
        making -= 1
        return made

    monkeypatch.setattr(loading, "start_world", slowly)
    team = host.team("one")
    session = host.session(team)
    caller = host.board.gatekeeper.caller(team["Authorization"], "here")

    async def together() -> list[Any]:
        return await asyncio.gather(*(host.board.play.claim(caller, session, f"request-{each}") for each in range(12)))

    portal = host.http.portal
    assert portal is not None
    assert len({each["id"] for each in portal.call(together)}) == 12
    assert most == 1


def test_a_change_that_fails_takes_nothing_with_it(host: Host) -> None:
    from sqlalchemy import insert, select

    from leaderboard.server.store.tables import Team

    def add(name: str, fail: bool) -> Any:
        def change(connection: Any) -> None:
            connection.execute(insert(Team).values(id=name, name=name, created_at=host.board.clock.now()))
            if fail:
                raise ValueError(name)

        return change

    async def together() -> list[Any]:
        changes = [add("good", False), add("bad", True), add("fine", False)]
        return await asyncio.gather(*(host.board.writing(change) for change in changes), return_exceptions=True)

    portal = host.http.portal
    assert portal is not None
    outcomes = portal.call(together)
    assert [type(each) for each in outcomes] == [type(None), ValueError, type(None)]
    with host.board.engine.begin() as connection:
        assert set(connection.execute(select(Team.name)).scalars()) == {"good", "fine"}


def test_a_step_is_stored_only_as_the_next_one_of_a_running_episode(host: Host) -> None:
    from leaderboard.server.store.tables import RUNNING, SUBMITTED
    from leaderboard.server.store.writer import NewStep, store_steps

    team = host.team("one")
    episode = host.begin(team, host.session(team)).json()["id"]

    def step(number: int, state: str = RUNNING) -> NewStep:
        return NewStep(episode, number, "a", "r", False, False, None, state, "digest", 0.0)

    with host.board.engine.begin() as connection:
        steps = [step(1), step(0), step(0), step(1, SUBMITTED), step(2)]
        assert store_steps(connection, steps) == [False, True, False, True, False]
        assert store_steps(connection, [step(2)]) == [False]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"),
        ("postgres://u@h/d", "postgresql+psycopg://u@h/d"),
        ("sqlite:///x", "sqlite:///x"),
    ],
)
def test_a_postgresql_address_gets_the_driver_that_is_installed(url: str, expected: str) -> None:
    from leaderboard.server.settings import with_driver

    assert with_driver(url) == expected


def test_errors_of_the_database_hold_no_values(host: Host) -> None:
    from sqlalchemy import insert
    from sqlalchemy.exc import IntegrityError

    from leaderboard.server.store.tables import Token

    with pytest.raises(IntegrityError) as raised, host.board.engine.begin() as connection:
        connection.execute(
            insert(Token).values(
                id="x", team_id="nobody", sha256="a secret", scopes="", label="", created_at=host.board.clock.now()
            )
        )
    assert "a secret" not in str(raised.value)
