"""Submissions on their way in: bytes in a file, in parts, and the queue of those that are to be verified.

A part is on disk before it counts. What a kill left behind the counted bytes is cut off by the next part.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update

from leaderboard.server.auth import new_id
from leaderboard.server.clock import Clock
from leaderboard.server.problems import ProblemError, not_found
from leaderboard.server.settings import Limits
from leaderboard.server.store.tables import QUEUED, RECEIVING, REFUSED, VERIFIED, VERIFYING, Upload

LEASE_S = 60.0
"""On the board's clock, after which another worker may take an upload that one has not finished."""

MOST_TRIES = 3
"""Of verifying an upload; one that ends its worker every time is refused."""

KINDS = ("zip", "tar", "tar.gz", "tar.zst")

_SHOWN = (
    Upload.id,
    Upload.size_bytes,
    Upload.sha256,
    Upload.received_bytes,
    Upload.state,
    Upload.progress,
    Upload.report,
    Upload.created_at,
    Upload.finished_at,
)


def upload_path(folder: Path, upload_id: str, kind: str) -> Path:
    """Where the bytes of an upload lie."""
    return folder / "uploads" / f"{upload_id}.{kind}"


def verified_path(folder: Path, upload_id: str, kind: str) -> Path:
    """Where a verified upload lies once more, for those that come later to be held against it."""
    return folder / "verified" / f"{upload_id}.{kind}"


def create_upload(
    connection: Connection,
    team_id: str,
    request: str,
    kind: str,
    size_bytes: int,
    sha256: str,
    folder: Path,
    clock: Clock,
    limits: Limits,
) -> str:
    """Announce an upload, or find the one that the same request announced.

    Returns:
        Its id.

    Raises:
        ProblemError: The quota or the disk is full, or the request announced another upload.
    """
    before = connection.execute(select(Upload).where(Upload.team_id == team_id, Upload.request == request)).first()
    if before is not None:
        if (before.kind, before.size_bytes, before.sha256) != (kind, size_bytes, sha256):
            raise ProblemError(409, "request-reused", "this request announced another upload; send a new one")
        return before.id
    taken = connection.execute(
        select(func.coalesce(func.sum(Upload.size_bytes), 0)).where(Upload.team_id == team_id)
    ).scalar_one()
    if taken + size_bytes > limits.team_upload_bytes:
        detail = f"the team's uploads would take more than {limits.team_upload_bytes} bytes"
        raise ProblemError(403, "quota", detail)
    if shutil.disk_usage(folder).free - size_bytes < limits.free_disk_bytes:
        raise ProblemError(507, "disk", "the board has no space for this upload; its maintainer has to make some")
    upload_id = new_id()
    connection.execute(
        insert(Upload).values(
            id=upload_id,
            team_id=team_id,
            request=request,
            kind=kind,
            size_bytes=size_bytes,
            sha256=sha256,
            received_bytes=0,
            state=RECEIVING,
            progress="waiting for its bytes",
            created_at=clock.now(),
            tries=0,
        )
    )
    return upload_id


def find_upload(connection: Connection, upload_id: str, team_id: str) -> Any:
    """An upload of a team.

    Raises:
        ProblemError: There is none.
    """
    row = connection.execute(select(Upload).where(Upload.id == upload_id, Upload.team_id == team_id)).first()
    if row is None:
        raise not_found("upload")
    return row


def view_uploads(connection: Connection, team_id: str, upload_id: str | None = None) -> list[dict[str, Any]]:
    """Uploads of a team as they are shown, newest first.

    Raises:
        ProblemError: ``upload_id`` is none of the team's.
    """
    query = select(*_SHOWN).where(Upload.team_id == team_id).order_by(Upload.created_at.desc(), Upload.id)
    if upload_id is not None:
        query = query.where(Upload.id == upload_id)
    rows = [dict(row._mapping) for row in connection.execute(query)]
    if upload_id is not None and not rows:
        raise not_found("upload")
    return rows


def write_part(path: Path, offset: int, part: bytes) -> None:
    """Put ``part`` at ``offset``, on disk when this returns; whatever stood behind it is cut off."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(descriptor, offset)
        os.lseek(descriptor, offset, os.SEEK_SET)
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def count_part(connection: Connection, row: Any, part_bytes: int, path: Path, clock: Clock) -> None:
    """Count a part that is on disk; the last one puts the upload into the queue, or refuses it.

    Raises:
        ProblemError: Another part was counted in the meantime.
    """
    received = row.received_bytes + part_bytes
    values: dict[str, Any] = {"received_bytes": received}
    if received == row.size_bytes:
        right = file_sha256(path) == row.sha256
        values |= (
            {"state": QUEUED, "progress": "waiting for a worker"}
            if right
            else _refused("its SHA-256 is another than was announced", clock)
        )
    query = update(Upload).where(
        Upload.id == row.id, Upload.state == RECEIVING, Upload.received_bytes == row.received_bytes
    )
    if connection.execute(query.values(**values)).rowcount != 1:
        raise ProblemError(409, "wrong-offset", "another part came in the meantime; ask how many bytes are there")


def claim_upload(connection: Connection, worker: str, board_s: float, clock: Clock) -> Any | None:
    """Take the oldest upload that waits, or whose worker is gone; None if there is none."""
    query = (
        select(Upload)
        .where(or_(Upload.state == QUEUED, (Upload.state == VERIFYING) & (Upload.lease_board_s < board_s)))
        .order_by(Upload.created_at, Upload.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    if row.tries >= MOST_TRIES:
        words = f"verifying it ended the worker {MOST_TRIES} times"
        connection.execute(update(Upload).where(Upload.id == row.id).values(**_refused(words, clock)))
        return None
    values = {"state": VERIFYING, "claim": worker, "lease_board_s": board_s + LEASE_S, "tries": row.tries + 1}
    connection.execute(update(Upload).where(Upload.id == row.id).values(**values, progress="a worker has it"))
    return row


def keep_claim(connection: Connection, upload_id: str, worker: str, board_s: float, progress: str) -> bool:
    """Renew a claim and tell how far it is; False where another worker has taken it."""
    query = update(Upload).where(Upload.id == upload_id, Upload.claim == worker, Upload.state == VERIFYING)
    return connection.execute(query.values(lease_board_s=board_s + LEASE_S, progress=progress)).rowcount == 1


def finish_upload(
    connection: Connection, upload_id: str, worker: str, report: dict[str, Any] | None, words: str, clock: Clock
) -> bool:
    """Store what verifying came to; False where another worker has taken the upload, and nothing is stored."""
    accepted = report is not None and report["exit_status"] != 1
    values = {"report": report, "finished_at": clock.now(), "state": VERIFIED if accepted else REFUSED}
    query = update(Upload).where(Upload.id == upload_id, Upload.claim == worker, Upload.state == VERIFYING)
    return connection.execute(query.values(**values, progress=words)).rowcount == 1


def verify_again(connection: Connection, upload_id: str) -> None:
    """Put a verified upload back into the queue."""
    query = update(Upload).where(Upload.id == upload_id, Upload.state == VERIFIED)
    connection.execute(query.values(state=QUEUED, tries=0, progress="a new release of the board verifies it again"))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refused(words: str, clock: Clock) -> dict[str, Any]:
    return {"state": REFUSED, "progress": words, "finished_at": clock.now()}
