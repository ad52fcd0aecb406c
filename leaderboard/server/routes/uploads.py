"""Uploads of submissions: announced, sent in parts, verified by a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from leaderboard.server.board import Board
from leaderboard.server.problems import ProblemError, later
from leaderboard.server.routes.common import PROBLEMS, Body, Id, RequestName, TheBoard, Uploader
from leaderboard.server.store.tables import RECEIVING, REFUSED, VERIFIED
from leaderboard.server.uploads import (
    count_part,
    create_upload,
    find_upload,
    upload_path,
    view_uploads,
    write_part,
)

LOOK_S = 0.5
"""Between two looks at how far an upload is."""

QUIET_LOOKS = 30
"""Looks without news, after which a comment keeps the connection alive."""

router = APIRouter(
    prefix="/v1/uploads",
    tags=["uploads"],
    responses=PROBLEMS | {507: PROBLEMS[503] | {"description": "The board's disk is full."}},
)


class NewUpload(Body):
    """What is going to be sent."""

    request: RequestName
    kind: Literal["zip", "tar", "tar.gz", "tar.zst"] = Field(description="Of the archive.")
    size_bytes: int = Field(ge=1, lt=2**40)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of all its bytes.")


class UploadView(BaseModel):
    """An upload, as its team sees it."""

    id: str
    size_bytes: int
    sha256: str
    received_bytes: int = Field(description="How many are on disk; the next part begins there.")
    state: str = Field(description="receiving, queued, verifying, verified or refused")
    progress: str = Field(description="In words.")
    report: dict[str, Any] | None = Field(description="What `agentsafe verify --json` says of it.")
    created_at: datetime
    finished_at: datetime | None


@router.post("", status_code=201)
async def announce_upload(body: NewUpload, caller: Uploader, board: TheBoard) -> UploadView:
    """Announce an upload. Sent again, it finds the same one."""
    limits = board.settings.limits
    if body.size_bytes > limits.upload_bytes:
        raise ProblemError(413, "too-large", f"{body.size_bytes} bytes; expected at most {limits.upload_bytes}")

    def create(connection: Any) -> Any:
        upload_id = create_upload(
            connection,
            caller.team_id,
            body.request,
            body.kind,
            body.size_bytes,
            body.sha256,
            board.settings.folder,
            board.clock,
            limits,
        )
        return view_uploads(connection, caller.team_id, upload_id)[0]

    return await board.writing(create)


@router.get("")
async def list_uploads(caller: Uploader, board: TheBoard) -> list[UploadView]:
    """The team's uploads, newest first."""
    return await board.reading(lambda each: view_uploads(each, caller.team_id))  # type: ignore[return-value]


@router.get("/{upload_id}")
async def show_upload(upload_id: Id, caller: Uploader, board: TheBoard) -> UploadView:
    """One upload."""
    return await _view(board, caller.team_id, upload_id)


@router.patch("/{upload_id}")
async def send_part(
    upload_id: Id,
    request: Request,
    caller: Uploader,
    board: TheBoard,
    upload_offset: Annotated[int, Header(ge=0, lt=2**40, description="Bytes that are there already.")],
) -> UploadView:
    """Send the next part, as the plain body. It is on disk before it is answered.

    After a break, `received_bytes` says where to go on.
    """
    part = await request.body()
    row = await board.reading(lambda each: find_upload(each, upload_id, caller.team_id))
    async with board.upload_locks.hold(upload_id):
        row = await board.reading(lambda each: find_upload(each, upload_id, caller.team_id))
        if row.state != RECEIVING:
            raise ProblemError(409, "upload-over", f"every byte is there; the upload is {row.state}")
        if upload_offset != row.received_bytes:
            detail = f"the part begins at {upload_offset}, and {row.received_bytes} bytes are there; go on from there"
            raise ProblemError(409, "wrong-offset", detail, expected=row.received_bytes)
        if not 0 < len(part) <= row.size_bytes - upload_offset:
            left = row.size_bytes - upload_offset
            raise ProblemError(422, "wrong-size", f"the part has {len(part)} bytes; expected 1 to {left}")
        path = upload_path(board.settings.folder, upload_id, row.kind)
        await run_sync(write_part, path, upload_offset, part)
        await board.writing(lambda each: count_part(each, row, len(part), path, board.clock))
    return await _view(board, caller.team_id, upload_id)


@router.get("/{upload_id}/events", response_class=StreamingResponse)
async def upload_events(upload_id: Id, caller: Uploader, board: TheBoard) -> StreamingResponse:
    """Progress as server-sent events, each with the upload as JSON; the stream ends when the upload has."""
    await _view(board, caller.team_id, upload_id)
    if board.streams >= board.settings.limits.event_streams:
        raise later(503, "too-many-streams", "too many streams of events are open; ask for the upload instead", 10)
    return StreamingResponse(_events(board, caller.team_id, upload_id), media_type="text/event-stream")


async def _events(board: Board, team_id: str, upload_id: str) -> AsyncIterator[str]:
    board.streams += 1
    try:
        told, quiet = "", 0
        while True:
            upload = UploadView.model_validate(await _view(board, team_id, upload_id))
            data = upload.model_dump_json()
            if data != told:
                yield f"event: upload\ndata: {data}\n\n"
                told, quiet = data, 0
            elif (quiet := quiet + 1) % QUIET_LOOKS == 0:
                yield ": nothing new\n\n"
            if upload.state in (VERIFIED, REFUSED):
                return
            await asyncio.sleep(LOOK_S)
    finally:
        board.streams -= 1


async def _view(board: Board, team_id: str, upload_id: str) -> Any:
    return (await board.reading(lambda each: view_uploads(each, team_id, upload_id)))[0]
