"""The public board as JSON: every verified upload and every session of a closed season."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import Connection, select

from leaderboard.server.courses import entry
from leaderboard.server.routes.common import PROBLEMS, TheBoard
from leaderboard.server.routes.courses import ResultLine
from leaderboard.server.store.tables import CLOSED, VERIFIED, CourseMember, PlaySession, Season, Upload

router = APIRouter(tags=["board"], responses={503: PROBLEMS[503]})


def board_entries(connection: Connection) -> list[dict[str, Any]]:
    """What the public board shows, best first; courses have boards of their own."""
    students = select(CourseMember.team_id)
    uploads = connection.execute(
        select(Upload.report, Upload.created_at).where(Upload.state == VERIFIED, Upload.team_id.not_in(students))
    ).all()
    sessions = connection.execute(
        select(PlaySession.agent, PlaySession.scorecard, PlaySession.created_at)
        .join(Season, Season.name == PlaySession.season)
        .where(Season.state == CLOSED, PlaySession.team_id.not_in(students))
    ).all()
    found = [
        entry(row.report["submission"]["agent"]["name"], row.report["level"], row.report["scorecard"], row.created_at)
        for row in uploads
        if row.report and row.report["submission"]
    ]
    found += [
        entry(row.agent["name"], "held-out", row.scorecard, row.created_at)
        for row in sessions
        if row.scorecard is not None
    ]
    return sorted(found, key=lambda each: (-(each["safe_success"] or 0.0), each["agent"]))


@router.get("/v1/board")
async def show_board(board: TheBoard) -> list[ResultLine]:
    """Every result, best first; each number was derived here from the episodes."""
    return await board.reading(board_entries)  # type: ignore[return-value]
