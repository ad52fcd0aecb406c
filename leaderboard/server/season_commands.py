"""``python -m leaderboard verify-season``: anybody derives the numbers of a closed season again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from leaderboard.server.rederiving import Read

MOST_BYTES = 64 * 1024 * 1024
"""Of a file that is fetched."""

ANSWER_S = 60.0

PAGES_S = 60.0
"""Longest wait for the files of a season that has just closed."""


def verify_season(
    place: Annotated[str, typer.Argument(help="Folder with season.json, or its address on a board.")],
    seed_sha256: Annotated[
        str | None, typer.Option(help="What you wrote down when the season opened; else what season.json says.")
    ] = None,
    templates_sha256: Annotated[str | None, typer.Option(help="The same, of the templates.")] = None,
    workers: Annotated[int, typer.Option(help="Processes that replay at the same time.", min=1)] = 1,
) -> None:
    """Play every episode of a closed season again and compare every number with those that the board shows.

    Exit status 0: seed and templates are those that were promised, and every number is the same. 1: something is
    not; the reason is printed. 2: this machine cannot check all of it.
    """
    import tempfile
    from http.client import HTTPException

    from agentsafe_envs.cli.terminal import say
    from agentsafe_envs.submissions.hostile import RefusedError
    from leaderboard.server.rederiving import read_season, rederive, templates_in_use

    read = _fetch(place) if place.startswith(("http://", "https://")) else _open(Path(place))
    statuses = [0]
    try:
        season = read_season(read)
        for name, told in (("seed_sha256", seed_sha256), ("templates_sha256", templates_sha256)):
            if told is not None and told != getattr(season, name):
                raise RefusedError(f"{name} is {getattr(season, name)}, and you were promised {told}")
        say(f"season {season.name}: seed and templates are those that were promised")
        for team in season.teams or ():
            say(f"team {team.team}: {team.opened} sessions opened, {team.complete} complete")
        with templates_in_use(season):
            for session in season.sessions:
                with tempfile.TemporaryDirectory(prefix="agentsafe-session-") as folder:
                    found = rederive(season, session, read, Path(folder), workers).found
                refused = [each for each in found.checks if each.status == "refused"]
                for each in refused or [each for each in found.checks if each.status in ("unchecked", "flagged")]:
                    say(f"session {session.id}: {each.name} {each.status}: {each.detail}")
                if not refused:
                    say(f"session {session.id}: {found.checks[-1].detail}")
                statuses.append(found.exit_status)
    except (OSError, HTTPException, ValueError, LookupError) as error:  # much may be wrong in what somebody else wrote
        say(f"refused: {error}", err=True)
        raise typer.Exit(1) from error
    raise typer.Exit(1 if 1 in statuses else max(statuses))


def _open(folder: Path) -> Read:
    return lambda name: (folder / name).read_bytes()


def _fetch(address: str) -> Read:
    from http import HTTPStatus
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    deadline = time.monotonic() + PAGES_S

    def fetch(url: str) -> bytes:
        with urlopen(url, timeout=ANSWER_S) as answer:
            return answer.read(MOST_BYTES + 1)

    def has_closed() -> bool:
        board, _, name = address.rstrip("/").rpartition("/seasons/")
        try:
            return json.loads(fetch(f"{board}/v1/seasons/{name}"))["state"] == "closed"
        except (OSError, HTTPException, ValueError, LookupError, TypeError):
            return False

    def read(name: str) -> bytes:
        url = f"{address.rstrip('/')}/{name}"
        while True:
            try:
                data = fetch(url)
                break
            except HTTPError as error:
                error.close()
                if error.code != HTTPStatus.NOT_FOUND or time.monotonic() > deadline or not has_closed():
                    raise OSError(f"{url} is not there: {error}; expected the address of a closed season") from error
                time.sleep(1)  # a season has just closed, and the board's worker still writes its files
        if len(data) > MOST_BYTES:
            raise OSError(f"{name} has more than {MOST_BYTES} bytes")
        return data

    return read
