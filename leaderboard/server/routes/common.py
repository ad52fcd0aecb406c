"""Types and checks that every route shares."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field

from leaderboard.server.auth import Caller, Scope, require
from leaderboard.server.board import Board
from leaderboard.server.problems import ProblemDocument
from leaderboard.server.store.tables import ID_PATTERN

bearer = HTTPBearer(auto_error=False, description="A token of the board, from its maintainer.")

Id = Annotated[str, Path(pattern=ID_PATTERN, description="Opaque identifier.")]

RequestName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-]{8,64}$",
        description="Chosen by the client, new for each wish and the same when the wish is sent again.",
    ),
]

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemDocument, "description": words}
    for status, words in {
        400: "The request cannot be read.",
        401: "No valid token.",
        403: "The token is not for this, or a quota is used up.",
        404: "There is no such thing, or it is not the caller's.",
        408: "The body came too slowly.",
        409: "The request does not fit what there is.",
        410: "The episode is void by a fault of the server.",
        413: "The body is too large.",
        422: "The request does not fit its schema.",
        429: "Too many requests or episodes; see Retry-After.",
        503: "Not possible at present; see Retry-After.",
    }.items()
}
"""Documents of errors, for the OpenAPI page."""


class Body(BaseModel):
    """A request's body: unknown fields are refused, and nothing is guessed."""

    model_config = ConfigDict(extra="forbid", strict=True)


async def board_of(request: Request) -> Board:
    """The board that this process serves."""
    return request.app.state.board


TheBoard = Annotated[Board, Depends(board_of)]


def caller_of(request: Request, scope: Scope | None = None) -> Caller:
    """Who sent a request, with a token for ``scope``.

    Raises:
        ProblemError: No valid token, too many requests, or a token for something else.
    """
    address = request.client.host if request.client else "unknown"
    board: Board = request.app.state.board
    caller = board.gatekeeper.caller(request.headers.get("authorization"), address)
    if scope is not None:
        require(caller, scope)
    return caller


class Called:
    """Dependency: :func:`caller_of`."""

    def __init__(self, scope: Scope | None = None) -> None:
        self._scope: Scope | None = scope

    async def __call__(
        self, request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]
    ) -> Caller:
        """The caller."""
        return caller_of(request, self._scope)


AnyCaller = Annotated[Caller, Depends(Called())]
Player = Annotated[Caller, Depends(Called("play"))]
Uploader = Annotated[Caller, Depends(Called("upload"))]
Teacher = Annotated[Caller, Depends(Called("teach"))]
