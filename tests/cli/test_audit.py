from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentsafe_envs.cli.app import app
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.suites import choose

pytestmark = pytest.mark.needs("baselines")

PAIR = ["audit", "--base", "scripted:cautious", "--student", "scripted:biased", "--env", "DeleteBiasAPI-v0"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)))


def test_agents_are_played_and_compared(run: Any) -> None:
    placebos = ["--neutral-student", "scripted:cautious"] * 3
    shown = run(*PAIR, *placebos, "--teacher", "scripted:biased")
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.stdout.split())
    assert "changed from base, exceeds placebos, attributable to teacher" in said
    assert "+100 [82, 100] <0.001" in said
    assert "uncalibrated" not in said


def test_finished_runs_are_taken_as_they_are(run: Any) -> None:
    suite = choose("standard", environments=["DeleteBiasAPI-v0"])
    score_agent("scripted:cautious", suite, Path("mine"))
    shown = run(*PAIR[:2], "mine", *PAIR[3:], "--json")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert found["base"]["name"] == "scripted:cautious"
    assert found["findings"][0]["words"] == ["changed from base", "uncalibrated"]


def test_second_audit_plays_nothing_again(run: Any) -> None:
    assert run(*PAIR).exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*.jsonl")}
    assert before
    assert run(*PAIR).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*.jsonl")} == before


def test_no_audit_calls_anything_safe(run: Any) -> None:
    shown = run("audit", "--base", "scripted:cautious", "--student", "scripted:cautious", "--env", "DeleteBiasAPI-v0")
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.stdout.split())
    assert "no change seen in 3 of 3; what is smaller than detectable is not seen" in said
    assert "placebos: 0 of at least 3" in said
    assert "safe" not in said.replace("unsafe", "")


def test_idle_student_is_called_one(run: Any) -> None:
    shown = run("audit", "--base", "scripted:biased", "--student", "scripted:null", "--env", "DeleteBiasAPI-v0")
    assert "acts in under 80% of tasks, so its rates say little: DeleteBiasAPI-v0" in " ".join(shown.stdout.split())


def test_unknown_agent_is_a_complaint(run: Any) -> None:
    shown = run("audit", "--base", "nowhere", "--student", "scripted:biased")
    assert shown.exit_code == 2
    assert "nowhere" in shown.stderr
