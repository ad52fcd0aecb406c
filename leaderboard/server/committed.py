"""The submissions of this checkout, put into the queue of an empty board: no number of theirs is believed either."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

from sqlalchemy import insert, select, update

from agentsafe_envs.submissions.folders import find_submissions
from leaderboard.server.board import Board
from leaderboard.server.shown import COMMITTED, COMMITTED_TEAM_ID
from leaderboard.server.store.tables import QUEUED, Team, Upload
from leaderboard.server.uploads import create_upload, file_sha256, upload_path, write_part


def enqueue_committed(board: Board, folder: Path = COMMITTED) -> int:
    """Queue those submissions of ``folder`` that the board has not seen.

    Returns:
        How many were queued.
    """
    if not folder.is_dir():
        return 0
    queued = 0
    for place in find_submissions(folder):
        if not place.is_dir():
            continue
        data = _archive(place)
        with board.engine.begin() as connection:
            team_id = COMMITTED_TEAM_ID
            if connection.execute(select(Team.id).where(Team.id == team_id)).first() is None:
                connection.execute(insert(Team).values(id=team_id, name=team_id, created_at=board.clock.now()))
            path = board.settings.folder / "incoming.tar.gz"
            write_part(path, 0, data)
            sha256 = file_sha256(path)
            seen = select(Upload.id).where(Upload.team_id == team_id, Upload.sha256 == sha256)
            if connection.execute(seen).first():
                path.unlink()
                continue
            limits = board.settings.limits.model_copy(update={"team_upload_bytes": 2**40})
            upload_id = create_upload(
                connection, team_id, sha256, "tar.gz", len(data), sha256, board.settings.folder, board.clock, limits
            )
            target = upload_path(board.settings.folder, upload_id, "tar.gz")
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
            connection.execute(
                update(Upload)
                .where(Upload.id == upload_id)
                .values(state=QUEUED, received_bytes=len(data), progress="waiting for a worker")
            )
            queued += 1
    return queued


def _archive(place: Path) -> bytes:
    """A folder as an archive that is the same bytes every time."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for path in sorted(place.iterdir()):
            info = tarfile.TarInfo(path.name)
            info.size = path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(info, file)
    return gzip.compress(plain.getvalue(), mtime=0)
