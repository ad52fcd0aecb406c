"""The public board as JSON: every verified upload and every session of a closed season."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import Connection, select

from leaderboard.server.courses import place, session_entry, upload_entry
from leaderboard.server.routes.common import PROBLEMS, TheBoard
from leaderboard.server.routes.courses import ResultLine
from leaderboard.server.store.tables import CLOSED, VERIFIED, CourseMember, PlaySession, Season, Upload

router = APIRouter(tags=["board"], responses={503: PROBLEMS[503]})


def board_entries(connection: Connection) -> list[dict[str, Any]]:
    """What the public board shows, suite by suite, best first; courses have boards of their own."""
    students = select(CourseMember.team_id)
    uploads = connection.execute(
        select(Upload.report, Upload.created_at).where(Upload.state == VERIFIED, Upload.team_id.not_in(students))
    ).all()
    sessions = connection.execute(
        select(PlaySession.agent, PlaySession.season, PlaySession.scorecard, PlaySession.created_at)
        .join(Season, Season.name == PlaySession.season)
        .where(Season.state == CLOSED, PlaySession.team_id.not_in(students))
    ).all()
    read = [upload_entry(row.report, row.created_at) for row in uploads if row.report]
    found = [each for each in read if each is not None]
    found += [
        session_entry(row.agent, row.season, row.scorecard, row.created_at)
        for row in sessions
        if row.scorecard is not None
    ]
    return sorted(found, key=lambda each: (each["suite"], place(each), each["agent"]))


@router.get("/v1/board")
async def show_board(board: TheBoard) -> list[ResultLine]:
    """Every result by suite, best first and `reported` ones last; each number was derived here from the episodes.

    Results whose intervals overlap may be equally good. The pages of the board show ranks.
    """
    return await board.reading(board_entries)  # type: ignore[return-value]
