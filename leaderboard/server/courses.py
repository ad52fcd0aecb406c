"""Courses: who is in one, its private board, and grades as CSV.

A student counts by the best verified upload or scored session that was finished by the deadline. A result whose
episodes were not all played again here (``reported``) counts only where there is no other.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from sqlalchemy import Connection, func, select, type_coerce

from leaderboard.server.problems import not_found
from leaderboard.server.seasons import suite_name
from leaderboard.server.store.tables import (
    CLOSED,
    VERIFIED,
    Course,
    CourseMember,
    EpisodeRow,
    PlaySession,
    Season,
    Upload,
    UtcTime,
)

NUMBERS = ("low", "high", "n", "unsafe_low", "unsafe_high")
"""What tells how sure the two shares of a result are."""

COLUMNS = ("student", "agent", "level", "safe_success", "unsafe", "finished_at", "suite", *NUMBERS)
"""Of grades; a new one goes to the end, since spreadsheets name columns by their place."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so would be worked out by a spreadsheet."""


_NOTHING: dict[str, Any] = dict.fromkeys(("estimate", "low", "high", "n"))


def find_course(connection: Connection, course_id: str, team_id: str, *, teacher: bool = False) -> Any:
    """A course that a team teaches or, unless ``teacher``, belongs to.

    Raises:
        ProblemError: There is no such course for this team.
    """
    course = connection.execute(select(Course).where(Course.id == course_id)).first()
    member = select(CourseMember.team_id).where(CourseMember.course_id == course_id, CourseMember.team_id == team_id)
    allowed = course is not None and (
        course.teacher_id == team_id or (not teacher and connection.execute(member).first() is not None)
    )
    if course is None or not allowed:
        raise not_found("course")
    return course


def course_rows(connection: Connection, course: Any) -> list[dict[str, Any]]:
    """One row a student, by name: the best that was finished by the deadline."""
    members = connection.execute(
        select(CourseMember.team_id, CourseMember.student)
        .where(CourseMember.course_id == course.id)
        .order_by(CourseMember.student)
    ).all()
    best: dict[str, dict[str, Any]] = {}
    for team_id, found in [*_uploads(connection, course), *_sessions(connection, course)]:
        known = best.get(team_id)
        if known is None or place(found) < place(known):
            best[team_id] = found
    nothing: dict[str, Any] = dict.fromkeys(COLUMNS[1:])
    return [{"student": student, **best.get(team_id, nothing)} for team_id, student in members]


def grades_csv(rows: list[dict[str, Any]]) -> str:
    """Rows of a course as CSV that no spreadsheet takes for formulas."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([[_cell(row[name]) for name in COLUMNS] for row in rows])
    return out.getvalue()


def upload_entry(report: dict[str, Any], finished_at: Any) -> dict[str, Any] | None:
    """What a board shows of an upload by the report of its verification; None where no submission was read."""
    submission = report["submission"]
    if submission is None:
        return None
    suite = submission["suite"]["name"]
    return _entry(submission["agent"]["name"], report["level"], suite, report["scorecard"], finished_at)


def session_entry(agent: dict[str, Any], season: str, scorecard: dict[str, Any], finished_at: Any) -> dict[str, Any]:
    """What a board shows of a session by its agent, the name of its season, and its numbers."""
    return _entry(agent["name"], "held-out", suite_name(season), scorecard, finished_at)


def place(found: dict[str, Any]) -> tuple[bool, bool, float, float]:
    """Sorts results of one suite, best first: ``reported`` after all others, and what has no rate after those."""
    safe, unsafe = found["safe_success"], found["unsafe"]
    return found["level"] == "reported", safe is None, -(safe or 0.0), 1.0 if unsafe is None else unsafe


def _entry(agent: str, level: str, suite: str, scorecard: dict[str, Any] | None, finished_at: Any) -> dict[str, Any]:
    overall = (scorecard or {}).get("overall", {})
    safe, unsafe = ({**_NOTHING, **(overall.get(name) or {})} for name in ("safe_success_rate", "unsafe_rate"))
    return {
        "agent": agent,
        "level": level,
        "safe_success": safe["estimate"],
        "unsafe": unsafe["estimate"],
        "finished_at": finished_at,
        "suite": suite,
        "low": safe["low"],
        "high": safe["high"],
        "n": safe["n"],
        "unsafe_low": unsafe["low"],
        "unsafe_high": unsafe["high"],
    }


def _uploads(connection: Connection, course: Any) -> list[tuple[str, dict[str, Any]]]:
    query = (
        select(Upload.team_id, Upload.report, Upload.created_at)
        .join(CourseMember, CourseMember.team_id == Upload.team_id)
        .where(CourseMember.course_id == course.id, Upload.state == VERIFIED)
    )
    if course.deadline is not None:
        query = query.where(Upload.created_at <= course.deadline)  # a queue is not the student's delay
    found = []
    for row in connection.execute(query):
        shown = upload_entry(row.report, row.created_at) if row.report else None
        if shown is not None:
            found.append((row.team_id, shown))
    return found


def _sessions(connection: Connection, course: Any) -> list[tuple[str, dict[str, Any]]]:
    ended = select(EpisodeRow.session_id, func.max(EpisodeRow.ended_at).label("last"))
    ended = ended.group_by(EpisodeRow.session_id).subquery()
    query = (
        select(
            PlaySession.team_id,
            PlaySession.agent,
            PlaySession.season,
            PlaySession.scorecard,
            type_coerce(ended.c.last, UtcTime).label("last"),
        )
        .join(ended, ended.c.session_id == PlaySession.id)
        .join(Season, Season.name == PlaySession.season)
        .join(CourseMember, CourseMember.team_id == PlaySession.team_id)
        .where(CourseMember.course_id == course.id, Season.state == CLOSED)
    )
    if course.deadline is not None:
        query = query.where(ended.c.last <= course.deadline)  # opened in time is not finished in time
    return [
        (row.team_id, session_entry(row.agent, row.season, row.scorecard, row.last))
        for row in connection.execute(query)
        if row.scorecard is not None
    ]


def _cell(value: Any) -> str:
    text = "" if value is None else value.isoformat() if hasattr(value, "isoformat") else str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
