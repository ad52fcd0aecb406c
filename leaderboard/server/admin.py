"""What a maintainer does: teams, tokens, courses. Every function runs in the caller's transaction."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, select, update

from leaderboard.server.auth import SCOPES, new_id, new_token, token_hash
from leaderboard.server.clock import Clock
from leaderboard.server.store.tables import ID_PATTERN, ID_WORDS, LONGEST_NAME, Course, CourseMember, Team, Token


class AdminError(ValueError):
    """What a maintainer asked for cannot be done; the message says why."""


def add_team(connection: Connection, clock: Clock, name: str) -> str:
    """Make a team.

    Returns:
        Its id.

    Raises:
        AdminError: The name is taken, empty, too long, or not printable.
    """
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise AdminError(f"name is {name!r}, expected 1 to {LONGEST_NAME} printable characters")
    if connection.execute(select(Team.id).where(Team.name == name)).first():
        raise AdminError(f"there is a team {name!r} already; expected a new name")
    team_id = new_id()
    connection.execute(insert(Team).values(id=team_id, name=name, created_at=clock.now()))
    return team_id


def add_token(
    connection: Connection,
    clock: Clock,
    team: str,
    scopes: Sequence[str],
    *,
    label: str = "",
    expires_at: datetime | None = None,
) -> str:
    """Make a token.

    Returns:
        The token itself; only its hash is kept, so it cannot be shown again.

    Raises:
        AdminError: No such team or scope.
    """
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise AdminError(f"scopes are {list(scopes)}, expected some of {', '.join(SCOPES)}")
    team_id = _team_id(connection, team)
    token = new_token()
    connection.execute(
        insert(Token).values(
            id=new_id(),
            team_id=team_id,
            sha256=token_hash(token),
            scopes=" ".join(dict.fromkeys(scopes)),
            label=label,
            created_at=clock.now(),
            expires_at=expires_at,
        )
    )
    return token


def revoke_token(connection: Connection, clock: Clock, token_id: str) -> None:
    """Make a token worthless, by its id; a server that knows it forgets it within a second.

    Raises:
        AdminError: No such token, or it was revoked before.
    """
    query = update(Token).where(Token.id == token_id, Token.revoked_at.is_(None)).values(revoked_at=clock.now())
    if connection.execute(query).rowcount == 0:
        raise AdminError(f"there is no valid token with id {token_id}; `admin tokens` lists them")


def list_tokens(connection: Connection) -> list[dict[str, Any]]:
    """Every token without its secret, by team."""
    query = (
        select(
            Team.name.label("team"),
            Token.id,
            Token.scopes,
            Token.label,
            Token.created_at,
            Token.expires_at,
            Token.revoked_at,
        )
        .join(Team)
        .order_by(Team.name, Token.created_at)
    )
    return [dict(row._mapping) for row in connection.execute(query)]


def add_course(
    connection: Connection,
    clock: Clock,
    course_id: str,
    *,
    title: str,
    teacher: str,
    students: Iterable[str],
    deadline: datetime | None = None,
) -> dict[str, str]:
    """Make a course: a team and a token for each student, named ``<course>/<student>``.

    Returns:
        Token of each student, by the name on the roster.

    Raises:
        AdminError: The id has another form than 1 to 40 letters, digits, ``-`` and ``_`` of ASCII, the course is
            there already, the teacher is no team, or two students share a name.
    """
    if not re.fullmatch(ID_PATTERN, course_id):
        raise AdminError(f"the course's id is {course_id!r}, expected {ID_WORDS}: it is part of addresses")
    if connection.execute(select(Course.id).where(Course.id == course_id)).first():
        raise AdminError(f"there is a course {course_id} already; expected a new id")
    teacher_id = _team_id(connection, teacher)
    connection.execute(
        insert(Course).values(
            id=course_id, title=title, deadline=deadline, teacher_id=teacher_id, created_at=clock.now()
        )
    )
    tokens: dict[str, str] = {}
    for student in students:
        if student in tokens:
            raise AdminError(f"the roster names {student!r} twice; expected each student once")
        team = f"{course_id}/{student}"
        team_id = add_team(connection, clock, team)
        connection.execute(insert(CourseMember).values(course_id=course_id, team_id=team_id, student=student))
        tokens[student] = add_token(connection, clock, team, ("play", "upload"), label=f"course {course_id}")
    if not tokens:
        raise AdminError("the roster is empty; expected one name a line")
    return tokens


def read_roster(path: Path) -> list[str]:
    """Names of students: the first column of a CSV file, a heading ``student`` left out."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        names = [row[0].strip() for row in csv.reader(file) if row and row[0].strip()]
    return names[1:] if names and names[0].lower() == "student" else names


def write_tokens(path: Path, tokens: dict[str, str]) -> None:
    """Write a roster's tokens to a new file that only its owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["student", "token"])
        rows.writerows(tokens.items())


def _team_id(connection: Connection, team: str) -> str:
    found = connection.execute(select(Team.id).where(Team.name == team)).scalar()
    if found is None:
        raise AdminError(f"there is no team {team!r}; make it with `admin team NAME`")
    return found
