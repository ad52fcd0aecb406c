"""Verifies uploads: takes one from the queue, has a limited process verify it, and stores what was found.

A worker may be killed at any moment: its claim runs out and another one takes the upload. Two workers never both
store a result, since storing asks for the claim.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from leaderboard.server.auth import new_id
from leaderboard.server.boardtime import stored_board_s
from leaderboard.server.clock import Clock
from leaderboard.server.settings import Settings
from leaderboard.server.store.engine import connect, migrate
from leaderboard.server.uploads import claim_upload, finish_upload, keep_claim, upload_path

POLL_S = 1.0
RENEW_S = 5.0
ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "leaderboard" / "submissions"
COMMITTED_TEAM_ID = "committed"
"""Owner of the submissions that come with the checkout; it has no token."""


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
    signal.signal(signal.SIGTERM, lambda number, frame: ended.set())
    while not ended.is_set():
        try:
            worked = worker.work_once()
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
        report, words = self._verify(row.id, path, among)
        if words is None:
            return True  # given up, or taken by another one
        with self._engine.begin() as connection:
            stored = finish_upload(connection, row.id, self.name, report, words, self._clock)
        if stored and report is not None and report["exit_status"] != 1:
            verified.mkdir(exist_ok=True)
            shutil.copyfile(path, verified / path.name)
        return True

    def _verify(self, upload_id: str, path: Path, among: list[Path]) -> tuple[dict[str, Any] | None, str | None]:
        """What was found and a sentence about it; no sentence where the upload is not ours any more."""
        limits = self._settings.limits
        command = [sys.executable, "-m", "leaderboard.server.verifying", str(path)]
        command += [str(limits.verify_memory_bytes), str(int(limits.verify_s)), *map(str, among)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_bare_environment(),
            start_new_session=True,
        )
        lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=_read_lines, args=(process, lines), daemon=True).start()
        deadline = time.monotonic() + limits.verify_s
        progress, report = "a worker has it", None
        try:
            while True:
                try:
                    line = lines.get(timeout=RENEW_S)
                except queue.Empty:
                    line = b""
                if line is None:
                    break
                if line:
                    told = json.loads(line)
                    progress, report = told.get("progress", progress), told.get("report", report)
                if self._ended.is_set() or not self._keep(upload_id, progress):
                    return None, None
                if time.monotonic() > deadline:
                    return None, f"refused: verifying it took more than {limits.verify_s:g} s"
        finally:
            _end(process)
        if report is None:
            status = process.returncode
            return None, f"refused: verifying it failed with status {status}; it may need too much memory or time"
        refused = [f"{each['name']}: {each['detail']}" for each in report["checks"] if each["status"] == "refused"]
        return report, f"refused: {'; '.join(refused)}" if refused else f"level: {report['level']}"

    def _keep(self, upload_id: str, progress: str) -> bool:
        with self._engine.begin() as connection:
            return keep_claim(connection, upload_id, self.name, stored_board_s(connection), progress)


def _bare_environment() -> dict[str, str]:
    """Nothing secret: neither the database's address nor a token; only what Python needs to start."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "XDG_CACHE_HOME")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONPATH": os.pathsep.join(paths)}


def _read_lines(process: subprocess.Popen[bytes], lines: queue.SimpleQueue[bytes | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it with all that it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


def _wait_for_end(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()
