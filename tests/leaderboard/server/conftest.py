"""A board in this process, on SQLite or a real PostgreSQL, with teams, seasons and a clock that tests set."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from glob import glob
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.server.hosting import Host, SetClock

_numbers = count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.needs("board"))


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def start(tmp_path: Path, clock: SetClock) -> Iterator[Callable[..., Host]]:
    """``start(**limits)``: a board on SQLite, or on ``database``."""
    hosts: list[Host] = []

    def start(database: str | None = None, **limits: Any) -> Host:
        from leaderboard.server.settings import Limits, Settings

        settings = Settings.of(tmp_path / "board", database)
        hosts.append(Host(settings.model_copy(update={"limits": Limits(**limits)}), clock))  # type: ignore[arg-type]
        return hosts[-1]

    yield start
    for host in hosts:
        host.close()


@pytest.fixture
def host(start: Callable[..., Host]) -> Host:
    """A board on SQLite with a season for practice."""
    made = start()
    made.season()
    return made


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of an own PostgreSQL server, up to the name of a database."""
    folder = Path(tempfile.mkdtemp(prefix="board-postgresql-"))
    programs = os.pathsep.join([os.environ["PATH"], *sorted(glob("/usr/lib/postgresql/*/bin"))])
    as_postgres: list[str] = []
    if os.geteuid() == 0:  # it refuses to run as root
        shutil.chown(folder, "postgres", "postgres")
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    initdb, pg_ctl = shutil.which("initdb", path=programs), shutil.which("pg_ctl", path=programs)
    assert initdb
    assert pg_ctl
    data = folder / "data"

    def run(*arguments: str) -> None:
        subprocess.run([*as_postgres, *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    run(initdb, "-D", str(data), "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")
    run(pg_ctl, "-D", str(data), "-w", "-l", str(folder / "log"), "-o", f"-k {folder} -h ''", "start")
    yield f"postgresql://postgres@/{{}}?host={folder}"
    run(pg_ctl, "-D", str(data), "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=[pytest.mark.slow, pytest.mark.needs("postgresql")])]
)
def database(request: pytest.FixtureRequest) -> str | None:
    """URL of an empty database; None means SQLite in the board's folder."""
    if request.param == "sqlite":
        return None
    import psycopg

    url = request.getfixturevalue("postgresql")
    name = f"board_{next(_numbers)}"
    with psycopg.connect(url.format("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return url.format(name)
