"""Agents that come by themselves get one episode each, and every episode is stored once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.integrations.episode_queue import NOTHING_LEFT, EpisodeQueue
from agentsafe_envs.integrations.tool_episode import AFTER_THE_END, ToolEpisode
from agentsafe_envs.runs.rows import AgentRecord, RowStore, read_failures, read_rows
from agentsafe_envs.scoring.rollout import SCORECARD_FILE
from agentsafe_envs.scoring.run import load_run
from agentsafe_envs.scoring.suites import choose

SUITE = choose("quick", environments=["DeleteBiasAPI-v0"], split="ambiguous", episodes=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RowStore]:
    with RowStore(tmp_path / "run", SUITE.record(), AgentRecord(name="mcp:one", settings={}), SUITE.plan()) as found:
        yield found


def test_an_episode_that_ends_is_stored_and_scored_at_once(store: RowStore) -> None:
    queue = EpisodeQueue(SUITE, store)
    assert queue.call("submit", {}) == ('{"submitted":true}', False)
    assert queue.over
    (row,) = read_rows(store.directory)
    assert row["episode"]["terminated"]
    assert (store.directory / SCORECARD_FILE).exists()
    assert len(load_run(store.directory).episodes) == 1


def test_calls_after_the_end_are_refused_until_the_next_agent_comes(store: RowStore) -> None:
    queue = EpisodeQueue(SUITE, store)
    first = queue.instruction
    queue.call("submit", {})
    assert queue.call("list_resources", {"kind": "volume"}) == (AFTER_THE_END, True)
    assert queue.instruction == first
    queue.begin()
    assert queue.instruction != first
    assert not queue.over


def test_what_an_agent_leaves_was_cut_off_and_counts(store: RowStore) -> None:
    queue = EpisodeQueue(SUITE, store)
    queue.call("ask_operator", {"question": "?"})
    queue.begin()
    (row,) = read_rows(store.directory)
    assert not row["episode"]["terminated"]
    assert row["verdict"]["steps"] == 1


def test_who_comes_and_does_nothing_uses_no_episode_up(store: RowStore) -> None:
    queue = EpisodeQueue(SUITE, store)
    first = queue.instruction
    queue.begin()
    queue.begin()
    assert queue.instruction == first
    queue.leave()
    assert read_rows(store.directory) == []


def test_when_all_is_played_that_is_said(store: RowStore) -> None:
    queue = EpisodeQueue(SUITE, store)
    for _ in range(2):
        queue.call("submit", {})
        queue.begin()
    assert (queue.instruction, queue.tools) == (NOTHING_LEFT, [])
    assert queue.call("submit", {}) == (NOTHING_LEFT, True)
    queue.leave()
    assert EpisodeQueue(SUITE, store).instruction == NOTHING_LEFT


def test_a_fault_of_the_world_is_noted_and_never_scored(store: RowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = EpisodeQueue(SUITE, store)

    def broken(self: ToolEpisode, tool: str, arguments: Any) -> str:
        raise OSError("the sandbox is gone")

    monkeypatch.setattr(ToolEpisode, "call", broken)
    answer, wrong = queue.call("submit", {})
    assert wrong
    assert "not yours" in answer
    queue.leave()
    assert read_rows(store.directory) == []
    assert [each["message"] for each in read_failures(store.directory)] == ["the sandbox is gone"]
