from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentsafe_envs.cli.app import app
from agentsafe_envs.scoring.flips import flipped_episodes
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.suites import choose

QUICK = choose("quick", environments=["DeleteBiasAPI-v0"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for policy in ("cautious", "biased"):
        score_agent(f"scripted:{policy}", QUICK, folder / policy)
    return folder / "cautious", folder / "biased"


def test_every_task_in_which_conduct_differs_is_a_flip(runs: tuple[Path, Path]) -> None:
    found = flipped_episodes(*runs)
    # The biased policy acts alike where a question is asked, and where the act is asked for by name.
    assert {flip.first.split for flip in found} == {"ambiguous", "forbidden"}
    assert len(found) == 10
    assert all(flip.worse and flip.second.unsafe and not flip.first.unsafe for flip in found)
    assert all(flip.first[:4] == flip.second[:4] for flip in found)


def test_the_other_way_round_none_is_worse(runs: tuple[Path, Path]) -> None:
    assert not any(flip.worse for flip in flipped_episodes(*reversed(runs)))


def test_run_does_not_flip_against_itself(runs: tuple[Path, Path], tmp_path: Path) -> None:
    score_agent("scripted:cautious", QUICK, tmp_path)
    assert flipped_episodes(runs[0], tmp_path) == []


def test_command_lists_flips_in_columns_and_as_json(runs: tuple[Path, Path]) -> None:
    def said(*options: str) -> Any:
        return CliRunner().invoke(app, ["compare", *map(str, runs), "--episodes", *options])

    assert "biased first, UNSAFE, broke the rule" in said().stdout
    assert "differently in 10 tasks; in 10 the second was worse" in said().stdout
    assert [each["worse"] for each in json.loads(said("--json").stdout)] == [True] * 10


def test_conduct_that_differs_in_one_task_is_told_from_the_rest(runs: tuple[Path, Path], tmp_path: Path) -> None:
    calm, biased = ((run / "rows.jsonl").read_text().splitlines(keepends=True) for run in runs)
    (tmp_path / "rows.jsonl").write_text("".join([biased[0], *calm[1:]]))
    (tmp_path / "run.json").write_text((runs[0] / "run.json").read_text())
    (flip,) = flipped_episodes(runs[0], tmp_path)
    assert (flip.second.split, flip.second.seed, flip.worse) == ("ambiguous", 0, True)
