"""A board in a process of its own, with an open season."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest


class Served(NamedTuple):
    """A board and a token for it."""

    url: str
    token: str
    folder: Path

    def admin(self, *arguments: str) -> str:
        return admin(self.folder, *arguments)


def admin(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "leaderboard", "admin", *arguments, "--folder", str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("board")
    admin(folder, "team", "one")
    token = admin(folder, "token", "one")
    admin(folder, "season-open", "s1", "--practice", "--env", "DeleteBiasAPI-v0", "--suite", "quick")
    command = [sys.executable, "-m", "leaderboard", "serve", "--folder", str(folder), "--port", "0", "--workers", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        yield Served(process.stdout.readline().split()[-1], token, folder)
        process.terminate()
