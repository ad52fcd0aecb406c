"""Errors as RFC 9457 says: ``application/problem+json`` with type, title, status and detail."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

MEDIA_TYPE = "application/problem+json"

log = logging.getLogger("leaderboard.server")


class ProblemError(Exception):
    """What is wrong with a request, and what to do about it.

    Args:
        status: HTTP status.
        kind: Short name, the end of the problem's ``type``.
        detail: What was wrong, what was expected, how to mend it.
        headers: Further headers of the response.
        extra: Further members of the document, for programs.
    """

    def __init__(
        self, status: int, kind: str, detail: str, *, headers: dict[str, str] | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra

    def response(self) -> Response:
        """As it is sent."""
        return JSONResponse(
            {
                "type": f"urn:agentsafe:problem:{self.kind}",
                "title": self.kind.replace("-", " "),
                "status": self.status,
                "detail": self.detail,
                **self.extra,
            },
            status_code=self.status,
            media_type=MEDIA_TYPE,
            headers=self.headers,
        )


class ProblemDocument(BaseModel):
    """An error, as RFC 9457 describes it."""

    type: str = Field(description="Names the kind of problem.")
    title: str
    status: int
    detail: str = Field(description="What was wrong, what was expected, how to mend it.")


def not_found(what: str) -> ProblemError:
    """There is no such thing, or it is not the caller's: the two look the same."""
    return ProblemError(404, "not-found", f"there is no such {what}, or this token may not see it")


def later(status: int, kind: str, detail: str, seconds: int) -> ProblemError:
    """The request is right and comes at a wrong moment."""
    return ProblemError(status, kind, detail, headers={"Retry-After": str(seconds)})


def install(app: FastAPI) -> None:
    """Let ``app`` answer every error as a problem."""

    async def answer(request: Request, error: Exception) -> Response:
        return problem_of(error, request.scope["path"]).response()

    for kind in (ProblemError, RequestValidationError, HTTPException, SQLAlchemyError, OSError, Exception):
        app.add_exception_handler(kind, answer)


def problem_of(error: Exception, place: str) -> ProblemError:
    """What a client is told of ``error``, and what only the log is.

    Args:
        error: Whatever a request raised.
        place: Path of the request, for the log.
    """
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, RequestValidationError):
        # What was sent is not repeated: it may hold a secret.
        wrong = [{"at": list(map(str, each["loc"])), "problem": each["msg"]} for each in error.errors()]
        return ProblemError(422, "invalid-request", "the request does not fit its schema; see /docs", wrong=wrong)
    if isinstance(error, HTTPException):
        kinds = {404: "not-found", 405: "method-not-allowed", 400: "bad-request"}
        headers = dict(error.headers or {})
        return ProblemError(
            error.status_code, kinds.get(error.status_code, "http-error"), str(error.detail), headers=headers
        )
    if isinstance(error, SQLAlchemyError):
        # Of the cause only the type: a driver's text may hold values of a row.
        cause = type(error.orig).__name__ if isinstance(error, DBAPIError) else type(error).__name__
        log.error("the database refused %s: %s", place, cause)
        return storage_problem()
    if isinstance(error, OSError):
        log.error("the system refused %s: %s", place, error.strerror)
        return storage_problem()
    return ProblemError(500, "defect", "a defect of the server; it is in its log")


def storage_problem() -> ProblemError:
    """Nothing can be stored at present, so nothing was acknowledged."""
    return later(503, "storage", "nothing can be stored at present and nothing was; send the same again later", 5)
