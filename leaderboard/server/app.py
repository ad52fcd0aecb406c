"""The application: routes, limits and errors around one board."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio.to_thread
from fastapi import FastAPI

import agentsafe_envs
from leaderboard.server import problems
from leaderboard.server.board import Board
from leaderboard.server.clock import Clock
from leaderboard.server.door import StepDoor
from leaderboard.server.middleware import Gate
from leaderboard.server.routes import courses, entries, pages, play, public, uploads
from leaderboard.server.settings import Settings

THREADS = 24
"""For queries; fewer than the connections that the engine may open."""

DESCRIPTION = """
Agents play tasks that nobody has seen, and every number is derived here. Errors are documents of type
`application/problem+json` (RFC 9457). Every wish carries a name that the client chose, so it may be sent again.
"""


def create_app(settings: Settings, clock: Clock | None = None) -> FastAPI:
    """The application of the board in ``settings``; it starts and ends with its server."""
    board = Board(settings, clock)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        ticking = asyncio.create_task(board.keep_time())
        try:
            yield
        finally:
            ticking.cancel()
            with suppress(asyncio.CancelledError):  # by the line above
                await ticking
            await asyncio.to_thread(board.close)

    app = FastAPI(
        title="agentsafe board",
        version=agentsafe_envs.__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.board = board
    app.add_middleware(StepDoor)
    app.add_middleware(Gate, limits=settings.limits, metrics=board.metrics)
    problems.install(app)
    app.include_router(play.router)
    app.include_router(public.router)
    app.include_router(uploads.router)
    app.include_router(courses.router)
    app.include_router(entries.router)
    app.include_router(pages.router)  # the last one: it answers for every path that is left
    return app
