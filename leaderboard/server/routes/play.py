"""Sessions and episodes of the held-out track."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import AfterValidator, BaseModel, Field, JsonValue, ValidationError

from agentsafe_envs.submissions.verify.names import find_seal
from leaderboard.server.board import Board
from leaderboard.server.problems import not_found
from leaderboard.server.routes.common import (
    PROBLEMS,
    Body,
    Id,
    Player,
    RequestName,
    TheBoard,
    caller_of,
)
from leaderboard.server.sessions import view_episodes, view_sessions
from leaderboard.server.store.tables import ID_PATTERN

LONGEST_ACTION = 100_000

router = APIRouter(prefix="/v1", tags=["held-out track"], responses=PROBLEMS)

MOST_SETTINGS_CHARS = 16_000


def _without_seal(name: str) -> str:
    if seal := find_seal(name):
        raise ValueError(f"the name says {seal}; how far to trust an agent is found, not said")
    return name


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+:/()-]{0,79}$"), AfterValidator(_without_seal)]
"""As in submissions: no script, no formula, no letter that looks like another, no word of trust."""


def _whole(text: str) -> str:
    """Refuse half a surrogate pair: no answer and no page could hold it."""
    text.encode()
    return text


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    try:
        text = _whole(json.dumps(settings, allow_nan=False, ensure_ascii=False))
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if len(text) > MOST_SETTINGS_CHARS:
        raise ValueError(f"{len(text)} characters as JSON; expected at most {MOST_SETTINGS_CHARS}")
    return settings


class AgentCard(Body):
    """What the team says of its agent; nothing is derived from it."""

    name: Name = Field(description="Name on the board.")
    spec: Annotated[str, Field(max_length=200), AfterValidator(_whole)] | None = Field(
        default=None, description="As given to `agentsafe score`."
    )
    settings: Annotated[dict[str, JsonValue], AfterValidator(_plain)] = Field(
        default_factory=dict, description="What the agent says of itself, for a reader who repeats the run."
    )


class NewSession(Body):
    """A wish for a session."""

    request: RequestName
    agent: AgentCard


class SessionView(BaseModel):
    """A session, as its team sees it."""

    id: str
    season: str
    season_state: str = Field(description="open, closing or closed")
    agent: dict[str, Any]
    created_at: datetime
    episodes: dict[str, int] = Field(description="Number of episodes in each state.")
    complete: bool = Field(description="Every episode came to an end.")
    scorecard: dict[str, Any] | None = Field(description="Null until the season has closed.")


class NewEpisode(Body):
    """A wish for the next episode."""

    request: RequestName


class TakenStep(BaseModel):
    """A step of a running episode."""

    action: str
    result: str


class StepInfo(BaseModel):
    """As in ``info`` of the environments; ``tools`` stand once, in the episode."""

    step: int
    invalid_action: bool
    asked_operator: bool


class EpisodeView(BaseModel):
    """An episode, as its agent has seen it."""

    id: str
    environment: str
    state: str = Field(description="running, submitted, truncated or unplayed")
    instruction: str | None = Field(description="The task in words; null once the episode is over.")
    tools: list[dict[str, Any]] | None = Field(description="Schemas in OpenAI's function form; null once it is over.")
    steps: list[TakenStep]
    info: StepInfo


class EpisodeLine(BaseModel):
    """An episode in a list."""

    id: str
    environment: str
    state: str
    steps: int


class NewStep(Body):
    """An action."""

    number: int = Field(ge=0, lt=10_000, description="Of the step, from 0.")
    action: str = Field(max_length=LONGEST_ACTION, description="One tool call as JSON text; any text is accepted.")


class StepView(BaseModel):
    """What came of an action. There is no reward: whether the task was done is told when the season is over."""

    number: int
    result: str
    terminated: bool
    truncated: bool
    info: StepInfo


@router.post("/sessions", status_code=201)
async def open_session(body: NewSession, caller: Player, board: TheBoard) -> SessionView:
    """Open a session: one agent plays the suite of the open season. Sent again, it finds the same session."""
    session_id = await board.play.create_session(caller, body.request, body.agent.model_dump())
    return (await board.reading(lambda each: view_sessions(each, caller.team_id, session_id)))[0]  # type: ignore[return-value]


@router.get("/sessions")
async def list_sessions(caller: Player, board: TheBoard) -> list[SessionView]:
    """The team's sessions, newest first."""
    return await board.reading(lambda each: view_sessions(each, caller.team_id))  # type: ignore[return-value]


@router.get("/sessions/{session_id}")
async def show_session(session_id: Id, caller: Player, board: TheBoard) -> SessionView:
    """One session."""
    return (await board.reading(lambda each: view_sessions(each, caller.team_id, session_id)))[0]  # type: ignore[return-value]


@router.get("/sessions/{session_id}/episodes")
async def list_episodes(session_id: Id, caller: Player, board: TheBoard) -> list[EpisodeLine]:
    """Episodes of a session that were begun."""
    return await board.reading(lambda each: view_episodes(each, caller.team_id, session_id))  # type: ignore[return-value]


@router.post("/sessions/{session_id}/episodes", status_code=201, response_model=EpisodeView)
async def begin_episode(session_id: Id, body: NewEpisode, caller: Player, board: TheBoard) -> Response:
    """Begin the next episode, in an order drawn by lot. Sent again, it finds the same episode."""
    # A response as it is: checking the schemas of a dozen tools again would take longer than to make the task.
    return JSONResponse(await board.play.claim(caller, session_id, body.request), status_code=201)


@router.get("/episodes/{episode_id}")
async def show_episode(episode_id: Id, caller: Player, board: TheBoard) -> EpisodeView:
    """An episode with all that its agent has seen, to go on from after a break."""
    return await board.play.view(caller, episode_id)  # type: ignore[return-value]


@router.post(
    "/episodes/{episode_id}/step",
    response_model=StepView,
    openapi_extra={
        "parameters": [
            {"name": "episode_id", "in": "path", "required": True, "schema": {"type": "string", "pattern": ID_PATTERN}}
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": NewStep.model_json_schema()}}},
        "security": [{"HTTPBearer": []}],
    },
)
async def take_step(request: Request) -> Response:
    """Take a step. It is on disk before it is answered; sent again, it is answered again and not taken again."""
    # Nothing is declared here: resolving what is declared would take longer than the step.
    caller = caller_of(request, "play")
    episode_id: str = request.path_params["episode_id"]
    if not re.fullmatch(ID_PATTERN, episode_id):
        raise not_found("episode")
    try:
        body = NewStep.model_validate_json(await request.body())
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error
    board: Board = request.app.state.board
    return JSONResponse(await board.play.step(caller, episode_id, body.number, body.action))
