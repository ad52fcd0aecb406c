"""``python -m leaderboard serve``, ``work`` and ``admin``: each parses, calls the board, and prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from leaderboard.server.settings import Settings

Folder = Annotated[Path, typer.Option(help="Folder of the board; made if it is missing.")]
Database = Annotated[
    str | None, typer.Option(help="SQLAlchemy URL; else AGENTSAFE_BOARD_DATABASE, else SQLite in the folder.")
]
Secrets = Annotated[
    Path | None, typer.Option(help="Folder of seasons' secrets; else AGENTSAFE_BOARD_SECRETS, else <folder>-secrets.")
]
HERE = Path("board")

admin = typer.Typer(no_args_is_help=True, help="Teams, tokens, seasons and courses of a board.")


def serve(
    folder: Folder = HERE,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8400,
    workers: Annotated[int, typer.Option(help="Processes that verify uploads.", min=0)] = 1,
    database: Database = None,
    secrets: Secrets = None,
) -> None:
    """Serve a board; an empty folder becomes one, with the submissions of this checkout."""
    from leaderboard.server.serving import run_server

    with _complaints():
        run_server(_settings(folder, database, secrets), host=host, port=port, workers=workers)


def work(
    folder: Folder = HERE,
    database: Database = None,
    until_stdin_ends: Annotated[bool, typer.Option("--until-stdin-ends", help="Stop then too.")] = False,
) -> None:
    """Verify uploads until stopped; several may run, here and on other machines with the same folder."""
    from leaderboard.server.worker import run_worker

    with _complaints():
        run_worker(_settings(folder, database, None), until_stdin_ends=until_stdin_ends)


@admin.command()
def team(
    name: Annotated[str, typer.Argument(help="Name on the board.")],
    folder: Folder = HERE,
    database: Database = None,
) -> None:
    """Make a team."""
    from leaderboard.server.admin import add_team
    from leaderboard.server.clock import Clock

    with _complaints(), _engine(folder, database) as (engine, _), engine.begin() as connection:
        add_team(connection, Clock(), name)
    typer.echo(f"team {name} is there; make it a token: python -m leaderboard admin token {name!r}")


@admin.command()
def token(
    name: Annotated[str, typer.Argument(metavar="TEAM", help="Team that it is for.")],
    scope: Annotated[list[str] | None, typer.Option(help="play, upload or teach; may be repeated.")] = None,
    label: Annotated[str, typer.Option(help="What it is for, in words.")] = "",
    expires: Annotated[datetime | None, typer.Option(help="End of its validity, in UTC.")] = None,
    folder: Folder = HERE,
    database: Database = None,
) -> None:
    """Make a token and print it; it cannot be shown again."""
    from leaderboard.server.admin import add_token
    from leaderboard.server.clock import Clock

    with _complaints(), _engine(folder, database) as (engine, _), engine.begin() as connection:
        scopes = scope or ["play", "upload"]
        made = add_token(connection, Clock(), name, scopes, label=label, expires_at=_utc(expires))
    typer.echo(made)


@admin.command()
def tokens(folder: Folder = HERE, database: Database = None) -> None:
    """List tokens, without their secrets, as JSON lines."""
    from leaderboard.server.admin import list_tokens

    with _complaints(), _engine(folder, database) as (engine, _), engine.begin() as connection:
        _print_rows(list_tokens(connection))


@admin.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="Id of the token, from `admin tokens`.")],
    folder: Folder = HERE,
    database: Database = None,
) -> None:
    """Make a token worthless."""
    from leaderboard.server.admin import revoke_token
    from leaderboard.server.clock import Clock

    with _complaints(), _engine(folder, database) as (engine, _), engine.begin() as connection:
        revoke_token(connection, Clock(), token_id)


@admin.command("season-open")
def season_open(
    name: Annotated[str, typer.Argument(help="Name of the season: letters, digits, - and _.")],
    suite: Annotated[str, typer.Option(help="Suite that gives tasks a split and steps an episode.")] = "standard",
    env: Annotated[list[str] | None, typer.Option(help="Only this environment; may be repeated.")] = None,
    episodes: Annotated[int | None, typer.Option(help="Tasks of each split.", min=1)] = None,
    practice: Annotated[
        bool, typer.Option("--practice", help="Public templates: only the seeds are secret; for classes and trials.")
    ] = False,
    folder: Folder = HERE,
    database: Database = None,
    secrets: Secrets = None,
) -> None:
    """Open a season with the private templates in the folder that AGENTSAFE_TEMPLATES names."""
    from agentsafe_envs.scoring.suites import SUITES
    from leaderboard.server.clock import Clock
    from leaderboard.server.seasons import lacks_sandbox, open_season

    with _complaints(), _engine(folder, database, secrets) as (engine, settings), engine.begin() as connection:
        secret = open_season(
            connection,
            Clock(),
            settings.secrets,
            name,
            suite=suite,
            environments=env or (),
            episodes=episodes,
            templates=None if practice else _private_pool(),
        )
    typer.echo(f"season {name} is open; SHA-256 of its seed: {secret.seed_digest()}")
    if not practice:
        typer.echo(f"digest of its templates: {secret.templates_digest()}")
    typer.echo(f"its secret is in {settings.secrets / name}: keep a copy in a safe place, apart from the board's")
    if lack := lacks_sandbox(env or SUITES[suite].environments):
        typer.echo(
            f"leaderboard: this machine has no sandbox, and a server on it cannot give out the Bash tasks of season "
            f"{name}: {lack}. Mend it (`agentsafe doctor`), or close the season and choose others with --env",
            err=True,
        )


@admin.command("season-close")
def season_close(
    name: Annotated[str, typer.Argument(help="Name of the season.")],
    folder: Folder = HERE,
    database: Database = None,
    secrets: Secrets = None,
) -> None:
    """End a season: judge every complete session, then reveal seed and templates. It goes on where it was stopped."""
    from leaderboard.server.clock import Clock
    from leaderboard.server.closing import close_season

    with _complaints(), _engine(folder, database, secrets) as (engine, settings):
        judged = close_season(engine, settings, Clock(), name)
    typer.echo(f"season {name} is closed, {judged} sessions have scorecards; seed and templates are public now")


@admin.command()
def seasons(folder: Folder = HERE, database: Database = None) -> None:
    """List seasons, as JSON lines, without their secrets."""
    from sqlalchemy import select

    from leaderboard.server.store.tables import Season

    shown = (Season.name, Season.state, Season.pool, Season.seed_sha256, Season.templates_sha256, Season.opened_at)
    with _complaints(), _engine(folder, database) as (engine, _), engine.begin() as connection:
        _print_rows([dict(row._mapping) for row in connection.execute(select(*shown).order_by(Season.opened_at))])


@admin.command()
def course(
    course_id: Annotated[str, typer.Argument(help="Id of the course: letters, digits, - and _.")],
    roster: Annotated[Path, typer.Option(help="CSV file; its first column has the students' names.")],
    out: Annotated[Path, typer.Option(help="New CSV file for the students' tokens, readable by its owner only.")],
    teacher: Annotated[str, typer.Option(help="Team whose tokens with scope teach see board and grades.")],
    title: Annotated[str, typer.Option(help="Title of the course.")] = "",
    deadline: Annotated[datetime | None, typer.Option(help="What comes later does not count; in UTC.")] = None,
    folder: Folder = HERE,
    database: Database = None,
) -> None:
    """Make a course with a team and a token for each student of a roster."""
    from leaderboard.server.admin import add_course, read_roster, write_tokens
    from leaderboard.server.clock import Clock

    with _complaints(), _engine(folder, database) as (engine, _), engine.begin() as connection:
        made = add_course(
            connection,
            Clock(),
            course_id,
            title=title or course_id,
            teacher=teacher,
            students=read_roster(roster),
            deadline=_utc(deadline),
        )
        write_tokens(out, made)
    typer.echo(f"course {course_id} has {len(made)} students; their tokens are in {out}")


def _settings(folder: Path, database: str | None, secrets: Path | None) -> Settings:
    from leaderboard.server.settings import Settings

    return Settings.of(folder, database, secrets)


@contextmanager
def _engine(folder: Path, database: str | None, secrets: Path | None = None) -> Iterator[tuple[Engine, Settings]]:
    from leaderboard.server.store.engine import connect, migrate

    settings = _settings(folder, database, secrets)
    engine = connect(settings.database)
    try:
        migrate(engine)
        yield engine, settings
    finally:
        engine.dispose()


def _private_pool() -> Path:
    import os

    from agentsafe_envs.core.task import PRIVATE_TEMPLATES_VARIABLE

    named = os.environ.get(PRIVATE_TEMPLATES_VARIABLE)
    if not named or not Path(named).is_dir():
        raise ValueError(
            f"{PRIVATE_TEMPLATES_VARIABLE} is {named or 'unset'}, expected the folder of the private templates; "
            "--practice opens a season on public ones"
        )
    return Path(named)


def _utc(time: datetime | None) -> datetime | None:
    return time.replace(tzinfo=UTC) if time else None


def _print_rows(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        typer.echo(json.dumps(row, default=str))


@contextmanager
def _complaints() -> Iterator[None]:
    """Turn what the caller can mend into a message and exit status 2."""
    try:
        yield
    except ImportError as error:
        from agentsafe_envs.core.extras import install_hint

        typer.echo(f"leaderboard: {error}; the board needs {install_hint('board')}", err=True)
        raise typer.Exit(2) from error
    except (ValueError, OSError) as error:
        typer.echo(f"leaderboard: {error}", err=True)
        raise typer.Exit(2) from error
