"""A short way for steps: past routing and middleware, whose time is more than that of a step.

The endpoint is the same function that the router calls for this path.
"""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from leaderboard.server.problems import log, problem_of
from leaderboard.server.routes.play import take_step

_STEP = re.compile(r"/v1/episodes/([^/]+)/step")


class StepDoor:
    """Takes steps, and hands on everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = _STEP.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        scope["path_params"] = {"episode_id": found[1]}
        scope["route"] = STEP_ROUTE
        try:
            response = await take_step(Request(scope, receive))
        except Exception as error:  # noqa: BLE001  told to the client, and by problem_of to the log
            problem = problem_of(error, scope["path"])
            if problem.status == 500:
                log.exception("a defect at %s", scope["path"])
            response = problem.response()
        await response(scope, receive, send)


class _Route:
    path = "/v1/episodes/{episode_id}/step"


STEP_ROUTE = _Route()
"""What counts of the route for metrics."""
