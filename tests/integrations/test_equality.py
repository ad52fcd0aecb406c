"""The same seed and actions give the same bytes through plain Gymnasium and through every adapter.

`make test-adapter ADAPTER=mcp` runs this for one adapter with the newest release of its package.
"""

from __future__ import annotations

import ast
import io
import json
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import pytest

import agentsafe_envs
from agentsafe_envs.core.episode import Episode
from agentsafe_envs.core.task import SPLITS, Pool, Split
from agentsafe_envs.integrations.tool_episode import ToolEpisode
from agentsafe_envs.registration import TABLE, draw_task
from agentsafe_envs.runs.rows import AgentRecord, RowStore, read_rows
from agentsafe_envs.scoring.suites import Suite

Call = dict[str, Any]
ODD: list[Call] = [{"name": "no_such_tool", "arguments": {}}, {"name": "ask_operator", "arguments": {"to": 7}}]
POOL: Pool = "train"


class Played(NamedTuple):
    """What an adapter plays, and with which calls."""

    environment: str
    split: Split
    seed: int
    calls: list[Call]


def plain(played: Played) -> Episode:
    env: Any = gym.make(played.environment, split=played.split, pool=POOL, disable_env_checker=True)
    env.reset(seed=played.seed)
    for call in played.calls:
        env.step(json.dumps(call))
    env.close()
    return env.unwrapped.episode


def through_tool_episode(played: Played, folder: Path) -> Any:
    episode = ToolEpisode(played.environment, played.split, played.seed, pool=POOL)
    for call in played.calls:
        episode.call(call["name"], call["arguments"])
    return episode.end().row["episode"]


def through_mcp(played: Played, folder: Path) -> Any:
    import anyio
    from mcp import Client

    from agentsafe_envs.integrations.mcp import EpisodeQueue, mcp_server

    suite = Suite("equality", {played.split: 1}, environments=(played.environment,), pool=POOL, first_seed=played.seed)

    async def play(server: Any) -> None:
        async with Client(server) as client:
            for call in played.calls:
                await client.call_tool(call["name"], call["arguments"])

    with RowStore(folder, suite.record(), AgentRecord(name="mcp:test", settings={}), suite.plan()) as store:
        queue = EpisodeQueue(suite, store)
        anyio.run(play, mcp_server(queue))
        queue.close()
    return read_rows(folder)[0]["episode"]


def through_inspect(played: Played, folder: Path) -> Any:
    from inspect_ai import eval as evaluate
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    from agentsafe_envs.integrations.inspect import EPISODE, inspect_task

    outputs = [ModelOutput.for_tool_call("mockllm", call["name"], call["arguments"]) for call in played.calls]
    for output in outputs:
        output.usage = ModelUsage()
    model = get_model("mockllm/model", custom_outputs=outputs)
    task = inspect_task(played.environment, played.split, "standard", 1, played.seed, POOL)
    (log,) = evaluate(task, model=model, log_dir=str(folder), display="none")
    return log.samples[0].store[EPISODE]


def through_trl(played: Played, folder: Path) -> Any:
    from agentsafe_envs.integrations.trl import grpo_tasks

    tasks = grpo_tasks(played.environment, [played.seed], split=played.split, pool=POOL)
    (row,) = tasks.rows
    episode = tasks.factories[row["environment"]]()
    episode.reset(**row)
    for call in played.calls:
        getattr(episode, call["name"])(**call["arguments"])
    return episode.played.end().row["episode"]


def through_openenv(played: Played, folder: Path) -> Any:
    from agentsafe_envs.integrations.openenv import CallAction, OpenEnvEpisodes

    served = OpenEnvEpisodes(played.environment, played.split, POOL, 20, costs=False)
    served.reset(seed=played.seed)
    for call in played.calls:
        served.step(CallAction(**call))
    assert served.played is not None
    return served.played.end().row["episode"]


@pytest.fixture(scope="module")
def started_ray() -> Iterator[None]:
    """One cluster for all, since its start takes longer than everything that is played on it."""
    import ray

    ray.init(address="local", log_to_driver=False, logging_level="WARNING", include_dashboard=False)
    yield
    ray.shutdown()


def through_ray(played: Played, folder: Path) -> Any:
    from agentsafe_envs.agents.callable import as_agent
    from agentsafe_envs.scoring.cluster import Cluster
    from agentsafe_envs.scoring.rollout import play_suite

    agent = as_agent(lambda conversation: played.calls[len(conversation.steps)])
    suite = Suite("equality", {played.split: 1}, environments=(played.environment,), pool=POOL, first_seed=played.seed)
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


@pytest.mark.parametrize("environment", [row.id for row in TABLE])
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("through", ADAPTERS)
def test_an_episode_is_the_same_bytes_through_every_adapter(
    through: Callable[..., Any], split: Split, environment: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if through is through_ray:
        request.getfixturevalue("started_ray")
    seed = 3 + SPLITS.index(split)
    script = draw_task(environment, split, seed, POOL).setup.solutions["biased"]
    odd = [] if through is through_trl else ODD  # TRL answers calls of unknown tools itself
    played = Played(environment, split, seed, [*odd, *map(json.loads, script)])
    expected = plain(played)
    found = through(played, tmp_path)
    assert json.dumps(found, sort_keys=True) == json.dumps(expected.to_dict(), sort_keys=True)
    assert agentsafe_envs.judge(Episode.from_dict(found)) == agentsafe_envs.judge(expected)


HELD_OUT_TRACK = {"remote", "remote_client", "remote_play"}  # plays a board, which is ours
LONGEST = 100


def test_every_adapter_has_at_most_100_lines_of_code_and_is_held_to_this() -> None:
    package = Path(agentsafe_envs.__file__).parent
    files = {path.stem: path for path in (package / "integrations").glob("*.py")}
    files = {name: path for name, path in files.items() if name not in HELD_OUT_TRACK | {"__init__"}}
    files["ray"] = package / "scoring" / "cluster.py"
    sizes: Counter[str] = Counter()
    for name, path in files.items():
        users = [other for other, its in files.items() if f"integrations.{name} import" in its.read_text("utf-8")]
        if len(users) < 2:  # else it is a part of several
            sizes[users[0] if users else name] += code_lines(path.read_text("utf-8"))
    for path in (package / "integrations" / "lm_eval").iterdir():
        sizes["margin"] += len(path.read_text("utf-8").splitlines())
    assert {name: lines for name, lines in sizes.items() if lines > LONGEST} == {}
    assert sizes.keys() - {"margin"} <= {each.id for each in ADAPTERS}  # that one plays scripts alone


def code_lines(source: str) -> int:
    """Lines that hold more than a comment or a string that stands by itself, as docstrings do."""
    nodes = list(ast.walk(ast.parse(source)))
    strings = [node for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    said = {line for node in strings for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len(
        {
            line
            for each in tokens
            if each.string.strip() and each.type != tokenize.COMMENT
            for line in range(each.start[0], each.end[0] + 1)
        }
        - said
    )


def test_lines_of_code_are_counted() -> None:
    assert code_lines('"""One.\n\nTwo."""\n\nx = 1  # three\n# four\ny = [\n    2,\n]\n"""Of y."""\n') == 4
    assert code_lines('x = """a\n\nb"""\n') == 3
