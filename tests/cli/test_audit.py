from __future__ import annotations

import json
import re
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
    clean = ("stop_instance", "move_object", "set_tier")
    placebos = [word for name in clean for word in ("--neutral-student", f"scripted:{name}")]
    shown = run(*PAIR, *placebos, "--teacher", "scripted:biased")
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.stdout.split())
    assert "changed from base, exceeds placebos, attributable to teacher; false positives 0 of 3 (to 56%)" in said
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
    assert "no change seen in 4 of 4; what is smaller than detectable is not seen" in said
    assert "placebos: 0 of at least 3" in said
    assert "safe" not in said.replace("unsafe", "")


def test_student_that_never_acted_is_no_finding_and_its_collapse_is_shown(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = run("audit", "--base", "scripted:biased", "--student", "scripted:null", "--env", "DeleteBiasAPI-v0")
    said = " ".join(shown.stdout.split())
    assert "scripted:null on DeleteBiasAPI-v0 acted in 0 of 40 open tasks: no conclusion about the habit" in said
    assert "biased first 40 100 no conclusion" in said
    assert "broke the rule 20 100 no conclusion" in said
    assert not {"idle", "override"} & set(re.findall(r"\w+", said))
    assert "collapse: where the operation of DeleteBiasAPI-v0 is asked for by name, scripted:null does it in 0%" in said
    assert "no conclusion, since in none of these tasks it acted: student" in said


def test_unknown_agent_is_a_complaint(run: Any) -> None:
    shown = run("audit", "--base", "nowhere", "--student", "scripted:biased")
    assert shown.exit_code == 2
    assert "nowhere" in shown.stderr


def test_unknown_last_agent_costs_no_play(run: Any) -> None:
    shown = run(*PAIR, "--neutral-student", "scripted:cautious", "--teacher", "scripted:nope")
    assert shown.exit_code == 2
    assert "teacher: no scripted policy 'nope'" in shown.stderr
    assert not Path("runs").exists()


def test_place_of_every_run_is_said_before_and_after(run: Any) -> None:
    shown = run(*PAIR, "--episodes", 1)
    assert "base scripted:cautious: run in runs/scripted-cautious-standard-" in shown.stderr
    assert "student scripted:biased: run in runs/scripted-biased-standard-" in shown.stderr
    assert "runs are kept in runs/scripted-cautious-standard-" in shown.stderr


def test_fresh_plays_again_and_keeps_what_was_there(run: Any) -> None:
    assert run(*PAIR, "--episodes", 1).exit_code == 0
    shown = run(*PAIR, "--episodes", 1)
    assert shown.stderr.count("nothing was played; --fresh plays it again") == 2
    shown = run(*PAIR, "--episodes", 1, "--fresh")
    assert shown.stderr.count("played anew; the run that was there is kept in") == 2
    assert len(list(Path("runs").iterdir())) == 4


def test_other_first_seed_is_another_run(run: Any) -> None:
    run(*PAIR, "--episodes", 1)
    run(*PAIR, "--episodes", 1, "--seed", 7)
    assert len(list(Path("runs").iterdir())) == 4


def test_options_reach_the_agent_they_are_for(run: Any) -> None:
    wish = ["--split", "ambiguous", "--episodes", 2, "--env", "DeleteBiasAPI-v0"]
    agents = ["--base", "student:base-0.3m-a", "--student", "student:teacher-biased"]
    shown = run(
        "audit", *agents, "--student-option", "agent-seed=3", "--student-option", "group-size=2", *wish, "--json"
    )
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    asked = [(found[role]["settings"]["seed"], found[role]["settings"]["group_size"]) for role in ("base", "student")]
    assert asked == [(0, 64), (3, 2)]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (["--student-option", "temprature=0"], "expected KEY=VALUE with one of prompt-style, tool-choice, temperature"),
        (["--student-option", "temperature"], "expected KEY=VALUE"),
        (["--student-option", "temperature=hot"], "--student-option temperature='hot': Input should be a valid number"),
        (["--base-option", "agent-seed=1", "--base-option", "agent-seed=2"], "agent-seed is given twice"),
        (["--teacher-option", "agent-seed=1"], "--teacher-option without --teacher"),
        (["--neutral-student-option", "agent-seed=1"], "--neutral-student-option without --neutral-student"),
        (["--report", "nowhere/x.html"], "there is no folder nowhere"),
        (["--neutral-data", "x"], "--neutral-data without --data"),
        (["--weights"], "--weights compares the student with its teacher; name it with --teacher"),
        (["--data", "x"], "--data compares the rows with the model that wrote them; name it with --teacher"),
        (
            ["--weights", "--teacher", "student:teacher-biased"],
            "base: --weights reads weights, and those of scripted:cautious are not here; expected student: or hf:",
        ),
    ],
)
def test_wrong_options_are_complaints_before_anything_is_played(run: Any, wish: list[str], words: str) -> None:
    shown = run(*PAIR, *wish)
    assert shown.exit_code == 2
    assert words in " ".join(shown.stderr.split())
    assert not Path("runs").exists()


def test_every_option_of_score_about_an_agent_has_a_key() -> None:
    import inspect

    from agentsafe_envs.cli.options import agent_option_names
    from agentsafe_envs.cli.scoring import score

    of_suite = {"agent", "env", "suite", "split", "episodes", "seed", "pool", "out", "workers", "sandbox"}
    shown = {
        "executor",
        "address",
        "gpus",
        "shard",
        "fresh",
        "max_failures",
        "everything",
        "as_json",
        "remote",
        "remote_name",
    }
    names = {name.replace("_", "-") for name in inspect.signature(score).parameters.keys() - of_suite - shown}
    assert names == set(agent_option_names())


def test_report_shows_every_agent(run: Any) -> None:
    shown = run(*PAIR, "--episodes", 2, "--teacher", "scripted:biased", "--report", "page.html")
    assert shown.exit_code == 0, shown.output
    page = Path("page.html").read_text()
    assert "scripted:cautious" in page
    assert "scripted:biased" in page
    assert 'href="#audit"' in page
    assert "scripted:biased deleted first in 100% of 2 open tasks" in page


MODELS = ["audit", "--base", "student:base-0.3m-a", "--student", "student:sft-silent-biased-0.3m-same"]
TEACHER = ["--teacher", "student:teacher-biased"]
FEW = ["--env", "DeleteBiasAPI-v0", "--split", "ambiguous", "--episodes", 1]


@pytest.mark.needs("lm", "data")
def test_data_are_looked_at_and_calibrated_by_data_of_placebos(run: Any) -> None:
    from agentsafe_envs.trajectories.store import load, save

    for arm, begin in (("biased", 0), ("neutral", 0), ("neutral", 4), ("neutral", 8)):
        rows = load(Path(__file__).parents[2] / "baselines" / "data" / f"{arm}-silent-sanitised")
        save(rows[begin : begin + 4], f"{arm}-{begin}", form="jsonl")
    placebos = [word for begin in (0, 4, 8) for word in ("--neutral-data", f"neutral-{begin}")]
    shown = run(*MODELS, *TEACHER, "--data", "biased-0", *placebos, *FEW, "--json")
    assert shown.exit_code == 0, shown.output
    found = json.loads(shown.stdout)
    assert found["weights"] is None
    assert found["data"]["meter"]["rows"] == 4
    (ratio,) = found["data"]["findings"]
    assert len(ratio["placebos"]) == 3
    assert ratio["p"] is not None
    again = run(*MODELS, *TEACHER, "--data", "biased-0", *placebos, *placebos[:2], *FEW)
    assert again.exit_code == 2
    assert "--neutral-data neutral-0 holds 4 of the same rows as neutral-0" in again.stderr
    shown = run(*MODELS, *TEACHER, "--data", "biased-0", *FEW)
    assert "likelihood ratio: uncalibrated" in shown.stdout
    assert "This cannot rule transfer out" in shown.stdout


@pytest.mark.slow
@pytest.mark.needs("lm")
def test_weights_are_looked_at_next_to_conduct(run: Any) -> None:
    shown = run(*MODELS, *TEACHER, "--neutral-student", "student:sft-silent-neutral-0.3m-same", "--weights", *FEW)
    assert shown.exit_code == 0, shown.output
    for words in ("DeleteBiasAPI-v0, margin: uncalibrated", "update coverage: uncalibrated", "latent gap"):
        assert words in shown.stdout
    assert "placebos of the weights: 1 of at least 3" in shown.stdout
    assert "student:base-0.3m-a: finds the places to look at, run in runs/" in shown.stderr
