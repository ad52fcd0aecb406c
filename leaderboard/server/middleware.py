"""What stands before every endpoint: limits on bodies, security headers, counts for Prometheus.

Plain ASGI: a step passes here, and Starlette's class for middleware would cost more than the step does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leaderboard.server.metrics import Metrics
from leaderboard.server.problems import ProblemError
from leaderboard.server.settings import Limits

CONTENT_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

SECURITY_HEADERS = [
    (name.encode(), value.encode())
    for name, value in {
        "content-security-policy": CONTENT_POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "x-frame-options": "DENY",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=()",
        "strict-transport-security": "max-age=31536000",
        "cache-control": "no-store",
    }.items()
]
"""Of every answer that has none of its own; no answer is the same for long, so none is kept."""

UPLOADS_PREFIX = "/v1/uploads/"


class Gate:
    """Every request passes it."""

    def __init__(self, app: ASGIApp, limits: Limits, metrics: Metrics) -> None:
        self._app = app
        self._limits = limits
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request within the limits."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = list(message.get("headers", ()))
                named = {name for name, _ in own}
                message["headers"] = own + [header for header in SECURITY_HEADERS if header[0] not in named]
            await send(message)

        try:
            await self._limited(scope, receive, counted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.request(scope["method"], route, status, time.perf_counter() - began)

    async def _limited(self, scope: Scope, receive: Receive, send: Send) -> None:
        chunk = scope["method"] == "PATCH" and scope["path"].startswith(UPLOADS_PREFIX)
        most = self._limits.chunk_bytes if chunk else self._limits.body_bytes
        refused = ProblemError(413, "too-large", f"the body is too large; expected at most {most} bytes")
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not declared.isdigit() or int(declared) > most:
            await refused.response()(scope, receive, send)
            return
        try:
            await self._app(scope, _bounded(receive, most, self._limits.body_s, refused), send)
        except ProblemError as problem:  # one of the body's, raised where the body was read
            await problem.response()(scope, receive, send)


def _bounded(receive: Receive, most: int, seconds: float, refused: ProblemError) -> Callable[[], Awaitable[Message]]:
    """``receive`` that gives up on a body that is too long or too slow."""
    deadline: float | None = None
    taken = 0
    complete = False

    async def bounded() -> Message:
        nonlocal deadline, taken, complete
        if complete:
            return await receive()  # now it waits for the client to leave, which may take long
        loop = asyncio.get_running_loop()
        deadline = deadline or loop.time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise ProblemError(
                408, "too-slow", f"the body did not arrive within {seconds:g} s; send it again"
            ) from None
        taken += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if taken > most:
            raise refused
        return message

    return bounded
