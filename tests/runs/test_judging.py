from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentsafe_envs.agents.scripted import ScriptedAgent
from agentsafe_envs.cli.app import app
from agentsafe_envs.cloud.world import CloudWorld
from agentsafe_envs.core.bias import Unclear
from agentsafe_envs.core.episode import Episode, EpisodeKey
from agentsafe_envs.registration import TABLE, judge
from agentsafe_envs.runs.cache import JUDGED_FILE
from agentsafe_envs.runs.judging import JudgedEpisode, differences, judge_episode, judge_run, verdict_entry
from agentsafe_envs.runs.rows import ROWS_FILE, RowStoreError
from agentsafe_envs.scoring.rollout import play, rescore, score_agent
from agentsafe_envs.scoring.suites import Shard, choose

SUITE = choose("standard", environments=[TABLE[0].id], episodes=4)
"""16 episodes in a world that needs no sandbox."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """A machine with a key of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("states")))
        yield patch


@pytest.fixture(scope="module")
def played(machine: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("biased")
    score_agent("scripted:biased", SUITE, run)
    return run


@pytest.fixture
def run(played: Path, tmp_path: Path) -> Path:
    return shutil.copytree(played, tmp_path / "run")


@pytest.fixture
def reconstructions(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many episodes were reconstructed."""
    counted: list[Episode] = []
    reconstruct = CloudWorld.reconstruct

    def count(world: CloudWorld, task: Any, episode: Episode) -> Any:
        counted.append(episode)
        return reconstruct(world, task, episode)

    monkeypatch.setattr(CloudWorld, "reconstruct", count)
    return lambda: len(counted)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_episode_is_judged_once_from_score_to_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: pytest.MonkeyPatch, reconstructions: Callable[[], int]
) -> None:
    monkeypatch.chdir(tmp_path)
    play_once = ["score", "--suite", "standard", "--env", TABLE[0].id, "--split", "ambiguous", "--episodes", "16"]

    def command(*words: str) -> None:
        shown = CliRunner().invoke(app, list(words))
        assert shown.exit_code == 0, shown.output

    command(*play_once, "scripted:biased", "--out", "biased")
    assert reconstructions() == 16
    command("report", "biased", "--out", "one.html")
    command("data", "export", "biased", "exported", "--format", "jsonl")
    assert reconstructions() == 16
    command(*play_once, "scripted:cautious", "--out", "cautious")
    command("compare", "cautious", "biased")
    command("report", "cautious", "biased")
    command(*play_once, "scripted:biased", "--out", "biased")
    assert reconstructions() == 32
    command("replay", "biased")
    assert reconstructions() == 33


def test_shards_that_are_put_together_are_not_judged_again(
    tmp_path: Path, machine: pytest.MonkeyPatch, reconstructions: Callable[[], int]
) -> None:
    from agentsafe_envs.scoring.rollout import play_suite
    from agentsafe_envs.scoring.shards import merge_shards

    for number in (1, 2):
        shard = Shard(number, 2)
        play_suite("scripted:biased", SUITE, tmp_path / shard.folder, shard=shard)
    merge_shards(tmp_path)
    assert reconstructions() == len(SUITE.keys())


def test_findings_are_those_of_judging_anew(run: Path) -> None:
    kept = judge_run(run)
    (run / JUDGED_FILE).unlink()
    assert judge_run(run) == kept
    assert judge_run(run) == kept


def test_forged_verdict_changes_no_number(run: Path, reconstructions: Callable[[], int]) -> None:
    honest = judge_run(run)
    assert reconstructions() == 0
    edit(run / ROWS_FILE, '"unsafe":true', '"unsafe":false')
    edit(run / ROWS_FILE, '"template":"', '"template":"other-')
    edit(run / JUDGED_FILE, '"unsafe":true', '"unsafe":false')
    found = judge_run(run)
    assert (found.rows, found.episodes) == (honest.rows, honest.episodes)
    assert found.revised == {key for key, each in honest.episodes.items() if each.verdict.unsafe}
    assert reconstructions() == len(found.revised) > 0


def test_run_from_another_machine_is_judged_again_and_then_kept(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reconstructions: Callable[[], int]
) -> None:
    honest = judge_run(run)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "other-machine"))
    assert judge_run(run) == honest
    assert judge_run(run) == honest
    assert reconstructions() == len(SUITE.keys())


def test_another_release_judges_again(
    run: Path, monkeypatch: pytest.MonkeyPatch, reconstructions: Callable[[], int]
) -> None:
    monkeypatch.setattr("agentsafe_envs.runs.cache.release", lambda: "another")
    judge_run(run)
    assert reconstructions() == len(SUITE.keys())


def test_read_only_run_is_judged_and_left_as_it_is(played: Path, tmp_path: Path) -> None:
    # Tests may run as root, who may write anywhere, so a file that cannot be made stands for a read-only directory.
    run = shutil.copytree(played, tmp_path / "read-only")
    (run / JUDGED_FILE).unlink()
    (run / JUDGED_FILE).mkdir()
    before = sorted(run.rglob("*"))
    assert rescore(run, SUITE, judge_run(run).record.agent).overall.valid
    assert sorted(run.rglob("*")) == before


def test_only_wanted_episodes_are_judged(run: Path, reconstructions: Callable[[], int]) -> None:
    (run / JUDGED_FILE).unlink()
    wanted = set(SUITE.keys()[:3])
    assert judge_run(run, wanted=wanted).rows.keys() == wanted
    assert reconstructions() == 3


def test_what_was_judged_before_an_interrupt_is_kept(run: Path, reconstructions: Callable[[], int]) -> None:
    (run / JUDGED_FILE).unlink()
    left = iter(range(4))

    def interrupt() -> None:
        if next(left) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge_run(run, on_judged=interrupt)
    judge_run(run)
    assert reconstructions() == len(SUITE.keys())


def test_edited_episode_is_refused_though_it_was_judged_before(run: Path) -> None:
    edit(run / ROWS_FILE, "delete_resource", "read_resource")
    with pytest.raises(RowStoreError, match="cannot be judged: hash chain breaks"):
        judge_run(run)


def test_episode_under_another_key_is_refused(run: Path) -> None:
    lines = (run / ROWS_FILE).read_text().splitlines()
    row = json.loads(lines[0])
    row["key"]["seed"] += 100
    (run / ROWS_FILE).write_text(json.dumps(row) + "\n")
    with pytest.raises(RowStoreError, match="it was recorded on"):
        judge_run(run)


@pytest.mark.parametrize("env_id", [row.id for row in TABLE])
def test_finding_comes_back_as_it_was(env_id: str) -> None:
    (row,) = play(ScriptedAgent("biased"), (EpisodeKey(env_id, "ambiguous", 0),))
    judged = judge_episode(Episode.from_dict(row["episode"]))
    assert judged.verdict == judge(judged.episode)
    assert verdict_entry(judged.verdict) == row["verdict"]
    unclear = judged._replace(verdict=judged.verdict._replace(unclear=(Unclear(1, "why"),)))
    for each in (judged, unclear):
        assert JudgedEpisode.from_judgement(each.episode, json.loads(json.dumps(each.judgement()))) == each


def test_verdict_from_before_unclear_was_recorded_is_no_other_one() -> None:
    (row,) = play(ScriptedAgent("biased"), (SUITE.keys()[0],))
    found = judge(Episode.from_dict(row["episode"]))
    del row["verdict"]["unclear"]
    assert differences(row["verdict"], found) == {}
    assert differences(row["verdict"], found._replace(unclear=(Unclear(0, "why"),))).keys() == {"unclear"}
    assert differences(None, found)
