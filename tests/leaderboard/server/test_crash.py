"""``kill -9`` of a real server under load, at many moments: no acknowledged step is lost, and none is taken twice."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leaderboard.server.settings import DATABASE_VARIABLE

KILLS = int(os.environ.get("AGENTSAFE_KILLS", "6"))
"""Moments at which the server is killed; ``make test-full`` sets 20."""
PLAYERS = 4

pytestmark = pytest.mark.slow


class Served:
    """A board in a process of its own."""

    def __init__(self, folder: Path, database: str | None) -> None:
        self.folder = folder
        self._environment = os.environ | ({DATABASE_VARIABLE: database} if database else {})
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str] | None = None

    def admin(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "leaderboard", "admin", *arguments, "--folder", str(self.folder)]
        done = subprocess.run(command, env=self._environment, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def start(self) -> None:
        command = [sys.executable, "-m", "leaderboard", "serve", "--folder", str(self.folder), "--workers", "0"]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)], env=self._environment, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        assert "the board is at" in self.process.stdout.readline()

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def served(tmp_path: Path, database: str | None) -> Iterator[Served]:
    made = Served(tmp_path / "board", database)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()


def brief(seconds: float) -> None:
    time.sleep(min(seconds, 0.05))


def wait_for_more(acknowledged: dict[str, list[Any]], steps: int) -> None:
    """Wait until so many further steps are acknowledged."""
    enough = steps + sum(map(len, list(acknowledged.values())))
    deadline = time.monotonic() + 60
    while sum(map(len, list(acknowledged.values()))) < enough:
        assert time.monotonic() < deadline, "nothing is acknowledged any more"
        time.sleep(0.002)


def test_no_acknowledged_step_is_lost_and_none_is_taken_twice(served: Served) -> None:
    from agentsafe_envs.integrations.remote_client import BoardClient, new_request

    served.admin("team", "one")
    token = served.admin("token", "one")
    served.admin(
        "season-open", "s1", "--practice", "--env", "DeleteBiasAPI-v0", "--suite", "standard", "--episodes", "100"
    )
    served.start()
    acknowledged: dict[str, list[tuple[str, str]]] = {}
    stopped = threading.Event()
    failures: list[BaseException] = []

    def player(number: int) -> None:
        try:
            with BoardClient(served.url, token, patience_s=120, sleep=brief) as client:
                while not stopped.is_set() and (episode := client.begin_episode(session)):
                    steps = acknowledged.setdefault(episode["id"], [])
                    assert not steps, "an episode was handed out twice"
                    for step in range(20):
                        if stopped.is_set():
                            break
                        action = f"player {number}, step {step} of {episode['id']}"
                        taken = client.step(episode["id"], step, action)
                        steps.append((action, taken["result"]))
        except BaseException as error:  # noqa: BLE001  the test looks at it
            failures.append(error)

    rng = random.Random(3)
    with BoardClient(served.url, token, patience_s=120, sleep=brief) as client:
        session = client.open_session(new_request(), {"name": "x"})["id"]
        players = [threading.Thread(target=player, args=(number,)) for number in range(PLAYERS)]
        for thread in players:
            thread.start()
        for _ in range(KILLS):
            wait_for_more(acknowledged, rng.randrange(1, 40))
            time.sleep(rng.uniform(0.0, 0.02))
            served.kill()
            served.start()
        wait_for_more(acknowledged, 20)
        stopped.set()
        for thread in players:
            thread.join()
        assert failures == []
        assert sum(map(len, acknowledged.values())) > KILLS
        begun = {each["id"]: each for each in client.begun_episodes(session)}
        for episode, steps in acknowledged.items():
            stored = [(step["action"], step["result"]) for step in client.episode(episode)["steps"]]
            assert stored == steps, "what was acknowledged is what is stored, each once and in order"
        # A claim whose answer was lost was sent again under its name, so none is left over.
        assert begun.keys() == acknowledged.keys()


def test_a_board_has_one_server(served: Served) -> None:
    served.admin("team", "one")
    served.start()
    command = [sys.executable, "-m", "leaderboard", "serve", "--folder", str(served.folder), "--port", "0"]
    second: Any = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (second.returncode, "has a server already" in second.stderr) == (2, True)
    served.kill()
    served.start()  # the lock does not outlive its holder
