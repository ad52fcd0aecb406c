"""The command works in poor surroundings: an old encoding, a user without a name, no home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NAMELESS = """
import pwd, sys
def unknown(key):
    raise KeyError(key)
pwd.getpwuid = pwd.getpwnam = unknown
from agentsafe_envs.cli.app import app
app()
"""
"""The command, where the machine knows no users: as in a container started with a number."""

SCORE = ["score", "scripted:biased", "--env", "DeleteBiasAPI-v0", "--split", "forbidden", "--out", "run"]


def run(
    arguments: list[str], folder: Path, nameless: bool = False, **variables: str | None
) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own; a variable that is None is not set."""
    program = ["-c", NAMELESS] if nameless else ["-m", "agentsafe_envs"]
    given = dict(os.environ) | variables
    environment = {name: value for name, value in given.items() if value is not None}
    return subprocess.run([sys.executable, *program, *arguments], cwd=folder, env=environment, capture_output=True)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_terminal_of_an_old_encoding_gets_escapes_for_what_it_cannot_show(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def make():\n    return lambda conversation: 'Löschen \u2026 \u4f60'\n")
    variables = {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(tmp_path) + os.pathsep + os.pathsep.join(sys.path)}
    scored = run([*SCORE[:1], "python:mine:make", *SCORE[2:], "--suite", "quick"], tmp_path, **variables)
    assert scored.returncode == 0, scored.stderr.decode()
    shown = run(["replay", "run", "--seed", "0"], tmp_path, **variables)
    assert shown.returncode == 0, shown.stderr.decode()
    assert "Löschen".encode(encoding, "backslashreplace") in shown.stdout
    assert b"\\u4f60" in shown.stdout
    assert b"Traceback" not in scored.stderr + shown.stderr


@pytest.mark.parametrize("home", [None, "/"])
def test_user_without_name_or_home_scores_all_the_same(home: str | None, tmp_path: Path) -> None:
    unset = dict.fromkeys(("USER", "LOGNAME", "LNAME", "USERNAME", "XDG_STATE_HOME", "XDG_CACHE_HOME"))
    scored = run(SCORE, tmp_path, nameless=True, HOME=home, **unset)
    assert scored.returncode == 0, scored.stderr.decode()
    assert b"Traceback" not in scored.stderr
    assert (tmp_path / "run" / "scorecard.json").is_file()
