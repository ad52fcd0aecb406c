"""The pages that a worker wrote, as files that are only read; and those on uploads and on seasons."""

from __future__ import annotations

import re
from functools import cache
from html import unescape
from pathlib import Path

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from leaderboard.server.problems import not_found
from leaderboard.server.publishing import LINKS, site_folder
from leaderboard.server.routes.common import TheBoard
from leaderboard.server.routes.public import view_seasons
from leaderboard.site.build import page

router = APIRouter(include_in_schema=False)

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".yaml": "application/yaml",
    ".gz": "application/gzip",
    ".zst": "application/zstd",
    ".zip": "application/zip",
    ".tar": "application/x-tar",
}
"""Only files with these endings are served."""

SOON = "The board is being written. This page shows it in a moment."

_POLICY = re.compile(rb'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')


@router.api_route("/", methods=["GET", "HEAD"])
async def front(board: TheBoard) -> Response:
    """The front of the board."""
    found = await run_sync(_read, site_folder(board.settings.folder), "index.html")
    if found is None:
        return HTMLResponse(f"<!doctype html><title>agentsafe board</title><p>{SOON}</p>", headers={"refresh": "5"})
    return _answer("index.html", found)


@router.api_route("/upload", methods=["GET", "HEAD"])
async def upload() -> Response:
    """The page that takes uploads."""
    return _answer("upload.html", _upload_page())


@router.api_route("/seasons", methods=["GET", "HEAD"])
async def seasons(request: Request, board: TheBoard) -> Response:
    """The seasons of the held-out track, and how to play and check them."""
    found, url = await board.reading(view_seasons), str(request.base_url).rstrip("/")
    return _answer("seasons.html", page("seasons.html", "seasons", links=LINKS, seasons=found, url=url))


@router.api_route("/{path:path}", methods=["GET", "HEAD"])
async def file(path: str, board: TheBoard) -> Response:
    """A page or download of the board; anything else is not there."""
    found = await run_sync(_read, site_folder(board.settings.folder), path)
    if found is None:
        raise not_found("page")
    return _answer(path, found)


@cache
def _upload_page() -> bytes:
    return page("upload.html", "upload", script="upload.js", links=LINKS, connect=True)


def _read(site: Path, name: str) -> bytes | None:
    """A file of the board; None for what is none, or leads out of it."""
    if Path(name).suffix not in TYPES or any(part.startswith(".") for part in name.split("/")):
        return None
    try:
        path = (site / name).resolve()
        return path.read_bytes() if path.is_relative_to(site.resolve()) and path.is_file() else None
    except (OSError, ValueError):
        return None  # written anew at this moment, or a name that no file can have


def _answer(name: str, content: bytes) -> Response:
    """With the page's own policy, which names its style and script; no frame may hold it."""
    policy = _POLICY.search(content) if name.endswith(".html") else None
    own = {"content-security-policy": f"{unescape(policy[1].decode())}; frame-ancestors 'none'"} if policy else {}
    return Response(content, media_type=TYPES[Path(name).suffix], headers=own)
