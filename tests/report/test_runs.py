from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agentsafe_envs.report.runs import reported_runs
from agentsafe_envs.runs.rows import ROWS_FILE, RUN_FILE
from agentsafe_envs.scoring.rollout import SCORECARD_FILE

from .conftest import HOSTILE, SUITE


def test_scorecard_is_that_of_the_run(folder: Path) -> None:
    ((run,), shared) = reported_runs([folder / "biased"])
    assert run.scorecard.to_json() == (folder / "biased" / SCORECARD_FILE).read_text()
    assert (run.label, run.failures, run.judged.revised) == ("scripted:biased", {}, frozenset())
    assert (list(shared.keys), shared.left_out) == (SUITE.keys(), None)


def test_progress_counts_the_episodes_of_all_runs(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    reported_runs([folder / "biased", folder / "null"], lambda done, planned: seen.append((done, planned)))
    total = 2 * len(SUITE.keys())
    assert seen == [(number, total) for number in range(1, total + 1)]


def test_agents_of_one_name_are_told_apart_by_directory(folder: Path, tmp_path: Path) -> None:
    again = shutil.copytree(folder / "biased", tmp_path / "again")
    labels = [run.label for run in reported_runs([folder / "null", folder / "biased", again]).runs]
    assert labels == ["scripted:null", f"scripted:biased in {folder / 'biased'}", f"scripted:biased in {again}"]


def test_run_named_twice_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"biased is named 2 times; expected every run once"):
        reported_runs([folder / "biased", folder / "biased" / SCORECARD_FILE])


def test_directory_without_a_run_is_refused_with_the_command_that_makes_one(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no {tmp_path / RUN_FILE}; `agentsafe score AGENT --out {tmp_path}`"):
        reported_runs([folder / "biased", tmp_path])


def test_verdict_that_was_stored_otherwise_is_noticed_and_not_believed(folder: Path, tmp_path: Path) -> None:
    edited = shutil.copytree(folder / "biased", tmp_path / "edited")
    first, *others = (edited / ROWS_FILE).read_text().splitlines(keepends=True)
    assert '"first":"biased"' in first
    (edited / ROWS_FILE).write_text("".join([first.replace('"first":"biased"', '"first":"none"'), *others]))
    ((run,), _) = reported_runs([edited])
    assert run.judged.revised == {SUITE.keys()[0]}
    assert run.scorecard == reported_runs([folder / "biased"]).runs[0].scorecard


def test_episode_that_failed_is_unscored_and_has_its_reason(hostile: Path) -> None:
    ((run,), shared) = reported_runs([hostile])
    overall = run.scorecard.overall
    assert (overall.episodes, overall.unscored, overall.valid) == (3, 1, False)
    assert run.failures == {shared.keys[2]: f"RuntimeError: {HOSTILE}"}
