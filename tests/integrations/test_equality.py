"""The same seed and actions give the same bytes through plain Gymnasium and through every adapter.

`make test-adapter ADAPTER=mcp` runs this for one adapter with the newest release of its package.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import agentsafe_envs
from agentsafe_envs.core.episode import Episode
from agentsafe_envs.integrations.episode_queue import EpisodeQueue
from agentsafe_envs.integrations.tool_episode import ToolEpisode
from agentsafe_envs.registration import TABLE, draw_task
from agentsafe_envs.runs.rows import AgentRecord, RowStore, read_rows
from agentsafe_envs.scoring.suites import Suite

Call = dict[str, Any]
ODD: list[Call] = [{"name": "no_such_tool", "arguments": {}}, {"name": "ask_operator", "arguments": {"to": 7}}]
SPLIT, SEED, POOL = "ambiguous", 3, "train"


def plain(environment: str, calls: list[Call]) -> Episode:
    env: Any = gym.make(environment, split=SPLIT, pool=POOL, disable_env_checker=True)
    env.reset(seed=SEED)
    for call in calls:
        env.step(json.dumps(call))
    env.close()
    return env.unwrapped.episode


def through_tool_episode(environment: str, calls: list[Call], folder: Path) -> Any:
    episode = ToolEpisode(environment, SPLIT, SEED, pool=POOL)
    for call in calls:
        episode.call(call["name"], call["arguments"])
    return episode.end().row["episode"]


def through_mcp(environment: str, calls: list[Call], folder: Path) -> Any:
    import anyio
    from mcp import Client

    from agentsafe_envs.integrations.mcp import mcp_server

    suite = Suite("equality", {SPLIT: 1}, environments=(environment,), pool=POOL, first_seed=SEED)

    async def play(server: Any) -> None:
        async with Client(server) as client:
            for call in calls:
                await client.call_tool(call["name"], call["arguments"])

    with RowStore(folder, suite.record(), AgentRecord(name="mcp:test", settings={}), suite.plan()) as store:
        queue = EpisodeQueue(suite, store)
        anyio.run(play, mcp_server(queue))
        queue.leave()
    return read_rows(folder)[0]["episode"]


def through_inspect(environment: str, calls: list[Call], folder: Path) -> Any:
    from inspect_ai import eval as evaluate
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    from agentsafe_envs.integrations.inspect import inspect_task
    from agentsafe_envs.integrations.inspect_verdict import EPISODE

    outputs = [ModelOutput.for_tool_call("mockllm", call["name"], call["arguments"]) for call in calls]
    for output in outputs:
        output.usage = ModelUsage()
    model = get_model("mockllm/model", custom_outputs=outputs)
    task = inspect_task(environment, SPLIT, "standard", 1, SEED, POOL)
    (log,) = evaluate(task, model=model, log_dir=str(folder), display="none")
    return log.samples[0].store[EPISODE]


def through_trl(environment: str, calls: list[Call], folder: Path) -> Any:
    from agentsafe_envs.integrations.trl import grpo_tasks

    tasks = grpo_tasks(environment, [SEED], split=SPLIT, pool=POOL)
    (row,) = tasks.rows
    episode = tasks.factories[row["environment"]]()
    episode.reset(**row)
    for call in calls:
        getattr(episode, call["name"])(**call["arguments"])
    return episode.played.end().row["episode"]


def through_openenv(environment: str, calls: list[Call], folder: Path) -> Any:
    from agentsafe_envs.integrations.openenv import CallAction, OpenEnvEpisodes

    served = OpenEnvEpisodes(environment, SPLIT, POOL, 20, costs=False)
    served.reset(seed=SEED)
    for call in calls:
        served.step(CallAction(**call))
    assert served.played is not None
    return served.played.end().row["episode"]


def through_ray(environment: str, calls: list[Call], folder: Path) -> Any:
    from agentsafe_envs.agents.callable import as_agent
    from agentsafe_envs.scoring.cluster import Cluster
    from agentsafe_envs.scoring.rollout import play_suite

    agent = as_agent(lambda conversation: calls[len(conversation.steps)])
    suite = Suite("equality", {SPLIT: 1}, environments=(environment,), pool=POOL, first_seed=SEED)
    play_suite(agent, suite, folder, cluster=Cluster(at_a_time=1))
    return read_rows(folder)[0]["episode"]


SLOW = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # what their packages warn of is not ours
ADAPTERS = [
    pytest.param(through_tool_episode, id="tool_episode"),
    pytest.param(through_mcp, id="mcp", marks=pytest.mark.needs("mcp")),
    pytest.param(through_inspect, id="inspect", marks=[pytest.mark.needs("inspect"), *SLOW]),
    pytest.param(through_trl, id="trl"),
    pytest.param(through_openenv, id="openenv", marks=[pytest.mark.needs("openenv"), *SLOW]),
    pytest.param(through_ray, id="ray", marks=[pytest.mark.needs("ray"), *SLOW]),
]
SHARED = {"__init__", "episode_queue", "tool_episode"}
HELD_OUT_TRACK = {"remote", "remote_client", "remote_play"}


@pytest.mark.parametrize("environment", [row.id for row in TABLE])
@pytest.mark.parametrize("through", ADAPTERS)
def test_an_episode_is_the_same_bytes_through_every_adapter(
    through: Callable[..., Any], environment: str, tmp_path: Path
) -> None:
    script = draw_task(environment, SPLIT, SEED, POOL).setup.solutions["biased"]
    odd = [] if through is through_trl else ODD  # TRL answers calls of unknown tools itself
    calls = [*odd, *map(json.loads, script)]
    expected = plain(environment, calls)
    found = through(environment, calls, tmp_path)
    assert json.dumps(found, sort_keys=True) == json.dumps(expected.to_dict(), sort_keys=True)
    assert agentsafe_envs.judge(Episode.from_dict(found)) == agentsafe_envs.judge(expected)


def test_every_adapter_is_thin_and_held_to_this() -> None:
    folder = Path(agentsafe_envs.__file__).parent / "integrations"
    adapters = {
        path.stem: len(path.read_text(encoding="utf-8").splitlines())
        for path in folder.glob("*.py")
        if path.stem not in SHARED | HELD_OUT_TRACK
    }
    assert {name: lines for name, lines in adapters.items() if lines > 100} == {}
    # One judges what another plays, and one plays scripts alone.
    assert adapters.keys() - {"inspect_verdict", "margin"} <= {each.id for each in ADAPTERS}
