"""One server process a board, with the workers that it looks after."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from leaderboard.server.app import create_app
from leaderboard.server.committed import enqueue_committed
from leaderboard.server.settings import DATABASE_VARIABLE, SECRETS_VARIABLE, Settings

LOCK_FILE = "server.lock"
ROOT = Path(__file__).parents[2]

RESTART_S = 2.0
"""Between two looks whether a worker still lives."""

MOST_CONNECTIONS = 2_000
KEEP_ALIVE_S = 30
GRACE_S = 10

GARBAGE_THRESHOLDS = (10_000, 10, 100)
"""Episodes in play are many objects that live for a while, so all of them are looked through seldom."""

log = logging.getLogger("leaderboard.server")


def run_server(settings: Settings, *, host: str, port: int, workers: int) -> None:
    """Serve until stopped.

    Args:
        settings: Of the board.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        workers: Processes that verify uploads.

    Raises:
        OSError: Another server has the board, or the port is taken.
    """
    with _alone(settings.folder), socket.create_server((host, port), backlog=2_048) as listening:
        app = create_app(settings)
        enqueue_committed(app.state.board)
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
        config = uvicorn.Config(
            app,
            access_log=False,  # Prometheus counts; a line a step would cost a fifth of its time
            log_level="warning",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            limit_concurrency=MOST_CONNECTIONS,
        )
        # What was imported and made so far stays. Looking through it again for garbage held every step up for 0.3 s.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        stop = threading.Event()
        looking = threading.Thread(target=_look_after_workers, args=(settings, workers, stop))
        looking.start()
        print(f"the board is at http://{host}:{listening.getsockname()[1]}", flush=True)
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            stop.set()
            looking.join()


def worker_command(settings: Settings) -> tuple[list[str], dict[str, str]]:
    """Command line and environment of a worker; what is secret is not on its command line, which `ps` shows."""
    command = [sys.executable, "-m", "leaderboard", "work", "--until-stdin-ends", "--folder", str(settings.folder)]
    environment = os.environ | {DATABASE_VARIABLE: settings.database, SECRETS_VARIABLE: str(settings.secrets)}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return command, environment | {"PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the board; the system lets go of it however this process ends."""
    with (folder / LOCK_FILE).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(f"{folder} has a server already; a board has one, and any number of workers") from error
        yield


def _look_after_workers(settings: Settings, number: int, stop: threading.Event) -> None:
    """Keep ``number`` workers running. Each ends when its standard input does, so none outlives this process."""
    command, environment = worker_command(settings)
    running: list[subprocess.Popen[bytes]] = []
    while not stop.is_set():
        for ended in [each for each in running if each.poll() is not None]:
            log.error("a worker ended with %s and is started again", ended.returncode)
            running.remove(ended)
        while len(running) < number:
            running.append(subprocess.Popen(command, env=environment, stdin=subprocess.PIPE))
        stop.wait(RESTART_S)
    for worker in running:
        if worker.stdin:
            worker.stdin.close()
    for worker in running:
        worker.wait()
