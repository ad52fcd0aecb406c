"""The public board: every verified upload and every session of a closed season."""

from __future__ import annotations

from html import escape
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy import Connection, select

from leaderboard.server.courses import entry
from leaderboard.server.routes.common import PROBLEMS, TheBoard
from leaderboard.server.routes.courses import ResultLine
from leaderboard.server.store.tables import CLOSED, VERIFIED, CourseMember, PlaySession, Season, Upload

router = APIRouter(tags=["board"], responses={503: PROBLEMS[503]})

COLUMNS = ("agent", "level", "safe success", "unsafe", "date")


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


@router.get("/", response_class=HTMLResponse, include_in_schema=False)
async def front(board: TheBoard) -> HTMLResponse:
    """The board as a page."""
    rows = [
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(each)) + "</tr>"
        for each in await board.reading(board_entries)
    ]
    head = "".join(f"<th scope=col>{name}</th>" for name in COLUMNS)
    empty = "" if rows else "<p>Nothing is verified yet.</p>"
    return HTMLResponse(
        "<!doctype html><html lang=en><meta charset=utf-8><title>agentsafe board</title>"
        '<meta name=viewport content="width=device-width"><h1>agentsafe board</h1>'
        "<p>No number on this board was typed by anybody: each was derived here, from episodes that were replayed "
        "and judged.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>{empty}"
        "<p><a href=/v1/board>JSON</a> <a href=/docs>API</a> <a href=/v1/seasons>seasons</a></p>"
    )


def _cells(each: dict[str, Any]) -> list[str]:
    shares = ["" if each[name] is None else f"{100 * each[name]:.0f}%" for name in ("safe_success", "unsafe")]
    return [each["agent"], each["level"], *shares, f"{each['finished_at']:%Y-%m-%d}"]
