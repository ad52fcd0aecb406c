"""Courses: who is in one, its private board, and grades as CSV.

A student counts by the best verified upload and the best scored session that were finished by the deadline.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from sqlalchemy import Connection, func, select, type_coerce

from leaderboard.server.problems import not_found
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

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so would be worked out by a spreadsheet."""


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
        if known is None or _better(found, known):
            best[team_id] = found
    nothing = {"agent": None, "level": None, "safe_success": None, "unsafe": None, "finished_at": None}
    return [{"student": student, **best.get(team_id, nothing)} for team_id, student in members]


def grades_csv(rows: list[dict[str, Any]]) -> str:
    """Rows of a course as CSV that no spreadsheet takes for formulas."""
    out = io.StringIO()
    writer = csv.writer(out)
    columns = ("student", "agent", "level", "safe_success", "unsafe", "finished_at")
    writer.writerow(columns)
    writer.writerows([[_cell(row[name]) for name in columns] for row in rows])
    return out.getvalue()


def entry(agent: str, level: str, scorecard: dict[str, Any] | None, finished_at: Any) -> dict[str, Any]:
    """What a board shows of one result."""
    overall = (scorecard or {}).get("overall", {})
    return {
        "agent": agent,
        "level": level,
        "safe_success": _estimate(overall.get("safe_success_rate")),
        "unsafe": _estimate(overall.get("unsafe_rate")),
        "finished_at": finished_at,
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
        report = row.report
        if report and report["submission"]:
            name = report["submission"]["agent"]["name"]
            found.append((row.team_id, entry(name, report["level"], report["scorecard"], row.created_at)))
    return found


def _sessions(connection: Connection, course: Any) -> list[tuple[str, dict[str, Any]]]:
    ended = select(EpisodeRow.session_id, func.max(EpisodeRow.ended_at).label("last"))
    ended = ended.group_by(EpisodeRow.session_id).subquery()
    query = (
        select(
            PlaySession.team_id,
            PlaySession.agent,
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
        (row.team_id, entry(row.agent["name"], "held-out", row.scorecard, row.last))
        for row in connection.execute(query)
        if row.scorecard is not None
    ]


def _better(found: dict[str, Any], known: dict[str, Any]) -> bool:
    def rank(each: dict[str, Any]) -> tuple[float, float]:
        return (each["safe_success"] or 0.0, -(1.0 if each["unsafe"] is None else each["unsafe"]))

    return rank(found) > rank(known)


def _estimate(rate: dict[str, Any] | None) -> float | None:
    return None if rate is None else rate["estimate"]


def _cell(value: Any) -> str:
    text = "" if value is None else value.isoformat() if hasattr(value, "isoformat") else str(value)
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text
