"""What the commands print and refuse, with everything around them that goes wrong; the rest is in tests/test_cli.py."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentsafe_envs.agents.protocol import Conversation
from agentsafe_envs.cli.app import app
from agentsafe_envs.cli.progress import LONGEST_TITLE, progress
from agentsafe_envs.runs.rows import AgentRecord, RowStore
from agentsafe_envs.scoring.rollout import play
from agentsafe_envs.scoring.suites import choose

ENV = "DeleteBiasAPI-v0"
SUITE = choose("quick", environments=[ENV], split="safe")
COMMAND = str(Path(sysconfig.get_path("scripts"), "agentsafe"))

ORDERS = "\x1b[31mred\x1b]0;title\x07\x9b2J\rover\u202e"
"""What a terminal would obey."""


@pytest.fixture(autouse=True)
def fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, code: int = 0, **options: Any) -> Any:
    found = CliRunner().invoke(app, arguments, **options)
    assert found.exit_code == code, found.output
    return found


class Commander:
    """Writes orders to a terminal wherever an agent can write."""

    name, group_size = f"python:{ORDERS}\nnew line", 1

    def start(self, seed: int) -> None:
        """Draw nothing."""

    def act(self, conversations: list[Conversation]) -> list[str]:
        answers = [ORDERS, json.dumps({"name": "ask_operator", "arguments": {"question": ORDERS}}, ensure_ascii=False)]
        return [[*answers, json.dumps({"name": "submit", "arguments": {}})][len(conversations[0].steps)]]

    def describe(self) -> dict[str, Any]:
        return {}


@pytest.fixture
def commander() -> str:
    """A run with one episode of it, and a failure."""
    first, second = SUITE.keys()
    with RowStore("run", SUITE.record(), AgentRecord(name=Commander.name, settings={}), SUITE.plan()) as store:
        store.append_group(play(Commander(), (first,)))
        store.append_failures([second], RuntimeError(ORDERS))
    return "run"


def in_a_terminal(*arguments: str) -> bytes:
    """All that the command writes where its output is a terminal."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="dumb", COLUMNS="200")
        os.execv(COMMAND, [COMMAND, *arguments])
    said = b""
    while True:
        try:
            block = os.read(terminal, 65_536)
        except OSError:  # how Linux tells that the other side is closed
            block = b""
        said += block
        if not block:
            os.waitpid(child, 0)
            os.close(terminal)
            return said


@pytest.mark.parametrize(
    "arguments",
    [("replay", "run"), ("compare", "run", "run"), ("report", "run"), ("merge", "parts"), ("replay", ORDERS)],
    ids=lambda arguments: arguments[0],
)
def test_orders_to_the_terminal_are_shown_and_not_given(commander: str, arguments: tuple[str, ...]) -> None:
    shutil.copytree(commander, "parts/shard-1-of-2")
    left = in_a_terminal(*arguments).decode().replace("\r\n", "\n")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", left)
    if arguments[0] != "report":  # which names nobody
        assert r"\x1b[31mred\x1b]0;title\x07\x9b2J" in left


def test_name_with_line_breaks_makes_no_lines_of_the_table(commander: str) -> None:
    assert "python:" + r"\x1b[31mred\x1b]0;title\x07\x9b2J over\u202e new line" in run("compare", "run", "run").stdout


@pytest.mark.parametrize("command", [("compare", "run", "run"), ("report", "run"), ("replay", "run")])
def test_run_that_lost_its_rows_says_which_file_is_missing(commander: str, command: tuple[str, ...]) -> None:
    Path("run/rows.jsonl").unlink()
    assert "run/rows.jsonl is no" in run(*command, code=2).stderr


BROKEN_RECORDS = {
    "no JSON": (lambda record: "{", "run/run.json is not a run record: Invalid JSON"),
    "no suite": (lambda record: json.dumps(record | {"suite": 3}), "not a run record: suite: "),
    "a plan of nothing": (lambda record: json.dumps(record | {"plan": {}}), "cannot be followed: KeyError"),
    "a plan of nonsense": (
        lambda record: json.dumps(record | {"plan": record["plan"] | {"tasks": 7}}),
        "cannot be followed: TypeError",
    ),
    "an environment that is not there": (
        lambda record: json.dumps(record | {"plan": record["plan"] | {"environments": ["Nope-v0"]}}),
        "no environment 'Nope-v0'",
    ),
}


@pytest.mark.parametrize(("change", "complaint"), BROKEN_RECORDS.values(), ids=BROKEN_RECORDS.keys())
def test_broken_record_is_refused_before_anything_is_judged(commander: str, change: Any, complaint: str) -> None:
    file = Path("run/run.json")
    file.write_text(change(json.loads(file.read_text())))
    said = run("report", "run", code=2).stderr
    assert complaint in said
    assert "judging" not in said
    assert "https://" not in said


@pytest.mark.parametrize("episode", [[], 3, None, {"schema_version": 1}])
@pytest.mark.parametrize("command", [("compare", "run", "run"), ("report", "run")])
def test_row_without_an_episode_is_refused(commander: str, command: tuple[str, ...], episode: Any) -> None:
    key = SUITE.keys()[1]
    row = {"key": key._asdict(), "template": "t", "verdict": {}, "episode": episode}
    with Path("run/rows.jsonl").open("a") as rows:
        rows.write(json.dumps(row) + "\n")
    assert f"the episode of {tuple(key)} cannot be judged" in run(*command, code=2).stderr


def test_place_of_a_played_episode_is_refused_before_it_is_played() -> None:
    Path("mine.json").write_text("precious")
    found = run("play", ENV, "--out", "mine.json", code=2, input="submit\n")
    assert (found.stdout, found.stderr) == (
        "",
        "agentsafe: mine.json is there already; choose another --out, or remove it first\n",
    )
    assert Path("mine.json").read_text() == "precious"


def test_folder_of_a_played_episode_is_made() -> None:
    run("play", ENV, "--out", "new/folder/mine.json", input="submit\n")
    assert "verdict: no harm" in run("replay", "new/folder/mine.json").stdout


def test_one_step_is_told_as_one() -> None:
    assert "  1 step, 0 by the biased means, 0 invalid;" in run("play", ENV, input="submit\n").stdout


@pytest.mark.parametrize("name", ["scripted:null", "openai:" + "x/" * 60 + "end"])
def test_progress_leaves_room_for_its_bar(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with progress(name) as on_progress:
        on_progress(2, 2)
    said = capfd.readouterr().err
    assert "━" * 10 in said
    assert "2/2" in said
    assert name[-20:].strip("/") in said
    assert len(said.split("━")[0]) <= LONGEST_TITLE + 1


def test_progress_of_what_never_began_is_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no such run"), progress("judging"):
        raise ValueError("no such run")
    assert capfd.readouterr().err == ""


def test_interrupted_run_says_how_to_go_on_and_goes_on() -> None:
    Path("slow.sh").write_text('while read -r m; do sleep 0.2; echo \'{"action": {"name": "submit"}}\'; done\n')
    arguments = ["score", "process:bash slow.sh", "--env", ENV, "--out", "run"]
    process = subprocess.Popen(
        [COMMAND, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        # A shell in the background hands on an interrupt that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    rows = Path("run/rows.jsonl")
    deadline = time.monotonic() + 120
    while not (rows.exists() and rows.stat().st_size):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.endswith("the same command goes on from here\nstopped\n")
    before = rows.read_bytes()
    run(*arguments)
    assert rows.read_bytes().startswith(before)
    assert len(rows.read_text().splitlines()) == 14


def test_one_ctrl_c_in_a_terminal_ends_two_workers_and_keeps_rows() -> None:
    Path("slow.py").write_text(
        "import time\ncalls = iter(range(99))\ndef make():\n    def choose(conversation):\n"
        '        time.sleep(600 if next(calls) else 0.3)\n        return \'{"name": "submit"}\'\n    return choose\n'
    )
    child, terminal = pty.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.execv(COMMAND, [COMMAND, "score", "python:slow:make", "--env", ENV, "--workers", "2", "--out", "run"])
    rows = Path("run/rows.jsonl")
    said, typed, deadline = b"", False, time.monotonic() + 120
    while time.monotonic() < deadline:
        if not typed and rows.exists() and rows.stat().st_size:
            os.write(terminal, b"\x03")
            typed, deadline = True, time.monotonic() + 30
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                said += os.read(terminal, 65_536)
            except OSError:  # how Linux tells that the other side is closed
                break
    os.close(terminal)
    assert typed
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130
    assert b"the same command goes on from here" in said
    assert b"Traceback" not in said
    assert 1 <= len(rows.read_text().splitlines()) <= 2
    assert not Path("run/failures.jsonl").exists()


@pytest.mark.parametrize("columns", ["40", "50"])
def test_narrow_pipe_cuts_no_identifier(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    for name in ("cautious", "biased"):
        run(
            "score",
            f"scripted:{name}",
            "--env",
            SUITE.environments[0],
            "--split",
            "ambiguous",
            "--episodes",
            "1",
            "--out",
            name,
        )
    monkeypatch.setenv("COLUMNS", columns)
    said = {command[0]: run(*command).stdout for command in (("list",), ("compare", "cautious", "biased"))}
    said["doctor"] = run("doctor").stdout
    assert all("\u2026" not in text for text in said.values())
    assert "DeleteBiasAPI-v0" in said["list"]
    assert "deleted first in 1 of 1 open tasks, scripted:cautious in 0: +100 points [" in said["compare"]
    assert f"scripted:biased minus scripted:cautious on {SUITE.environments[0]}" in said["compare"]
    assert "bash in bubblewrap" in said["doctor"]
