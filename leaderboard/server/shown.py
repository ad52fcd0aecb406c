"""What the public board shows: verified uploads, and sessions of seasons that have closed. Courses show their own.

Each has a result, made once by whoever verified it and kept as a file of the board. So the board is written again
without playing anything again.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import Connection, func, select

from agentsafe_envs.runs.files import write_whole
from leaderboard.server.store.tables import CLOSED, VERIFIED, CourseMember, PlaySession, Season, Team, Upload
from leaderboard.site.collecting import slug_of
from leaderboard.site.results import Result

COMMITTED = Path(__file__).parents[1] / "submissions"
"""The submissions that come with the checkout."""

COMMITTED_TEAM_ID = "committed"
"""Their owner; it has no token."""

NAME_CHARS = 12
"""Of an id in the name of a page."""

_STUDENTS = select(CourseMember.team_id)


class ShownUpload(NamedTuple):
    """A verified upload.

    Attributes:
        id: Of the upload.
        kind: Of its archive.
        committed: It came with the checkout.
        created_at: When it came.
    """

    id: str
    kind: str
    committed: bool
    created_at: datetime


class ShownSession(NamedTuple):
    """A scored session of a closed season.

    Attributes:
        id: Of the session.
        season: Its name.
        team: Name of the team that played it.
        number: Which one of its team it was; decides the tasks.
        agent: What the team says of it.
        created_at: When it was opened.
        scorecard: What closing derived.
    """

    id: str
    season: str
    team: str
    number: int
    agent: dict[str, Any]
    created_at: datetime
    scorecard: dict[str, Any]


class TeamSessions(NamedTuple):
    """How many sessions a team had in a closed season: what it left incomplete has no numbers, and still counts here.

    Attributes:
        season: Its name.
        team: Name of the team.
        opened: Sessions that it opened; ``>= 1``.
        complete: Those that have numbers; ``<= opened``.
    """

    season: str
    team: str
    opened: int
    complete: int


def shown_uploads(connection: Connection) -> list[ShownUpload]:
    """Verified uploads, the oldest first."""
    rows = connection.execute(
        select(Upload.id, Upload.kind, Upload.team_id, Upload.created_at)
        .where(Upload.state == VERIFIED, Upload.team_id.not_in(_STUDENTS))
        .order_by(Upload.created_at, Upload.id)
    )
    return [ShownUpload(row.id, row.kind, row.team_id == COMMITTED_TEAM_ID, row.created_at) for row in rows]


def shown_sessions(connection: Connection) -> list[ShownSession]:
    """Scored sessions of closed seasons, the oldest first; nothing of a season that has not closed."""
    fields = [Team.name if name == "team" else getattr(PlaySession, name) for name in ShownSession._fields]
    return [ShownSession(*row) for row in connection.execute(_sessions(*fields))]


def team_sessions(connection: Connection) -> list[TeamSessions]:
    """Counts for each team in each closed season, by season and team; nothing of a season that has not closed."""
    rows = connection.execute(
        select(PlaySession.season, Team.name, func.count(), func.count(PlaySession.scorecard))
        .join(Season, Season.name == PlaySession.season)
        .join(Team, Team.id == PlaySession.team_id)
        .where(Season.state == CLOSED, PlaySession.team_id.not_in(_STUDENTS))
        .group_by(PlaySession.season, Team.name)
        .order_by(PlaySession.season, Team.name)
    )
    return [TeamSessions(*row) for row in rows]


def shown_ids(connection: Connection) -> list[str]:
    """Ids of all that is shown: another list means that there is something new to show."""
    uploads = select(Upload.id).where(Upload.state == VERIFIED, Upload.team_id.not_in(_STUDENTS)).order_by(Upload.id)
    seasons = select(Season.name).where(Season.state == CLOSED).order_by(Season.name)
    queries = (uploads, _sessions(PlaySession.id), seasons)
    return [each for query in queries for each in connection.execute(query).scalars()]


def keep_result(folder: Path, owner: str, result: dict[str, Any]) -> None:
    """Keep the result of an upload or session, in the board's folder.

    Args:
        folder: Of the board.
        owner: Id of the upload or session.
        result: A :class:`~leaderboard.site.results.Result` in JSON types.
    """
    path = _result_path(folder, owner)
    path.parent.mkdir(exist_ok=True)
    write_whole(path, json.dumps(result))


def kept_result(folder: Path, owner: str) -> Result | None:
    """What was kept; None where nothing was, or an older release kept it in another form."""
    try:
        return Result.model_validate_json(_result_path(folder, owner).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def is_outdated(folder: Path, owner: str) -> bool:
    """Whether a result was kept, and in a form that this release does not read."""
    return _result_path(folder, owner).exists() and kept_result(folder, owner) is None


def drop_outdated(folder: Path, owner: str) -> None:
    """Drop a result that this release does not read: nothing better may come of its episodes on this machine."""
    if is_outdated(folder, owner):
        _result_path(folder, owner).unlink()


def slug_of_agent(agent: str, owner: str) -> str:
    """Name of an agent's page.

    Args:
        agent: Its name.
        owner: Id that tells it from others of that name; empty where names are unique.
    """
    name = slug_of(Path(agent.replace("/", "-")))
    return f"{name}-{owner[:NAME_CHARS]}" if owner else name


def _sessions(*fields: Any) -> Any:
    return (
        select(*fields)
        .join(Season, Season.name == PlaySession.season)
        .join(Team, Team.id == PlaySession.team_id)
        .where(Season.state == CLOSED, PlaySession.scorecard.is_not(None), PlaySession.team_id.not_in(_STUDENTS))
        .order_by(PlaySession.created_at, PlaySession.id)
    )


def _result_path(folder: Path, owner: str) -> Path:
    return folder / "results" / f"{owner}.json"
