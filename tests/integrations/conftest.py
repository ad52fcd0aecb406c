"""A board in a process of its own, with an open season; and what the pages say, so that tests run just that."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="session")
def page_block() -> Callable[[str, str], str]:
    """``page_block("inspect.md", "inspect eval")``: the one block of a page of `docs/` that holds these words."""

    def page_block(page: str, words: str) -> str:
        text = (Path(__file__).parents[2] / "docs" / page).read_text(encoding="utf-8")
        (found,) = (block for block in re.findall(r"^```\w+\n(.*?)^```$", text, re.M | re.S) if words in block)
        return found.replace("\\\n", " ")

    return page_block


@pytest.fixture
def shell(tmp_path: Path) -> Callable[[str], str]:
    """``shell(command)``: what a command prints, in an empty folder, with the programs beside this Python."""

    def shell(command: str) -> str:
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        settings = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return shell
