"""Machines that share a run: its parts are disjoint, complete, and put together give the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.agents.callable import CallableAgent
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.runs.rows import ROWS_FILE, RUN_FILE, RowStoreError, read_rows, read_run
from agentsafe_envs.scoring import rollout
from agentsafe_envs.scoring.rollout import SCORECARD_FILE, groups, play_suite, score_agent
from agentsafe_envs.scoring.shards import merge_shards
from agentsafe_envs.scoring.suites import HEADLINE, SUITES, Shard, Suite, choose

QUICK = SUITES["quick"]
CLOUD = choose("quick", environments=[HEADLINE[0]])


def play_shards(spec: str, suite: Suite, run: Path, *numbers: int, parts: int) -> None:
    for number in numbers:
        shard = Shard(number, parts)
        play_suite(spec, suite, run / shard.folder, shard=shard)


@given(st.integers(1, 12), st.integers(1, 30))
def test_shards_share_out_every_group_once(parts: int, group_size: int) -> None:
    whole = groups(QUICK, group_size)
    shares = [Shard(number, parts).share(whole) for number in range(1, parts + 1)]
    assert sorted(group for share in shares for group in share) == sorted(whole)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("parts", [1, 3, 20])
@pytest.mark.parametrize("spec", ["scripted:biased", pytest.param("scripted:random", marks=pytest.mark.slow)])
def test_merged_shards_are_the_bytes_of_an_undivided_run(tmp_path: Path, spec: str, parts: int) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    score_agent(spec, QUICK, whole)
    play_shards(spec, QUICK, run, *reversed(range(1, parts + 1)), parts=parts)
    merge_shards(run)
    for name in (ROWS_FILE, RUN_FILE, SCORECARD_FILE):
        assert (run / name).read_bytes() == (whole / name).read_bytes()


def test_missing_shard_leaves_its_episodes_unscored_until_it_is_there(tmp_path: Path) -> None:
    play_shards("scripted:null", QUICK, tmp_path, 1, 3, parts=3)
    card = merge_shards(tmp_path)
    lacking = len(QUICK.keys()[1::3])
    assert (card.overall.episodes, card.overall.unscored, card.overall.valid) == (len(QUICK.keys()), lacking, False)
    play_shards("scripted:null", QUICK, tmp_path, 2, parts=3)
    assert merge_shards(tmp_path).overall.valid


def test_undivided_command_plays_what_no_shard_has(tmp_path: Path) -> None:
    play_shards("scripted:null", QUICK, tmp_path, 1, parts=3)
    merge_shards(tmp_path)
    before = (tmp_path / ROWS_FILE).read_bytes()
    assert score_agent("scripted:null", QUICK, tmp_path).overall.valid
    assert (tmp_path / ROWS_FILE).read_bytes().startswith(before)
    assert len(read_rows(tmp_path)) == len(QUICK.keys())


def test_shard_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    play_shards("scripted:null", QUICK, tmp_path, 1, parts=2)
    rows = tmp_path / Shard(1, 2).folder / ROWS_FILE
    lines = rows.read_bytes().splitlines(keepends=True)
    rows.write_bytes(b"".join(lines[:2]))
    seen: list[tuple[int, int]] = []
    play_suite("scripted:null", QUICK, rows.parent, shard=Shard(1, 2), on_progress=lambda *counts: seen.append(counts))
    assert seen[0] == (2, len(QUICK.keys()) // 2)
    assert rows.read_bytes() == b"".join(lines)


@pytest.mark.parametrize(
    "other", [("scripted:biased", QUICK), ("scripted:null", choose("quick", first_seed=1))], ids=["agent", "suite"]
)
def test_shards_of_different_runs_are_refused(tmp_path: Path, other: tuple[str, Suite]) -> None:
    play_shards("scripted:null", QUICK, tmp_path, 1, parts=2)
    play_shards(*other, tmp_path, 2, parts=2)
    with pytest.raises(RowStoreError, match=r"shard-1-of-2 and .*shard-2-of-2 are of different runs"):
        merge_shards(tmp_path)


def test_shards_played_under_other_circumstances_are_merged_and_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        agent = CallableAgent(lambda _: '{"name": "submit"}', "python:a:b")
        settings = {"agent": "openai", "base_url": f"http://node{number}:8000/v1", "group_size": number}
        monkeypatch.setattr(agent, "group_size", number, raising=False)
        monkeypatch.setattr(agent, "describe", lambda settings=settings: settings)
        monkeypatch.setattr(rollout, "load_agent", lambda *_, agent=agent, **__: agent)
        play_suite("any", CLOUD, tmp_path / Shard(number, 2).folder, shard=Shard(number, 2))
    card = merge_shards(tmp_path)
    assert card.overall.valid
    assert card.agent.varied == {"base_url": ["http://node1:8000/v1", "http://node2:8000/v1"], "group_size": [1, 2]}
    assert merge_shards(tmp_path) == card


def test_shard_set_aside_is_not_merged(tmp_path: Path) -> None:
    play_shards("scripted:null", CLOUD, tmp_path, 1, parts=1)
    play_suite("scripted:biased", CLOUD, tmp_path / "shard-1-of-1", shard=Shard(1, 1), fresh=True)
    assert len(list(tmp_path.iterdir())) == 2
    assert merge_shards(tmp_path).agent.name == "scripted:biased"


@pytest.mark.parametrize("anew", [(1, 2), (2,)], ids=["all", "one"])
def test_second_merge_holds_what_was_played_anew_and_keeps_the_first(tmp_path: Path, anew: tuple[int, ...]) -> None:
    run, places = tmp_path / "run", list[Path]()

    def play(answer: str, *numbers: int) -> None:
        same = None if len(anew) == 2 else "same"  # parts of two agents would not merge
        agent = CallableAgent(lambda _: answer, "python:mine:make", identity=same)
        for number in numbers:
            folder = run / Shard(number, 2).folder
            play_suite(agent, CLOUD, folder, shard=Shard(number, 2), fresh=True)

    play('{"name": "submit"}', 1, 2)
    merge_shards(run, places.append)
    first = (run / ROWS_FILE).read_bytes()
    play('{"name": "wait"}', *anew)
    merge_shards(run, places.append)
    (kept,) = places
    assert (kept / ROWS_FILE).read_bytes() == first
    assert (kept / RUN_FILE).is_file()
    shards = [row for number in (1, 2) for row in read_rows(run / Shard(number, 2).folder)]
    assert sorted(map(str, read_rows(run))) == sorted(map(str, shards))
    merge_shards(run, places.append)
    assert places == [kept]


def test_folder_without_shards_says_how_to_make_some(tmp_path: Path) -> None:
    with pytest.raises(RowStoreError, match=r"no shards in .*agentsafe score AGENT --shard 1/4 --out"):
        merge_shards(tmp_path)


@pytest.mark.parametrize("text", ["", "2", "0/4", "5/4", "-1/4", "1/0", "a/b", "1/4/2", "1 / 4", "1.0/4"])
def test_shard_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected I/N with I from 1 to N"):
        Shard.parse(text)


def test_shard_is_read_from_text() -> None:
    assert Shard.parse("2/4") == Shard(2, 4)


@given(
    st.dictionaries(st.sampled_from(SPLITS), st.integers(1, 2), min_size=1),
    st.integers(1, 3),
    st.sampled_from(["public", "dev", "train"]),
    st.integers(0, 99),
)
def test_run_remembers_its_suite(tasks: Any, trials: int, pool: Any, first_seed: int) -> None:
    suite = Suite("mine", tasks, trials=trials, pool=pool, first_seed=first_seed)
    record = read_back(suite)
    assert Suite.from_record(record) == suite
    assert Suite.from_record(record).keys() == suite.keys()


def read_back(suite: Suite) -> Any:
    from agentsafe_envs.runs.rows import AgentRecord, RunRecord

    agent = AgentRecord(name="a", settings={})
    record = RunRecord(schema_version=1, suite=suite.record(), agent=agent, plan=suite.plan())
    return RunRecord.model_validate(json.loads(json.dumps(record.model_dump(), sort_keys=True)))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda plan: plan | {"first_seed": 3}, "are others in this release"),
        (lambda plan: {}, "of scripted:null's run cannot be followed: KeyError: 'tasks'"),
        (lambda plan: plan | {"tasks": 7}, "cannot be followed: TypeError"),
        (lambda plan: plan | {"environments": ["Nope-v0"]}, "no environment 'Nope-v0'"),
        (lambda plan: plan | {"colour": "blue"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_suite_that_cannot_be_recalled_is_refused(tmp_path: Path, change: Any, complaint: str) -> None:
    play_shards("scripted:null", QUICK, tmp_path, 1, parts=2)
    run = read_run(tmp_path / Shard(1, 2).folder)
    with pytest.raises(RowStoreError, match=complaint):
        Suite.from_record(run.model_copy(update={"plan": change(run.plan)}))


def test_run_without_a_plan_is_that_of_the_suite_it_names_or_refused(tmp_path: Path) -> None:
    play_suite("scripted:null", QUICK, tmp_path, shard=Shard(1, 20))
    run = read_run(tmp_path).model_copy(update={"plan": None})
    assert Suite.from_record(run) == QUICK
    other = run.suite.model_copy(update={"digest": "another"})
    with pytest.raises(RowStoreError, match="does not say what its suite quick consisted of"):
        Suite.from_record(run.model_copy(update={"suite": other}))


def test_plan_names_every_environment_that_is_played() -> None:
    assert QUICK.plan()["environments"] == HEADLINE
