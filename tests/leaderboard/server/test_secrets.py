"""Nothing tells split, template, verdict or seed before a season ends: no answer, no log line, no time."""

from __future__ import annotations

import logging
import re
import statistics
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.core.task import SPLITS
from tests.leaderboard.server.hosting import ASK, LOOK, SUBMIT, Host, Start, position_of, tasks_of

TELLING = re.compile(
    r"\b(safe|ambiguous|required|forbidden|split|template|verdict|biased|cautious|reward|success|unsafe|harm)\b"
)
"""Words of the judgement; instructions and tools may use some of them, so those are compared as they are."""


def everything_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Play a session to its end and keep every answer."""
    said: list[Any] = []
    original = host.http.request

    def keep(*arguments: Any, **options: Any) -> Any:
        said.append(original(*arguments, **options))
        return said[-1]

    monkeypatch.setattr(host.http, "request", keep)
    team = host.team("one")
    session = host.session(team)
    while (begun := host.begin(team, session)).status_code == 201:
        episode = begun.json()["id"]
        for number, action in enumerate((LOOK, ASK, "no call", SUBMIT)):
            host.step(team, episode, number, action)
        host.step(team, episode, 9, LOOK)
        host.http.get(f"/v1/episodes/{episode}", headers=team)
    for path in (f"/v1/sessions/{session}", f"/v1/sessions/{session}/episodes", "/v1/sessions", "/v1/seasons/s1"):
        host.http.get(path, headers=team)
    for path in ("/metrics", "/v1/seasons/s1/secret", "/v1/seasons/s1/results", "/v1/board", "/"):
        host.http.get(path)
    return said


def test_no_answer_header_or_log_line_tells_a_secret(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from leaderboard.server.seasons import read_secret

    with caplog.at_level(logging.DEBUG):
        said = everything_said(host, monkeypatch)
    seed = read_secret(host.settings.secrets, "s1").seed.hex()
    headers = [answer.request.headers.get("authorization") for answer in said]
    tokens = {header.split()[1] for header in headers if header}
    assert tokens
    for answer in said:
        told = answer.text + str(answer.headers)
        assert seed not in told
        assert not any(token in told for token in tokens)
        document = answer.json() if answer.headers["content-type"].endswith("json") else {}
        shown = document if isinstance(document, dict) else {}
        spoken = {
            name: value for name, value in shown.items() if name not in ("instruction", "tools", "result", "steps")
        }
        assert not TELLING.search(str(spoken) + str(answer.headers)), spoken
        assert not shown.keys() & {"split", "seed", "template", "position", "attempt", "reward", "verdict", "success"}
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert seed not in logged
    assert not any(token in logged for token in tokens)


def test_identifiers_tell_nothing(host: Host) -> None:
    team = host.team("one")
    session = host.session(team)
    tasks = tasks_of(host, session)
    ids = [host.begin(team, session).json()["id"] for _ in range(14)]
    assert len({len(each) for each in ids}) == 1
    by_id = [tasks.key(*position_of(host, each)) for each in sorted(ids)]
    assert by_id != sorted(by_id)


def test_the_database_holds_neither_seed_nor_split_nor_template(host: Host) -> None:
    team = host.team("one")
    host.play_out(team, host.session(team))
    secret = host.settings.secrets / "s1" / "seed"
    stored = b"".join(path.read_bytes() for path in host.settings.folder.rglob("*") if path.is_file())
    assert secret.read_text().strip().encode() not in stored
    assert bytes.fromhex(secret.read_text()) not in stored
    assert host.settings.folder not in secret.parents, "a copy of the board's folder leaves the secret behind"
    assert secret.stat().st_mode & 0o077 == 0
    assert secret.parent.stat().st_mode & 0o077 == 0
    # Only the season's own row names splits: it says how many tasks of each there are, which is public.
    for table in ("episodes", "steps", "sessions"):
        with host.board.engine.begin() as connection:
            rows = connection.exec_driver_sql(f"SELECT * FROM {table}").all()
        for split in SPLITS:
            assert not any(value == split for row in rows for value in row), (table, split)


def test_the_repository_and_the_image_hold_no_private_template() -> None:
    root = Path(__file__).parents[3]
    assert not [path for path in root.glob("**/seed") if ".git" not in path.parts and ".venv" not in str(path)]
    ignored = (root / ".dockerignore").read_text().split()
    assert {"*-secrets", ".git"} <= set(ignored)
    for path in ("my-board/board.sqlite", "my-board-secrets/spring/seed", "board-secrets/spring/templates/delete.toml"):
        assert subprocess.run(["git", "check-ignore", "--quiet", path], cwd=root).returncode == 0, path


def separation(first: list[float], second: list[float]) -> float:
    """How well a time tells two groups apart: 0.5 not at all, 1.0 for certain."""
    wins = sum((a > b) + 0.5 * (a == b) for a in first for b in second)
    share = wins / (len(first) * len(second))
    return max(share, 1 - share)


@pytest.mark.slow
def test_no_time_tells_the_split(start: Start) -> None:
    host = start(requests_per_s=1e6, requests_burst=10**6, running_per_team=10_000)
    host.season(suite="standard", episodes=40)
    team = host.team("one")
    session = host.session(team)
    tasks = tasks_of(host, session)
    times: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))

    def timed(kind: str, split: str, call: Any) -> Any:
        began = time.perf_counter()
        answer = call()
        times[kind][split].append(time.perf_counter() - began)
        return answer

    for _ in range(len(tasks)):
        began = time.perf_counter()
        episode = host.begin(team, session).json()["id"]
        spent = time.perf_counter() - began
        split = tasks.key(*position_of(host, episode)).split
        times["begin"][split].append(spent)
        timed("look", split, lambda each=episode: host.step(team, each, 0, LOOK))
        timed("submit", split, lambda each=episode: host.step(team, each, 1, SUBMIT))
    for kind, by_split in times.items():
        assert by_split.keys() == set(SPLITS)
        for split, found in by_split.items():
            others = [each for other, group in by_split.items() if other != split for each in group]
            # 40 against 120 by chance alone: 0.5 with a standard deviation of 0.053.
            assert separation(found, others) < 0.72, (kind, split, statistics.median(found), statistics.median(others))
