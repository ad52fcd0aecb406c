"""How fast the environments are, beside a peer that is timed in the same run.

    make bench                                    # all of it, and docs/performance.md
    python -m pytest tests/benchmarks             # only the gate

A benchmark's group is one kind of work; `extra_info` tells docs/performance.py what a time stands
for. AgentDojo's are there where it is installed, as in `make bench`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from itertools import cycle, islice
from time import perf_counter, process_time
from typing import Any

import gymnasium as gym
import pytest

import agentsafe_envs
from agentsafe_envs.agents.protocol import Conversation
from agentsafe_envs.agents.scripted import script
from agentsafe_envs.core.episode import Step
from agentsafe_envs.registration import TABLE
from tests.benchmarks.beside import GRID, Beside, grid_step, own_garbage

ENV = "DeleteBiasAPI-v0"
CALLS = 200
"""Calls in one timed round; a round begins with a fresh episode."""
ROUNDS = 60
EPISODE_ROUNDS = 300
"""Twenty seconds and more: other machines on the same hardware slow this one for some of them."""
EPISODES = 48
"""Tasks of the public pool that are walked through: every template at least once."""
GATE = 0.1
"""Calls a second must be at least this share of CliffWalking's steps a second."""
SLOWEST = 2.5
"""Times that an episode of any cloud environment may take of one of ``ENV``; measured: 1.6 to 1.7 for grants."""
GROUP = 8
"""Episodes that SmolLM2 plays together."""

LONGEST_ANSWER = 24
"""Tokens. One answer that runs on holds up seven others: what is timed is not how often that happens."""
SMOLLM2_ROUNDS = {"first": 2, "later": 3}
"""Of a turn each."""

in_passes = pytest.mark.parametrize("timing", range(3))
"""Minutes apart, see conftest; the best pass counts."""

each_cloud = pytest.mark.parametrize("env_id", [row.id for row in TABLE if row.world == "cloud"])
agentdojo = pytest.mark.filterwarnings("ignore")
"""A peer's own warnings are none of ours."""


class Calls:
    """An environment and actions to repeat in it; calling it takes ``CALLS`` steps."""

    def __init__(self, env: gym.Env[Any, Any], actions: Sequence[Any]) -> None:
        self.env = env
        self.actions = list(islice(cycle(actions), CALLS))

    def reset(self) -> None:
        self.env.reset(seed=0)

    def __call__(self) -> None:
        step = self.env.step
        for action in self.actions:
            step(action)


def ours(choose: Callable[[Any], Sequence[tuple[str, dict[str, Any]]]]) -> Calls:
    """The calls that ``choose`` makes of the task of seed 0, none of which the world refuses."""
    env: Any = gym.make(ENV, max_episode_steps=CALLS + 1)
    env.reset(seed=0)
    planned = choose(env.unwrapped.task.setup)
    actions = [json.dumps({"name": name, "arguments": arguments}) for name, arguments in planned]
    assert not any("error" in json.loads(env.step(action)[0]["result"]) for action in actions)
    return Calls(env, actions)


def listing(setup: Any) -> list[tuple[str, dict[str, Any]]]:
    return [("list_resources", {"kind": setup.values["noun"], "project": setup.values["project"]})]


def detail(setup: Any) -> list[tuple[str, dict[str, Any]]]:
    return [("read_resource", {"resource_id": setup.targets[0]})]


def writing(setup: Any) -> list[tuple[str, dict[str, Any]]]:
    return [("set_tier", {"resource_id": setup.targets[0], "tier": tier}) for tier in ("archive", "standard")]


def grid() -> Calls:
    return Calls(gym.make(GRID), [0])


def timed(
    benchmark: Any,
    what: str,
    work: Any,
    *,
    peer: bool = False,
    each: int = CALLS,
    rounds: int = ROUNDS,
    compared: Callable[[], object] | None = None,
) -> None:
    """Time rounds of ``work``, which does ``each`` of what the page reports, after its ``reset`` if it has one.

    Each comes after a round of ``compared``, the peer's, or else after steps in a grid world.
    """
    beside, name = (Beside(compared, each), "peer_s") if compared else (grid_step(), "step_s")
    reset = getattr(work, "reset", None)

    def before() -> None:
        beside()
        if reset:
            reset()

    with own_garbage():
        benchmark.pedantic(work, setup=before, rounds=rounds, warmup_rounds=rounds // 20)
    benchmark.extra_info.update({"what": what, "each": each, "peer": peer, name: beside.median_s})


def test_calls_are_at_least_a_tenth_as_fast_as_steps_in_a_grid_world() -> None:
    found = {"list": ours(listing), "read": ours(detail), "write": ours(writing), "grid": grid()}
    best = dict.fromkeys(found, float("inf"))
    for _ in range(20):  # turn and turn about, so that a busy machine slows all alike
        for name, calls in found.items():
            calls.reset()
            start = perf_counter()
            calls()
            best[name] = min(best[name], perf_counter() - start)
        shares = {name: best["grid"] / seconds for name, seconds in best.items()}
        if min(shares.values()) >= GATE:
            return
    pytest.fail(f"speed as a share of {GRID}'s: {shares}, expected at least {GATE}")


@pytest.mark.benchmark(group="step")
def test_grid_world_step(benchmark: Any) -> None:
    timed(benchmark, f"{GRID}, one step", grid(), peer=True)


@pytest.mark.benchmark(group="list")
def test_list_resources(benchmark: Any) -> None:
    timed(benchmark, "list_resources, one page", ours(listing))


@pytest.mark.benchmark(group="read")
def test_read_resource(benchmark: Any) -> None:
    timed(benchmark, "read_resource", ours(detail))


@pytest.mark.benchmark(group="write")
def test_set_tier(benchmark: Any) -> None:
    timed(benchmark, "set_tier, there and back", ours(writing))


@each_cloud
@pytest.mark.benchmark(group="reset")
def test_reset(benchmark: Any, env_id: str) -> None:
    env = gym.make(env_id)

    def resets() -> None:
        for seed in range(EPISODES):
            env.reset(seed=seed)

    timed(benchmark, f"{env_id}, reset, all templates in turn", resets, each=EPISODES)


def whole_episodes(env_id: str, policy: str) -> Callable[[], None]:
    """``EPISODES`` resets, the steps of the script, and verdicts."""
    env: Any = gym.make(env_id)

    def episodes() -> None:
        for seed in range(EPISODES):
            env.reset(seed=seed)
            for action in script(env.unwrapped.task, policy):
                env.step(action)
            verdict = agentsafe_envs.judge(env.unwrapped.episode)
            assert verdict.success

    return episodes


def test_episodes_of_every_cloud_take_about_the_same_time() -> None:
    work = {row.id: whole_episodes(row.id, "biased") for row in TABLE if row.world == "cloud"}
    best = dict.fromkeys(work, float("inf"))
    for _ in range(20):  # turn and turn about, in processor time, so that a busy machine slows all alike
        for name, episodes in work.items():
            start = process_time()
            episodes()
            best[name] = min(best[name], process_time() - start)
        if max(best.values()) <= SLOWEST * best[ENV]:
            return
    pytest.fail(f"seconds for {EPISODES} episodes: {best}, expected at most {SLOWEST} times those of {ENV}")


@pytest.mark.parametrize("policy", ["biased", "cautious"])
@each_cloud
@in_passes
@pytest.mark.benchmark(group="episode")
def test_scripted_episode_with_judging(benchmark: Any, env_id: str, policy: str, timing: int) -> None:
    episodes = whole_episodes(env_id, policy)
    what = f"{env_id}, whole {policy} episode: reset, steps, judging"
    timed(benchmark, what, episodes, each=EPISODES, rounds=EPISODE_ROUNDS)


def banking_calls(function: str, arguments: dict[str, Any]) -> Callable[[], None]:
    """AgentDojo's executor answering one tool call of its banking suite ``CALLS`` times."""
    pytest.importorskip("agentdojo")
    from agentdojo.agent_pipeline import ToolsExecutor
    from agentdojo.functions_runtime import FunctionCall, FunctionsRuntime
    from agentdojo.task_suite.load_suites import get_suite

    suite = get_suite("v1", "banking")
    env, runtime, executor = (
        suite.load_and_inject_default_environment({}),
        FunctionsRuntime(suite.tools),
        ToolsExecutor(),
    )
    message: Any = {
        "role": "assistant",
        "content": None,
        "tool_calls": [FunctionCall(function=function, args=arguments)],
    }

    def calls() -> None:
        for _ in range(CALLS):
            *_, messages, _ = executor.query("", runtime, env, [message])
            assert messages[-1]["error"] is None  # type: ignore[typeddict-item]

    return calls


@agentdojo
@pytest.mark.benchmark(group="list")
def test_agentdojo_list(benchmark: Any) -> None:
    calls = banking_calls("get_most_recent_transactions", {"n": 8})
    timed(benchmark, "AgentDojo, get_most_recent_transactions(8)", calls, peer=True)


@agentdojo
@pytest.mark.benchmark(group="read")
def test_agentdojo_read(benchmark: Any) -> None:
    timed(benchmark, "AgentDojo, get_user_info", banking_calls("get_user_info", {}), peer=True)


@agentdojo
@pytest.mark.benchmark(group="write")
def test_agentdojo_write(benchmark: Any) -> None:
    calls = banking_calls("update_scheduled_transaction", {"id": 7, "amount": 3.5})
    timed(benchmark, "AgentDojo, update_scheduled_transaction", calls, peer=True)


@agentdojo
@pytest.mark.benchmark(group="reset")
def test_agentdojo_reset(benchmark: Any) -> None:
    pytest.importorskip("agentdojo")
    from agentdojo.task_suite.load_suites import get_suite

    suite = get_suite("v1", "banking")
    timed(benchmark, "AgentDojo, banking", lambda: suite.load_and_inject_default_environment({}), peer=True, each=1)


@agentdojo
@pytest.mark.benchmark(group="episode")
def test_agentdojo_gold_episode_with_grading(benchmark: Any) -> None:
    pytest.importorskip("agentdojo")
    from agentdojo.agent_pipeline import GroundTruthPipeline
    from agentdojo.task_suite.load_suites import get_suite

    suite = get_suite("v1", "banking")
    task = suite.get_user_task_by_id("user_task_0")
    pipeline = GroundTruthPipeline(task)

    def episode() -> None:
        success, _ = suite.run_task_with_pipeline(pipeline, task, injection_task=None, injections={})
        assert success

    timed(benchmark, "AgentDojo, gold episode of banking's user_task_0", episode, peer=True, each=1)


class Turns:
    """``GROUP`` episodes that SmolLM2 plays, ``size`` at a time; calling it takes one turn in each.

    The first turn reads instruction and tools, about 480 tokens; a later one reads the last answer.
    """

    def __init__(self, agent: Any, size: int) -> None:
        self._agent, self._size = agent, size
        self._groups: list[tuple[Any, list[gym.Env[Any, Any]], list[Conversation]]] = []
        self.begin()

    def begin(self) -> None:
        """Begin the episodes, so that the next turn is a first one."""
        self._groups.clear()
        for start in range(0, GROUP, self._size):
            seeds = range(start, start + self._size)
            envs = [gym.make(ENV) for _ in seeds]
            begun = [env.reset(seed=seed) for env, seed in zip(envs, seeds, strict=True)]
            player = copy.copy(self._agent)  # a cache of its own beside the shared weights
            player.start(seeds[0])
            self._groups.append(
                (player, envs, [Conversation(seen["instruction"], info["tools"]) for seen, info in begun])
            )

    def first(self) -> None:
        """Begin, and take a turn."""
        self.begin()
        self()

    def __call__(self) -> None:
        for player, envs, conversations in self._groups:
            for env, conversation, action in zip(envs, conversations, player.act(conversations), strict=True):
                observation, _, terminated, *_ = env.step(action)
                conversation.steps.append(Step(action, observation["result"]))
                if terminated:  # the model plays on, unaware; only its time counts here
                    env.reset()


@pytest.fixture(scope="module")
def smollm2() -> Any:
    from agentsafe_envs.agents.transformers import TransformersAgent

    return TransformersAgent("hf:smollm2", group_size=GROUP, max_new_tokens=LONGEST_ANSWER)


def smollm2_turn(agent: Any, size: int, when: str) -> tuple[str, Callable[[], None]]:
    """What a benchmark is called, and the turn that it takes."""
    import torch

    turns, together = Turns(agent, size), f"{size} together" if size > 1 else "one by one"
    if when == "later":
        turns()
    what = f"SmolLM2-135M (threads: {torch.get_num_threads()}), {when} turn, {together}"
    return what, turns.first if when == "first" else turns


@pytest.mark.slow
@pytest.mark.needs("smollm2")
@pytest.mark.parametrize("when", SMOLLM2_ROUNDS)
def test_smollm2_turn_one_by_one(benchmark: Any, smollm2: Any, when: str) -> None:
    benchmark.group = f"smollm2-{when}"
    timed(benchmark, *smollm2_turn(smollm2, 1, when), peer=True, each=GROUP, rounds=1)


@pytest.mark.slow
@pytest.mark.needs("smollm2")
@pytest.mark.parametrize("when", SMOLLM2_ROUNDS)
@in_passes
def test_smollm2_turn_together(benchmark: Any, smollm2: Any, when: str, timing: int) -> None:
    benchmark.group = f"smollm2-{when}"
    _, alone = smollm2_turn(smollm2, 1, when)  # turn and turn about, since the goal is a ratio
    together = smollm2_turn(smollm2, GROUP, when)
    timed(benchmark, *together, each=GROUP, rounds=SMOLLM2_ROUNDS[when], compared=alone)
