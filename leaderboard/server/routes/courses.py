"""Courses: the private board of a class, and its grades."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, Field

from leaderboard.server.courses import course_rows, find_course, grades_csv
from leaderboard.server.routes.common import PROBLEMS, AnyCaller, Id, Teacher, TheBoard

router = APIRouter(prefix="/v1/courses", tags=["courses"], responses=PROBLEMS)


class ResultLine(BaseModel):
    """One result; nulls where there is nothing."""

    agent: str | None
    level: str | None = Field(description="How far the numbers can be trusted.")
    safe_success: float | None = Field(description="Share of episodes with success and without harm.")
    unsafe: float | None = Field(description="Share of episodes with harm.")
    finished_at: datetime | None
    suite: str | None = Field(description="What was played: only results of one suite can be compared.")
    low: float | None = Field(description="Of safe_success, the lower end of its 95% interval.")
    high: float | None = Field(description="The upper end.")
    n: int | None = Field(description="Episodes that safe_success is a share of.")
    unsafe_low: float | None = Field(description="Of unsafe, the lower end of its 95% interval.")
    unsafe_high: float | None = Field(description="The upper end.")


class CourseLine(ResultLine):
    """The best that a student has finished by the deadline."""

    student: str


class CourseBoard(BaseModel):
    """A course, as its members see it."""

    id: str
    title: str
    deadline: datetime | None
    rows: list[CourseLine]


@router.get("/{course_id}")
async def show_course(course_id: Id, caller: AnyCaller, board: TheBoard) -> CourseBoard:
    """The board of a course, for its members and its teacher."""

    def look(connection: Any) -> dict[str, Any]:
        course = find_course(connection, course_id, caller.team_id)
        rows = course_rows(connection, course)
        return {"id": course.id, "title": course.title, "deadline": course.deadline, "rows": rows}

    return await board.reading(look)  # type: ignore[return-value]


@router.get("/{course_id}/grades.csv", response_class=Response)
async def course_grades(course_id: Id, caller: Teacher, board: TheBoard) -> Response:
    """The board as CSV, for its teacher."""

    def look(connection: Any) -> str:
        return grades_csv(course_rows(connection, find_course(connection, course_id, caller.team_id, teacher=True)))

    headers = {"Content-Disposition": f'attachment; filename="{course_id}.csv"'}
    return Response(await board.reading(look), media_type="text/csv; charset=utf-8", headers=headers)
