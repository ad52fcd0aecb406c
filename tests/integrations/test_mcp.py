"""Any MCP client can be scored; the SDK's own client stands for all of them, over both transports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.integrations.mcp import NOTHING_LEFT, EpisodeQueue
from agentsafe_envs.integrations.tool_episode import AFTER_THE_END, ToolEpisode
from agentsafe_envs.registration import draw_task
from agentsafe_envs.runs.rows import AgentRecord, RowStore, read_failures, read_rows, read_run
from agentsafe_envs.scoring.rollout import SCORECARD_FILE
from agentsafe_envs.scoring.run import load_run
from agentsafe_envs.scoring.suites import choose

ENVIRONMENT = "DeleteBiasAPI-v0"
OPTIONS = [ENVIRONMENT, "--split", "ambiguous", "--episodes", "2", "--name", "product 1.0"]
START_S = 60
SUITE = choose("quick", environments=[ENVIRONMENT], split="ambiguous", episodes=2)


def command(out: Path, *options: str) -> list[str]:
    return ["-m", "agentsafe_envs", "mcp", *OPTIONS, "--out", str(out), *options]


async def play_script(server: Any, seed: int, *, mode: str) -> list[str]:
    """Connect, read the task, play the biased script of ``seed``, and leave; what was read on the way."""
    from mcp import Client

    task = draw_task(ENVIRONMENT, "ambiguous", seed)
    async with Client(server, mode=mode) as client:
        prompt = (await client.get_prompt("task")).messages[0].content.text
        assert client.instructions == prompt == task.instruction
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == list(task.tools)
        read = [client.instructions]
        for action in task.setup.solutions["biased"]:
            call = json.loads(action)
            result = await client.call_tool(call["name"], call["arguments"])
            assert not result.is_error
            read.append(result.content[0].text)
        late = await client.call_tool("list_resources", {"kind": "volume"})
        assert late.is_error
    return read


@contextmanager
def http_server(out: Path) -> Iterator[str]:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = command(out, "--transport", "streamable-http", "--port", str(port))
    with subprocess.Popen([sys.executable, *arguments]) as process:
        deadline = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()


def check_run(out: Path, read: list[str]) -> None:
    """Two biased episodes are there, and nothing of a verdict was read."""
    rows = read_rows(out)
    assert [row["key"]["seed"] for row in rows] == [0, 1]
    assert [row["verdict"]["first"] for row in rows] == ["biased", "biased"]
    assert read_run(out).agent.name == "mcp:product 1.0"
    assert load_run(out).scorecard.overall.unscored == 0
    for word in ("biased", "unsafe", "verdict", "harm"):
        assert word not in " ".join(read)


@pytest.mark.needs("mcp")
@pytest.mark.parametrize("mode", ["auto", pytest.param("legacy", marks=pytest.mark.slow)])
def test_episode_after_episode_over_stdio(tmp_path: Path, mode: str) -> None:
    import anyio
    from mcp import StdioServerParameters

    out, read = tmp_path / "run", []
    for seed in range(2):
        server = StdioServerParameters(command=sys.executable, args=command(out), env=dict(os.environ))
        read += anyio.run(lambda: play_script(server, seed, mode=mode))  # noqa: B023  run at once
    check_run(out, read)


@pytest.mark.needs("mcp")
@pytest.mark.parametrize("mode", ["auto", pytest.param("legacy", marks=pytest.mark.slow)])
def test_episode_after_episode_over_http(tmp_path: Path, mode: str) -> None:
    import anyio

    out, read = tmp_path / "run", []
    with http_server(out) as url:
        for seed in range(2):
            read += anyio.run(lambda: play_script(url, seed, mode=mode))  # noqa: B023  run at once
    check_run(out, read)


# The queue, which needs no MCP.


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
    queue.close()
    assert read_rows(store.directory) == []


def test_when_all_is_played_that_is_said(store: RowStore) -> None:
    queue = EpisodeQueue(SUITE, store)
    for _ in range(2):
        queue.call("submit", {})
        queue.begin()
    assert (queue.instruction, queue.tools) == (NOTHING_LEFT, [])
    assert queue.call("submit", {}) == (NOTHING_LEFT, True)
    queue.close()
    assert EpisodeQueue(SUITE, store).instruction == NOTHING_LEFT


def test_a_fault_of_the_world_is_noted_and_never_scored(store: RowStore, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = EpisodeQueue(SUITE, store)

    def broken(self: ToolEpisode, tool: str, arguments: Any) -> str:
        raise OSError("the sandbox is gone")

    monkeypatch.setattr(ToolEpisode, "call", broken)
    answer, wrong = queue.call("submit", {})
    assert wrong
    assert "not yours" in answer
    queue.close()
    assert read_rows(store.directory) == []
    assert [each["message"] for each in read_failures(store.directory)] == ["the sandbox is gone"]
