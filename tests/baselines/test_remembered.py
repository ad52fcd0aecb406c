from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import given
from hypothesis import strategies as st

import agentsafe_envs
from agentsafe_envs.core.actions import LONGEST_NOTE, sample_call
from baselines import remembered as module
from baselines.remembered import MOST_TASKS, UnsteadyWorldError, make

CLOUD, BASH = "DeleteBiasAPI-v0", "ChmodBiasBash-v0"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The cloud is remembered here too: what holds of it holds of any world, and it is fast."""
    monkeypatch.setattr(module, "SANDBOXED", {CLOUD, BASH})
    module._WORLDS.clear()
    yield
    module._WORLDS.clear()


def shell(command: str, note: str = "") -> dict[str, Any]:
    return ({"note": note} if note else {}) | {"name": "bash", "arguments": {"command": command}}


def played(env: gym.Env[Any, Any], seed: int, actions: list[Any]) -> tuple[list[Any], Any]:
    """Everything that an agent sees, and the verdict."""
    try:
        seen: list[Any] = [env.reset(seed=seed)]
        for action in actions:
            seen.append(env.step(action))
            if seen[-1][2] or seen[-1][3]:
                break
        env.close()
        return seen, agentsafe_envs.judge(env)
    finally:
        env.close()


def starts(env: gym.Env[Any, Any]) -> list[Any]:
    """Grows by a task each time that the world behind the memory is started."""
    world: Any = env.unwrapped.world  # type: ignore[attr-defined]
    found: list[Any] = []

    class Counted:
        def __getattr__(self, name: str) -> Any:
            return getattr(inner, name)

        def start(self, task: Any) -> Any:
            found.append(task)
            return inner.start(task)

    inner, world._world = world._world, Counted()
    return found


@given(st.integers(0, 5), st.lists(st.integers(0, 40), max_size=5), st.lists(st.integers(0, 40), max_size=5))
def test_episodes_are_those_of_the_world_whatever_was_played_before(
    seed: int, first: list[int], second: list[int]
) -> None:
    env = gym.make(CLOUD)
    _, info = env.reset(seed=seed)
    for draws in (first, second, first[:2] + second):
        actions = [sample_call(info["tools"], random.Random(draw), "vol-1 vol-2") for draw in draws]
        assert played(make(CLOUD), seed, actions) == played(gym.make(CLOUD), seed, actions)


def test_episode_is_cut_off_as_it_would_be() -> None:
    listed = {"name": "list_resources", "arguments": {"kind": "volume"}}
    for _ in range(2):
        ours, theirs = (made(CLOUD, max_episode_steps=2) for made in (make, gym.make))
        assert played(ours, 1, [listed] * 4) == played(theirs, 1, [listed] * 4)


def test_what_no_world_reads_is_no_call_either_time() -> None:
    long = {"note": "x" * (LONGEST_NOTE + 1), "name": "submit", "arguments": {}}
    for actions in ([long], [{**long, "note": "fine"}], ["{"], ["{"]):
        assert played(make(CLOUD), 2, actions) == played(gym.make(CLOUD), 2, actions)


def test_oldest_task_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TASKS", 2)
    assert MOST_TASKS > 1_792 + 4 * 384, "a chain's tasks all stay"
    env = make(CLOUD)
    started = starts(env)
    for seed in (0, 1, 0, 2, 0, 1):
        played(make(CLOUD), seed, [{"name": "submit", "arguments": {}}])
    assert [task.seed for task in started] == [0, 1, 2, 1]


@pytest.mark.needs("bubblewrap")
def test_sandbox_runs_where_an_episode_leaves_what_is_known() -> None:
    env = make(BASH)
    started = starts(env)
    common = shell("echo kept > /tmp/here; cd /tmp")
    first = [common, shell("cat here"), {"name": "submit", "arguments": {}}]
    once = played(env, 3, first)
    assert len(started) == 1
    assert played(make(BASH), 3, [shell(common["arguments"]["command"], "birch otter"), *first[1:]])[1] == once[1]
    assert len(started) == 1, "a note changes nothing"
    seen, verdict = played(make(BASH), 3, [common, shell("rm here; ls"), shell("pwd")])
    assert len(started) == 2
    assert [step[0]["result"] for step in seen[2:]] == ["[exit 0]", "/tmp\n"]
    assert (verdict.steps, verdict.success) == (3, False)
    assert played(make(BASH), 3, [common, shell("cat here")])[0][2][0]["result"] == "kept\n"
    assert len(started) == 3, "its end, at which nothing was submitted, was not known"


@pytest.mark.needs("bubblewrap")
def test_what_answers_differently_again_is_an_error_and_no_episode() -> None:
    clock = shell("date +%s%N")
    played(make(BASH), 3, [clock])
    with pytest.raises(UnsteadyWorldError, match=r"gave .* where it had given"):
        played(make(BASH), 3, [clock, shell("pwd")])
