"""What everybody may see: whether the board is well, its seasons, its API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from sqlalchemy import Connection, func, select

from leaderboard.server.problems import not_found
from leaderboard.server.routes.common import PROBLEMS, AnyCaller, Id, TheBoard
from leaderboard.server.routes.page import api_page
from leaderboard.server.shown import shown_sessions
from leaderboard.server.store.tables import CLOSED, Season

router = APIRouter(responses={status: PROBLEMS[status] for status in (404, 422, 503)})


class SeasonView(BaseModel):
    """A season, with what was promised when it opened."""

    name: str
    state: str = Field(description="open, closing or closed")
    pool: str = Field(description="private, or public in a season for practice")
    environments: list[str]
    max_steps: int
    episodes: int = Field(description="Of one session.")
    seed_sha256: str = Field(description="SHA-256 of the secret seed's 32 bytes.")
    templates_sha256: str | None = Field(description="Digest over the seed and the private templates; docs/hosting.md.")
    opened_at: datetime
    closed_at: datetime | None


class Revealed(BaseModel):
    """What a season kept secret until it closed."""

    seed: str = Field(description="64 hex digits.")
    templates: dict[str, str] = Field(description="File name and content of the private wordings.")


class Me(BaseModel):
    """What a token is for."""

    team: str
    scopes: list[str]
    sessions_per_season: int
    running_episodes: int


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", tags=["operation"])
async def healthz(board: TheBoard) -> dict[str, str]:
    """Whether the board answers and its database does."""
    await board.reading(lambda each: each.execute(select(func.count()).select_from(Season)).scalar())
    return {"status": "ok"}


@router.get("/metrics", tags=["operation"], response_class=PlainTextResponse)
async def metrics(board: TheBoard) -> Response:
    """Counts for Prometheus."""
    return Response(board.metrics.text(), media_type=CONTENT_TYPE_LATEST)


@router.head("/docs", response_class=HTMLResponse, include_in_schema=False)
@router.get("/docs", tags=["operation"], response_class=HTMLResponse, include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """This API on one page."""
    return HTMLResponse(api_page(request.app.openapi()))


@router.get("/v1/seasons", tags=["seasons"])
async def list_seasons(board: TheBoard) -> list[SeasonView]:
    """Every season, the newest first."""
    return await board.reading(view_seasons)


@router.get("/v1/seasons/{name}", tags=["seasons"])
async def show_season(name: Id, board: TheBoard) -> SeasonView:
    """One season."""
    row = await board.reading(lambda each: each.execute(select(Season).where(Season.name == name)).first())
    if row is None:
        raise not_found("season")
    return _view(row)


@router.get("/v1/seasons/{name}/secret", tags=["seasons"])
async def reveal_season(name: Id, board: TheBoard) -> Revealed:
    """Seed and templates of a season that has closed, so that everybody can check what was promised."""
    query = select(Season.revealed).where(Season.name == name, Season.state == CLOSED)
    revealed = await board.reading(lambda each: each.execute(query).scalar())
    if revealed is None:
        raise not_found("closed season")
    return Revealed(**revealed)


@router.get("/v1/seasons/{name}/results", tags=["seasons"])
async def season_results(name: Id, board: TheBoard) -> list[dict[str, Any]]:
    """Agent and scorecard of every complete session of a season that has closed, but those of courses."""
    await show_season(name, board)
    sessions = await board.reading(shown_sessions)
    return [
        {"id": each.id, "agent": each.agent, "scorecard": each.scorecard} for each in sessions if each.season == name
    ]


@router.get("/v1/me", tags=["held-out track"], responses={401: PROBLEMS[401], 429: PROBLEMS[429]})
async def me(caller: AnyCaller, board: TheBoard) -> Me:
    """Whose token this is, and what it may be used for."""
    limits = board.settings.limits
    return Me(
        team=caller.team,
        scopes=sorted(caller.scopes),
        sessions_per_season=limits.sessions_per_season,
        running_episodes=limits.running_per_team,
    )


def view_seasons(connection: Connection) -> list[SeasonView]:
    """Every season, the newest first."""
    return [_view(row) for row in connection.execute(select(Season).order_by(Season.opened_at.desc())).all()]


def _view(row: Any) -> SeasonView:
    fields: dict[str, Any] = {name: value for name, value in row._mapping.items() if name in SeasonView.model_fields}
    episodes = len(row.environments) * sum(number for _, number in row.tasks)
    return SeasonView(**fields, episodes=episodes)
