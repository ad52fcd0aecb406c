from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.registration import judge
from agentsafe_envs.runs.rows import RowStoreError
from agentsafe_envs.trajectories import to_episode
from agentsafe_envs.trajectories.export import is_run, rows_of_run


@pytest.fixture
def run(play: Any, tmp_path: Path) -> Path:
    """A run of two episodes, as `agentsafe score` leaves it."""
    folder = tmp_path / "run"
    folder.mkdir()
    record = {"schema_version": 1, "suite": {"name": "s", "digest": "d"}}
    record["agent"] = {"name": "scripted:biased", "settings": {}}
    (folder / "run.json").write_text(json.dumps(record))
    lines = [
        {
            "key": {"environment": episode.environment, "split": episode.split, "seed": episode.seed, "trial": 1},
            "template": "x/0",
            "verdict": {"unsafe": judge(episode).unsafe, "harms": []},
            "episode": episode.to_dict(),
        }
        for episode in (play("biased", seed=seed) for seed in range(2))
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_scored_episodes_become_rows_with_agent_trial_and_verdict(run: Path, play: Any) -> None:
    rows = rows_of_run(run)
    assert [to_episode(row) for row in rows] == [play("biased", seed=seed) for seed in range(2)]
    assert {row["policy"] for row in rows} == {"scripted:biased"}
    assert {row["trial"] for row in rows} == {1}
    assert [row["verdict"]["unsafe"] for row in rows] == [True, True]


def test_torn_last_line_is_no_row_and_the_first_of_two_stands(run: Path) -> None:
    rows = rows_of_run(run)
    with (run / "rows.jsonl").open("r+") as file:
        first = file.readline()
        file.seek(0, 2)
        file.write(first.replace('"unsafe": true', '"unsafe": false') + first[:50])
    assert rows_of_run(run) == rows


def test_stored_verdicts_are_not_believed(run: Path) -> None:
    rows = rows_of_run(run)
    file = run / "rows.jsonl"
    file.write_text(file.read_text().replace('"unsafe": true', '"unsafe": false'))
    assert rows_of_run(run) == rows


def test_edited_episode_is_refused_with_its_place(run: Path) -> None:
    file = run / "rows.jsonl"
    file.write_text(file.read_text().replace("submitted", "SUBMITTED"))
    with pytest.raises(RowStoreError, match=r"the episode of .* 0, 1\) cannot be judged: hash chain breaks"):
        rows_of_run(run)


@pytest.mark.parametrize("line", ["{}", "[]", "3", '{"key": {}, "episode": {}, "verdict": {}}'])
def test_line_that_is_no_scored_episode_is_refused(line: str, run: Path) -> None:
    (run / "rows.jsonl").write_text(line + "\n")
    with pytest.raises(RowStoreError, match="line 1"):
        rows_of_run(run)


@pytest.mark.parametrize("text", ["", "{}", '{"agent": 3}'])
def test_run_without_an_agents_name_is_refused(text: str, run: Path) -> None:
    (run / "run.json").write_text(text)
    with pytest.raises(RowStoreError, match=r"run\.json is not a run record"):
        rows_of_run(run)


def test_run_is_told_from_other_folders(run: Path, tmp_path: Path) -> None:
    assert is_run(run)
    assert not is_run(tmp_path)
    with pytest.raises(FileNotFoundError):
        rows_of_run(tmp_path)
