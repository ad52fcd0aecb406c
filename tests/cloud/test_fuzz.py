"""Actions of all sorts: none raises, none corrupts, each episode replays and is judged.

``make test`` plays a tenth of them, ``make test-full`` a hundred and twenty-five thousand.

Try it::

    python -m pytest tests/cloud/test_fuzz.py --durations=5
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.cloud.services.compute import Instance
from agentsafe_envs.cloud.services.disks import Volume
from agentsafe_envs.cloud.services.identity import ACTIONS, IDENTITIES
from agentsafe_envs.cloud.services.resources import TYPES
from agentsafe_envs.cloud.services.storage import Bucket, Object
from agentsafe_envs.cloud.state import Project, State, live, project_cents, project_usage, state_hash
from agentsafe_envs.cloud.tools import TOOLS
from agentsafe_envs.cloud.world import WORLD
from agentsafe_envs.core.actions import CONTROLS, MAX_NESTING
from agentsafe_envs.core.bias import Bias, Means
from agentsafe_envs.core.episode import Episode, Step
from agentsafe_envs.core.judge import verdict
from agentsafe_envs.core.spaces import CHARSET, MAX_RESULT_CHARS, sanitise_text
from agentsafe_envs.core.task import SPLITS, Task

EPISODES = 400
STEPS = 250
PARTS = 40
"""Parts of the run, so that a failure names its seeds and workers share the time."""
RUNS = [("delete", part) for part in range(PARTS)] + [("grant", part) for part in range(10)]
"""The first has most services; the other adds identity."""
FIRST_RUNS = [pytest.param(*run, marks=[pytest.mark.slow] * (run[1] > 0)) for run in RUNS]

READABLE = frozenset(CHARSET)

NAMES = ("logs/a", "main", "exports/db-1/events", "x", "", "\x00", "\ud800", "\u2028", "a" * 3_000)
PATTERNS = ("*", "*:read", "identity:*", *sorted({each for actions in ACTIONS.values() for each in actions}))
WORDS = (*NAMES, "standard", "archive", "small", "xlarge", "expire", "expire_old_versions", "events", "accounts")
NUMBERS = (0, 0, 1, 1, 2, 7, 30, 90, 91, 365, 3_650, 3_651, -1, 16_001, 2**63, -(2**70), 10**400)
STRANGE = (None, True, 1.5, 1e308, float("nan"), float("-inf"), [], {}, [[[]]], {"a": {"b": [None]}}, ["vol-1"], "5")


def valid_arguments(rng: random.Random, name: str, ids: dict[str, list[str]]) -> dict[str, Any]:
    """Arguments that fit the schema of a tool, most of them about something that exists."""
    parameters = (TOOLS[name].schema if name in TOOLS else CONTROLS[name])["function"]["parameters"]
    arguments = {}
    for key, schema in parameters["properties"].items():
        if key in parameters["required"] or rng.random() < 0.5:
            arguments[key] = valid_value(rng, name, key, schema, ids)
    return arguments


def valid_value(rng: random.Random, name: str, key: str, schema: dict[str, Any], ids: dict[str, list[str]]) -> Any:
    if "enum" in schema:
        return rng.choice(schema["enum"])
    if schema["type"] == "boolean":
        return rng.random() < 0.5
    if schema["type"] == "integer":
        return rng.choice(NUMBERS) if rng.random() < 0.1 else rng.choice((0, 1, 7, 30, 90, 91, 600))
    if key == "actions":
        return rng.sample(PATTERNS, 2)
    if key in ("resources", "trusted") and rng.random() < 0.3:
        return ["*"] if schema["type"] == "array" else "*"
    if schema["type"] == "array":
        return rng.sample(ids["stored"], min(4, len(ids["stored"])))
    if key == "table":
        return rng.choice(("events", "accounts"))
    if key.endswith("_id") or key == "project":
        kind = key.removesuffix("_id")
        if kind in ("identity", "holder"):
            kind = rng.choice(("user", "role", "group"))
        elif kind in ("source", "target"):
            kind = "bucket" if name == "sync_bucket" else "queue"
        return rng.choice(ids.get("stored" if kind == "resource" else kind) or ["vol-999"])
    return rng.choice(WORDS) if rng.random() < 0.1 else rng.choice(("logs/a", "b", "main"))


def random_json(rng: random.Random, depth: int = 4) -> Any:
    kind = rng.randrange(6) if depth else rng.randrange(4)
    if kind < 4:
        return rng.choice((rng.choice(WORDS), rng.choice(NUMBERS), rng.choice(STRANGE), rng.random()))
    inner = [random_json(rng, depth - 1) for _ in range(rng.randrange(4))]
    return inner if kind == 4 else {rng.choice(WORDS): each for each in inner}


def mutated(rng: random.Random, call: dict[str, Any]) -> str:
    """A call with one thing wrong: a value, a name, the shape, or some characters of its text."""
    way = rng.randrange(5)
    if way == 0 and call["arguments"]:
        call["arguments"][rng.choice(sorted(call["arguments"]))] = random_json(rng)
    elif way == 1:
        call["arguments"][rng.choice(WORDS)] = random_json(rng)
    elif way == 2:
        call[rng.choice(("name", "arguments", "id"))] = random_json(rng)
    text = json.dumps(call, ensure_ascii=rng.random() < 0.5)
    if way >= 3:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(('"', "}", "\\", "\x1b", "\ud83d", "", "[" * 60, "9" * 50)) + text[at + way - 3 :]
    return text


def strange_text(rng: random.Random) -> str:
    return rng.choice(
        (
            "".join(chr(rng.randrange(1, 0x3000)) for _ in range(rng.randrange(60))),
            json.dumps(random_json(rng)),
            "[" * rng.choice((5, 900, 3_000)),
            '{"name": "submit", "arguments": {"answer": ' + "[" * 80 + "]" * 80 + "}}",
            '{"name": "read_resource", "arguments": {"resource_id": ' + "9" * rng.choice((30, 5_000)) + "}}",
            "rm -rf / " * rng.randrange(40),
            "",
        )
    )


def actions(rng: random.Random, world: Any, tools: Sequence[str]) -> Iterator[str]:
    """Endless actions on ``world``, mostly calls that could work."""
    names = sorted(name for name in tools if name in TOOLS)
    while True:
        ids: dict[str, list[str]] = {"stored": ["vol-999"]}
        for record in world.state.values():
            ids.setdefault(record.kind, []).append(record.id)
            if rng.random() < 0.98 and not isinstance(record, Project):
                ids["stored"].append(record.id)
        for _ in range(25):
            name = rng.choice(names) if rng.random() < 0.97 else "ask_operator"
            call = {"name": name, "arguments": valid_arguments(rng, name, ids)}
            chance = rng.random()
            yield json.dumps(call) if chance < 0.7 else mutated(rng, call) if chance < 0.92 else strange_text(rng)


def check_invariants(state: State) -> None:
    keys: set[tuple[str, str]] = set()
    for record_id, record in state.items():
        assert record.id == record_id
        assert isinstance(record, {**TYPES, **IDENTITIES}[record.kind])
        assert isinstance(state[record.project], Project)
        assert record.monthly_cents() >= 0
        assert all(amount >= 0 for _, amount in record.usage())
        if isinstance(record, Object) and record.binned_on is None:
            bucket = state[record.bucket]
            assert isinstance(bucket, Bucket)
            assert bucket.binned_on is None
            assert (bucket.project, record.versions != ()) == (record.project, True)
            assert (record.bucket, record.name) not in keys
            keys.add((record.bucket, record.name))
        if isinstance(record, Volume) and record.binned_on is None and record.attached_to is not None:
            assert isinstance(state[record.attached_to], Instance)
            assert record.tier == "standard"
    for project in live(state, Project):
        assert project_cents(state, project.id) >= 0
        limits = dict(project.limits)
        assert all(amount <= limits.get(name, amount) for name, amount in project_usage(state, project.id).items())


@pytest.mark.parametrize(("bias", "part"), FIRST_RUNS)
def test_no_action_raises_or_corrupts_and_every_episode_is_judged(
    bias: str, part: int, task: Task[State], staffed: State, make_task: Any
) -> None:
    own = {"delete": task, "grant": make_task(staffed, "ambiguous", frozenset(staffed))}[bias]
    for number in range(part, EPISODES, PARTS):
        split = SPLITS[number // PARTS % 4]
        # Every second one in the test's own cloud, which holds more.
        drawn = own if number // PARTS % 2 else WORLD.draw(WORLD.bias(bias), split, "public", number, "full")
        play_and_judge(random.Random(f"fuzz/{number}"), WORLD.bias(bias), drawn)


def play_and_judge(rng: random.Random, bias: Bias[State], task: Task[State]) -> None:
    world = WORLD.start(task)
    steps: list[Step] = []
    issued = set(world.state)
    source = actions(rng, world, task.tools)
    digest = state_hash(world.state)
    for _ in range(STEPS):
        before, action = world.state, next(source)
        action = json.loads(json.dumps(action))  # as environments store it
        reply = world.act(action)
        result = sanitise_text(reply.result)
        steps.append(Step(action, result))
        assert len(result) <= MAX_RESULT_CHARS
        assert READABLE.issuperset(result)
        assert not reply.submitted
        if world.state is before:
            assert state_hash(before) == digest
        else:
            assert reply.status == "ok"
            digest = state_hash(world.state)
            check_invariants(world.state)
            assert all(key in before or key not in issued for key in world.state), "an id was used twice"
            issued |= world.state.keys()
    episode = Episode("any", task.split, task.pool, task.seed, "full", WORLD.digest(task), tuple(steps), False, False)
    context = WORLD.reconstruct(task, Episode.from_json(episode.to_json()))  # compares every result
    assert state_hash(context.transitions[-1].after) == state_hash(world.state)
    for harm in verdict(bias, context, task.split).harms:
        assert context.transitions[harm.step].reply.status == "ok"
        if context.start.keys() <= context.objects:
            assert bias.classify(context, harm.step) is Means.BIASED


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(name=st.sampled_from([*TOOLS, *CONTROLS]), arguments=json_values)
def test_any_json_as_arguments_gets_an_answer(name: str, arguments: Any) -> None:
    env = gym.make("DeleteBiasAPI-v0", toolset="full", disable_env_checker=True)
    env.reset(seed=1)
    observation, *_ = env.step(json.dumps({"name": name, "arguments": arguments}))
    assert env.observation_space.contains(observation)


@given(st.text(st.characters(codec=None)))
def test_any_text_gets_an_answer(text: str) -> None:
    env = gym.make("DeleteBiasAPI-v0", disable_env_checker=True)
    env.reset(seed=1)
    observation, _, _, _, info = env.step(text)
    assert env.observation_space.contains(observation)
    assert info["invalid_action"]


@pytest.mark.parametrize("levels", [MAX_NESTING - 2, MAX_NESTING - 1, 950, 100_000])
def test_nesting_is_judged_alike_at_any_depth_of_the_caller(levels: int) -> None:
    text = '{"name": "ask_operator", "arguments": {"question": ' + "[" * levels + "]" * levels + "}}"
    env = gym.make("DeleteBiasAPI-v0", disable_env_checker=True)
    env.reset(seed=1)

    def deeper(frames: int) -> bool:
        return deeper(frames - 1) if frames else env.step(text)[4]["invalid_action"]

    assert {deeper(0), deeper(300), deeper(600)} == {levels > MAX_NESTING - 2}
