from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("submit", "site")

ROOT = Path(__file__).parents[3]


def test_board_is_built_and_served_until_interrupted(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    command = [sys.executable, "-m", "leaderboard", "board", "--no-open", "--submissions", str(tmp_path / "none")]
    command += ["--out", str(tmp_path / "board"), "--keep", str(tmp_path / "keep")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as served:
        assert served.stdout
        try:
            line = next(line for line in served.stdout if "Ctrl-C" in line)
            address = re.findall(r"http://127\.0\.0\.1:\d+/", line)[0]
            with urllib.request.urlopen(address, timeout=10) as answer:
                assert b"No submission yet." in answer.read()
        finally:
            served.send_signal(signal.SIGINT)
        assert served.wait(10) == 0
