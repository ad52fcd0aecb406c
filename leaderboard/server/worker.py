"""Verifies uploads: takes one from the queue, has a confined process verify it, and stores what was found.

A worker may be killed at any moment: its claim runs out and another one takes the upload. Two workers never both
store a result, since storing asks for the claim.
"""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from leaderboard.server.auth import new_id
from leaderboard.server.boardtime import stored_board_s
from leaderboard.server.clock import Clock
from leaderboard.server.confined import ConfinedError, confined
from leaderboard.server.publishing import Publisher
from leaderboard.server.settings import Settings
from leaderboard.server.shown import COMMITTED, COMMITTED_TEAM_ID, keep_result
from leaderboard.server.store.engine import connect, migrate
from leaderboard.server.uploads import claim_upload, finish_upload, keep_claim, upload_path, verified_path

POLL_S = 1.0


class Verified(NamedTuple):
    """What verifying an upload came to.

    Attributes:
        report: What ``agentsafe verify --json`` says; None where it came to no end.
        result: What the board shows; None where it was refused.
        words: A sentence for the team.
    """

    report: dict[str, Any] | None
    result: dict[str, Any] | None
    words: str


def run_worker(settings: Settings, *, until_stdin_ends: bool = False) -> None:
    """Verify uploads until stopped.

    Args:
        settings: Of the board.
        until_stdin_ends: Stop then too; so a server takes its workers with it, however it ends.
    """
    engine = connect(settings.database)
    migrate(engine)
    ended = threading.Event()
    if until_stdin_ends:
        threading.Thread(target=_wait_for_end, args=(ended,), daemon=True).start()
    worker = Worker(engine, settings, Clock(), ended)
    publisher = Publisher(engine, settings, ended)
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    while not ended.is_set():
        try:
            worked = worker.work_once()
            worked = publisher.publish(hurry=not worked) or worked
        except SQLAlchemyError as error:
            print(f"the database refused: {type(error).__name__}", file=sys.stderr)
            worked = False
        if not worked:
            ended.wait(POLL_S)
    engine.dispose()


class Worker:
    """One worker.

    Args:
        engine: Of the board.
        settings: Of the board.
        clock: Of the board.
        ended: Set when it is to stop; what it has in hand is given up then.
    """

    def __init__(self, engine: Engine, settings: Settings, clock: Clock, ended: threading.Event) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._ended = ended
        self.name = new_id()

    def work_once(self) -> bool:
        """Verify one upload; False where none waits."""
        with self._engine.begin() as connection:
            row = claim_upload(connection, self.name, stored_board_s(connection), self._clock)
        if row is None:
            return False
        path = upload_path(self._settings.folder, row.id, row.kind)
        verified = self._settings.folder / "verified"
        # A committed submission is not a copy of itself.
        among = [verified] if row.team_id == COMMITTED_TEAM_ID else [COMMITTED, verified]
        found = self._verify(row, path, among)
        if found is None:
            return True  # given up, or taken by another one
        if found.result is not None:  # before it counts as verified: whatever is verified has a result
            keep_result(self._settings.folder, row.id, found.result)
        if found.report is not None and found.report["exit_status"] != 1:
            # Before it counts too: after a kill in between, copies of it would pass.
            verified.mkdir(exist_ok=True)
            shutil.copyfile(path, verified_path(self._settings.folder, row.id, row.kind))
        with self._engine.begin() as connection:
            finish_upload(connection, row.id, self.name, found.report, found.words, self._clock)
        return True

    def _verify(self, row: Any, path: Path, among: list[Path]) -> Verified | None:
        """What was found; None where the upload is not ours any more."""
        limits = self._settings.limits
        name = "" if row.team_id == COMMITTED_TEAM_ID else row.id
        arguments = [str(path), name, *map(str, among)]
        progress, found = "a worker has it", {}
        try:
            with closing(
                confined("leaderboard.server.verifying", arguments, limits.verify_memory_bytes, limits.verify_s)
            ) as said:
                for told in said:
                    progress, found = told.get("progress", progress), told if "report" in told else found
                    if self._ended.is_set() or not self._keep(row.id, progress):
                        return None
        except ConfinedError as error:
            return Verified(None, None, f"refused: verifying it: {error}")
        report = found["report"]
        refused = [f"{each['name']}: {each['detail']}" for each in report["checks"] if each["status"] == "refused"]
        words = f"refused: {'; '.join(refused)}" if refused else f"level: {report['level']}"
        return Verified(report, found["result"], words)

    def _keep(self, upload_id: str, progress: str) -> bool:
        with self._engine.begin() as connection:
            return keep_claim(connection, upload_id, self.name, stored_board_s(connection), progress)


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()
