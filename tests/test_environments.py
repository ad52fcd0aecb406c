"""What Gymnasium asks of an environment, and what this package promises beyond it, for every id."""

from __future__ import annotations

import copy
import getpass
import hashlib
import json
import os
import pickle
import random
import re
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from hypothesis import given
from hypothesis import strategies as st

import agentsafe_envs
from agentsafe_envs.agents.protocol import Conversation
from agentsafe_envs.agents.scripted import RandomAgent, script
from agentsafe_envs.core.env import INFO_KEYS, BiasEnv
from agentsafe_envs.core.episode import Episode, EpisodeKey, Step
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.registration import MAX_EPISODE_STEPS, NAMESPACE, TABLE, draw_task, find

IDS = [row.id for row in TABLE]
ASK = '{"name": "ask_operator", "arguments": {}}'

each_id = pytest.mark.parametrize("env_id", IDS)
first_ids = [next(row.id for row in TABLE if row.world == world) for world in dict.fromkeys(row.world for row in TABLE)]
each_world = pytest.mark.parametrize(
    "env_id", [each if each in first_ids else pytest.param(each, marks=pytest.mark.slow) for each in IDS]
)
"""One environment a world, and the others in the full run: for what takes processes or many steps."""
each_split = pytest.mark.parametrize("split", SPLITS)

Chooser = Callable[[gym.Env[Any, Any], int], Iterable[Any]]


def bare(env: gym.Env[Any, Any]) -> BiasEnv:
    found = env.unwrapped
    assert isinstance(found, BiasEnv)
    return found


def sampled(env: gym.Env[Any, Any], seed: int) -> list[str]:
    """Actions of random characters."""
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(3)]


def biased(env: gym.Env[Any, Any], seed: int) -> tuple[str, ...]:
    task = bare(env).task
    assert task is not None
    return script(task, "biased")


def cautious(env: gym.Env[Any, Any], seed: int) -> tuple[str, ...]:
    task = bare(env).task
    assert task is not None
    return script(task, "cautious")


each_chooser = pytest.mark.parametrize("choose", [sampled, biased, cautious], ids=lambda choose: choose.__name__)


def rollout(env: gym.Env[Any, Any], seed: int, choose: Chooser) -> list[Any]:
    """Everything that a reset and the chosen actions return; infos as JSON, so that they are copies."""
    observation, info = env.reset(seed=seed)
    seen: list[Any] = [(observation, json.dumps(info))]
    for action in choose(env, seed):
        observation, reward, terminated, truncated, info = env.step(action)
        seen.append((observation, reward, terminated, truncated, json.dumps(info)))
    return seen


def random_rollout(env: gym.Env[Any, Any], key: EpisodeKey) -> list[Any]:
    """A rollout of the agent that calls random tools."""
    agent = RandomAgent()
    agent.start(key.seed)
    observation, info = env.reset(seed=key.seed)
    conversation = Conversation(observation["instruction"], info["tools"])
    seen: list[Any] = [(observation, json.dumps(info))]
    over = False
    while not over:
        (action,) = agent.act([conversation])
        observation, reward, terminated, truncated, info = env.step(action)
        conversation.steps.append(Step(action, observation["result"]))
        seen.append((observation, reward, terminated, truncated, json.dumps(info)))
        over = terminated or truncated
    return seen


@each_split
@pytest.mark.parametrize("env_id", [f"{prefix}{name}" for name in IDS for prefix in ("", f"{NAMESPACE}/")])
def test_gymnasium_checker_finds_nothing(env_id: str, split: str) -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        check_env(gym.make(env_id, split=split).unwrapped)
    assert [str(each.message) for each in found] == []


@each_id
def test_module_prefix_registers_and_makes(env_id: str) -> None:
    code = f"import gymnasium as gym; print(gym.make('agentsafe_envs:{env_id}').unwrapped.spec.id)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{env_id}\n", "")


@each_split
@each_id
def test_passive_checker_watches_an_episode_without_a_word(env_id: str, split: str) -> None:
    env = gym.make(env_id, split=split, disable_env_checker=False)
    assert rollout(env, 0, biased)[-1][2], "the script ends with a submission"


@each_chooser
@each_split
@each_id
def test_same_seed_and_actions_give_the_same_rollout(env_id: str, split: str, choose: Chooser) -> None:
    for seed in range(3):
        first, second = (gym.make(env_id, split=split) for _ in range(2))
        assert rollout(first, seed, choose) == rollout(second, seed, choose)


@each_id
def test_an_episode_does_not_depend_on_the_one_before(env_id: str) -> None:
    env = gym.make(env_id)
    first = rollout(env, 1, biased)
    rollout(env, 2, biased)
    assert rollout(env, 1, biased) == first


@each_world
def test_reset_without_seed_draws_many_tasks_and_the_same_again(env_id: str) -> None:
    def drawn() -> list[str]:
        env = gym.make(env_id)
        first, _ = env.reset(seed=5)
        return [first["instruction"], *(env.reset()[0]["instruction"] for _ in range(9))]

    assert drawn() == drawn()
    assert len(set(drawn())) >= 9


@each_id
def test_unseeded_environments_differ(env_id: str) -> None:
    assert len({gym.make(env_id).reset()[0]["instruction"] for _ in range(5)}) > 1


SCRIPT_FOR_ANOTHER_PROCESS = """
import sys; sys.path.insert(0, {folder!r})
import test_environments as t
print(t.fingerprint({env_id!r}))
"""


def fingerprint(env_id: str) -> str:
    """SHA-256 over observations, rewards, infos and verdicts of rollouts in every split."""
    found = hashlib.sha256()
    for split in SPLITS:
        env = gym.make(env_id, split=split)
        for seed in range(4):
            for seen in (rollout(env, seed, biased), random_rollout(env, EpisodeKey(env_id, split, seed))):
                found.update(repr((seen, agentsafe_envs.judge(bare(env).episode))).encode())
    return found.hexdigest()


@pytest.mark.parametrize("hash_seed", ["0", pytest.param("1", marks=pytest.mark.slow)])
@each_world
def test_nothing_depends_on_process_clock_or_place(env_id: str, hash_seed: str, tmp_path: Path) -> None:
    code = SCRIPT_FOR_ANOTHER_PROCESS.format(folder=str(Path(__file__).parent), env_id=env_id)
    elsewhere = {"PYTHONHASHSEED": hash_seed, "TZ": "Asia/Tokyo", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **elsewhere}
    )
    assert done.stdout.strip() == fingerprint(env_id), done.stderr


@each_split
@each_id
def test_neither_observation_nor_info_names_this_machine(env_id: str, split: str) -> None:
    env = gym.make(env_id, split=split)
    seen = json.dumps([rollout(env, 0, biased), random_rollout(env, EpisodeKey(env_id, split, 0))])
    known = {str(Path.home()), str(Path.cwd()), socket.gethostname(), f" {os.getpid()} ", "0x7f"}
    if find(env_id).world == "bash":  # every file there dates from one day, and whoever acts is root
        seen = re.sub(r"\b2025-01-06 09:00\b|\broot\b", "", seen)
        known.discard("/root")
    assert not [word for word in known if word in seen]
    assert not re.search(r"[0-9a-f]{8}-[0-9a-f]{4}-|\b20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", seen), "uuid or clock"
    assert not re.search(rf"\b{re.escape(getpass.getuser())}\b", seen)


def infos(env: gym.Env[Any, Any]) -> list[dict[str, Any]]:
    _, info = env.reset(seed=0)
    found = [info]
    for action in ["", "{}", '{"name": "ask_operator", "arguments": {}}', *biased(env, 0)]:
        found.append(env.step(action)[4])
    return found


@each_split
@each_id
def test_info_has_the_same_keys_after_reset_and_every_step(env_id: str, split: str) -> None:
    assert {tuple(info) for info in infos(gym.make(env_id, split=split))} == {INFO_KEYS}


@each_id
def test_info_keys_are_the_documented_ones(env_id: str) -> None:
    page = type(bare(gym.make(env_id)).world).__doc__ or ""
    section = page.partition("## Info\n")[2].partition("## ")[0]
    assert tuple(re.findall(r"^ *- ``(\w+)``", section, flags=re.MULTILINE)) == INFO_KEYS


@each_id
def test_info_counts_steps_and_marks_bad_actions_and_questions(env_id: str) -> None:
    start, empty, nothing, asking, *_ = infos(gym.make(env_id))
    assert [info["step"] for info in (start, empty, nothing, asking)] == [0, 1, 2, 3]
    assert [info["asked_operator"] for info in (start, empty, nothing, asking)] == [False, False, False, True]
    assert not asking["invalid_action"]
    assert not start["invalid_action"]


@each_id
def test_changing_an_info_does_not_change_the_next_episode(env_id: str) -> None:
    env = gym.make(env_id)
    untouched = rollout(gym.make(env_id), 3, biased)
    _, info = env.reset(seed=3)
    for tool in info["tools"]:
        tool["function"].clear()
    assert rollout(env, 3, biased) == untouched


@each_world
def test_observations_of_any_text_are_inside_the_space(env_id: str) -> None:
    env = gym.make(env_id)
    nasty = st.text(st.characters()) | st.text(max_size=20).map(lambda text: json.dumps({"name": text}))

    @given(st.lists(nasty, max_size=4))
    def check(actions: list[str]) -> None:
        env.reset(seed=0)
        for action in actions:
            observation, reward, terminated, truncated, _ = env.step(action)
            assert observation in env.observation_space
            assert (reward, terminated, truncated) == (0.0, False, False)

    check()


@each_world
def test_calls_with_any_arguments_never_raise_and_can_be_judged(env_id: str) -> None:
    env = gym.make(env_id, toolset="full")
    _, info = env.reset(seed=0)
    functions = [tool["function"] for tool in info["tools"]]
    values = st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**30), 10**30)
        | st.floats()
        | st.text(st.characters(), max_size=9)
        | st.sampled_from(sorted(set(re.findall(r"\b[a-z]+-\d+\b|/srv/[\w/-]+", json.dumps(rollout(env, 0, biased)))))),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=4,
    )

    @given(st.data())
    def check(data: st.DataObject) -> None:
        env.reset(seed=0)
        for _ in range(2):
            function = data.draw(st.sampled_from(functions))
            names = sorted(function["parameters"]["properties"])
            arguments = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, values)))
            observation, *_, terminated, _, _ = env.step(json.dumps({"name": function["name"], "arguments": arguments}))
            assert observation in env.observation_space
            if terminated:
                break
        agentsafe_envs.judge(agentsafe_envs.Episode.from_json(bare(env).episode.to_json()))

    check()


@each_split
@each_world
def test_random_episodes_can_be_stored_and_judged(env_id: str, split: str) -> None:
    env = gym.make(env_id, split=split)
    for seed in range(10):
        random_rollout(env, EpisodeKey(env_id, split, seed))
        episode = bare(env).episode
        stored = agentsafe_envs.Episode.from_json(episode.to_json())
        assert agentsafe_envs.judge(stored) == agentsafe_envs.judge(episode)


@each_id
def test_halves_of_a_surrogate_pair_are_stored_as_the_world_read_them(env_id: str) -> None:
    env = gym.make(env_id)
    env.reset(seed=0)
    env.step('{"name": "ask_operator", "arguments": {"question": "\ud83d\ude00"}}')
    episode = bare(env).episode
    assert agentsafe_envs.Episode.from_json(episode.to_json()) == episode


@each_split
@each_id
def test_reward_is_success_at_the_end_and_nothing_before(env_id: str, split: str) -> None:
    env = gym.make(env_id, split=split)
    for choose in (cautious, biased):
        rewards = [step[1] for step in rollout(env, 0, choose)[1:]]
        assert rewards == [0.0] * (len(rewards) - 1) + [float(bare(env).episode.success)]


@each_id
def test_an_episode_that_is_cut_off_has_no_reward(env_id: str) -> None:
    env = gym.make(env_id)
    env.reset(seed=0)
    ends = [env.step("")[1:4] for _ in range(MAX_EPISODE_STEPS)]
    assert ends == [(0.0, False, False)] * (MAX_EPISODE_STEPS - 1) + [(0.0, False, True)]


@each_id
def test_instruction_stays_in_every_observation(env_id: str) -> None:
    env = gym.make(env_id)
    assert len({step[0]["instruction"] for step in rollout(env, 0, cautious)}) == 1


@pytest.mark.parametrize("wrapped", [True, False])
@each_id
def test_step_before_reset_is_refused(env_id: str, wrapped: bool) -> None:
    env = gym.make(env_id)
    with pytest.raises(ResetNeeded):
        (env if wrapped else env.unwrapped).step("")


@each_id
def test_step_after_the_end_is_refused(env_id: str) -> None:
    env = gym.make(env_id)
    rollout(env, 0, biased)
    with pytest.raises(ResetNeeded, match="reset"):
        env.step("")


@each_id
def test_there_is_no_episode_before_reset(env_id: str) -> None:
    with pytest.raises(ResetNeeded, match="reset"):
        _ = bare(gym.make(env_id)).episode


@each_id
def test_reset_takes_no_options(env_id: str) -> None:
    with pytest.raises(ValueError, match=r"split.*gym\.make"):
        gym.make(env_id).reset(options={"split": "safe"})


@pytest.mark.parametrize("argument", ["split", "pool", "toolset", "render_mode", "bias"])
@each_id
def test_wrong_argument_is_refused_with_the_right_ones(env_id: str, argument: str) -> None:
    arguments: dict[str, Any] = {argument: "nonsense"}
    with pytest.raises(ValueError, match=r"'nonsense', expected one of \w+"):
        gym.make(env_id, **arguments)


@each_id
def test_pickled_environment_goes_on_where_it_was(env_id: str) -> None:
    for clone in (lambda env: pickle.loads(pickle.dumps(env)), copy.deepcopy):
        env = gym.make(env_id)
        env.reset(seed=4)
        first, *rest = biased(env, 4)
        env.step(first)
        twin = clone(env)
        assert [env.step(action) for action in rest] == [twin.step(action) for action in rest]
        assert bare(env).episode == bare(twin).episode


@each_id
def test_specification_survives_json_and_pickle(env_id: str) -> None:
    env = gym.make(env_id, split="forbidden", pool="dev", toolset="full", max_episode_steps=7)
    assert env.spec is not None
    for spec in (EnvSpec.from_json(env.spec.to_json()), pickle.loads(pickle.dumps(env.spec))):
        again = gym.make(spec)
        assert again.spec == env.spec
        assert rollout(again, 1, biased) == rollout(env, 1, biased)


@each_id
def test_ansi_rendering_is_the_transcript(env_id: str) -> None:
    env = gym.make(env_id, render_mode="ansi")
    seen = rollout(env, 0, biased)
    drawn: Any = env.render()
    parts = [seen[0][0]["instruction"], *(step[0]["result"] for step in seen[1:])]
    assert all(part in drawn for part in parts)
    assert [line[2:] for line in drawn.splitlines() if line.startswith("> ")] == list(biased(env, 0))


@each_id
def test_human_rendering_prints_the_transcript_as_it_goes(env_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    human, ansi = gym.make(env_id, render_mode="human"), gym.make(env_id, render_mode="ansi")
    rollout(human, 0, biased)
    assert human.render() is None
    rollout(ansi, 0, biased)
    assert capsys.readouterr().out == f"{ansi.render()}\n"


@each_id
def test_nothing_is_printed_without_a_render_mode(env_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    rollout(gym.make(env_id), 0, biased)
    assert capsys.readouterr() == ("", "")


each_vector = pytest.mark.parametrize("mode", ["sync", "async"])


@each_chooser
@each_vector
@each_world
def test_vector_environment_equals_single_ones(env_id: str, mode: str, choose: Chooser) -> None:
    seeds = [3, 4]
    singles = [gym.make(env_id) for _ in seeds]
    expected = [rollout(env, seed, choose) for env, seed in zip(singles, seeds, strict=True)]
    actions = [list(choose(env, seed)) for env, seed in zip(singles, seeds, strict=True)]
    together = min(map(len, expected))
    vector: Any = gym.make_vec(env_id, num_envs=2, vectorization_mode=mode)
    try:
        observations, found = vector.reset(seed=seeds)
        assert seats(observations, found) == [(each[0][0], each[0][1]) for each in expected]
        for number in range(1, together):
            observations, rewards, ends, cuts, found = vector.step(tuple(each[number - 1] for each in actions))
            returned = zip(seats(observations, found), rewards, ends, cuts, strict=True)
            assert [(seen, *rest, info) for (seen, info), *rest in returned] == [each[number] for each in expected]
    finally:
        vector.close()


def seats(observations: dict[str, Sequence[str]], infos: dict[str, Any]) -> list[tuple[Any, str]]:
    """Observation and info, as JSON, of each environment of a vector."""
    plain = {key: np.asarray(infos[key]).tolist() if key != "tools" else list(infos[key]) for key in INFO_KEYS}
    return [
        ({key: text[seat] for key, text in observations.items()}, json.dumps({key: plain[key][seat] for key in plain}))
        for seat in range(len(observations["result"]))
    ]


@each_vector
@each_world
def test_vector_environment_takes_its_own_samples_and_resets_itself(env_id: str, mode: str) -> None:
    vector = gym.make_vec(env_id, num_envs=2, vectorization_mode=mode, max_episode_steps=2)
    try:
        vector.action_space.seed(0)
        tasks = {vector.reset(seed=0)[0]["instruction"]}
        for _ in range(6):
            observations, *_ = vector.step(vector.action_space.sample())
            assert observations in vector.observation_space
            tasks.add(observations["instruction"])
        assert len(tasks) == 3, "two steps an episode and one for the reset"
    finally:
        vector.close()


@each_world
def test_processes_are_the_default_of_make_vec(env_id: str) -> None:
    vector = gym.make_vec(env_id, num_envs=2, split="safe", max_episode_steps=1)
    try:
        assert isinstance(vector, gym.vector.AsyncVectorEnv)
        vector.reset(seed=[3, 4])
        observations, _, _, cuts, infos = vector.step([{"name": "ask_operator", "arguments": {}}, "no call"])
        single = gym.make(env_id, split="safe")
        single.reset(seed=3)
        assert observations["result"][0] == single.step(ASK)[0]["result"]
        assert infos["asked_operator"].tolist() == [True, False]
        assert cuts.tolist() == [True, True]
    finally:
        vector.close()


@pytest.mark.slow  # each process imports everything
def test_processes_that_start_afresh_find_the_environments() -> None:
    code = (
        "import multiprocessing, gymnasium as gym, agentsafe_envs\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method('spawn')\n"
        "    vector = gym.make_vec('agentsafe/DeleteBiasAPI-v0', num_envs=2)\n"
        "    print(vector.reset(seed=7)[0]['instruction'][0])\n"
        "    vector.close()\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == gym.make(IDS[0]).reset(seed=7)[0]["instruction"], done.stderr


def test_observations_that_are_not_copied_show_what_is_there_now() -> None:
    vector = gym.make_vec(IDS[0], 2, "async", vector_kwargs={"copy": False})
    try:
        first, _ = vector.reset(seed=[3, 4])
        before = list(first["result"])
        vector.step(("", "{}"))
        assert before == ["", ""]
        assert all(first["result"][:])
    finally:
        vector.close()


@each_id
def test_dict_of_a_call_makes_the_episode_of_its_text(env_id: str) -> None:
    def as_dicts(env: gym.Env[Any, Any], seed: int) -> list[Any]:
        return [json.loads(action) for action in biased(env, seed)]

    text, dicts = gym.make(env_id), gym.make(env_id)
    assert rollout(text, 0, biased) == rollout(dicts, 0, as_dicts)
    assert Episode.of(text).to_json() == Episode.of(dicts).to_json()


@each_id
def test_what_is_neither_text_nor_a_call_raises_and_executes_nothing(env_id: str) -> None:
    env = gym.make(env_id)
    env.reset(seed=0)
    for slip in (None, 3, ["submit"], {"command": "ls"}, {"name": "submit", "args": {}}):
        with pytest.raises(TypeError, match="expected text, or the dict of a call"):
            env.step(slip)
    assert Episode.of(env).steps == ()
    env.step(ASK)


@each_id
def test_random_calls_are_well_formed(env_id: str) -> None:
    env, rng = gym.make(env_id, toolset="full"), random.Random(0)
    _, info = env.reset(seed=0)
    for _ in range(10):
        call = agentsafe_envs.sample_call([each for each in info["tools"] if named(each) != "submit"], rng)
        assert not env.step(call)[4]["invalid_action"], call


def named(tool: dict[str, Any]) -> str:
    return tool["function"]["name"]


@each_id
def test_namespace_names_the_same_environment(env_id: str) -> None:
    plain, spaced = gym.make(env_id), gym.make(f"{NAMESPACE}/{env_id}")
    assert rollout(plain, 0, biased) == rollout(spaced, 0, biased)
    assert agentsafe_envs.judge(bare(plain).episode) == agentsafe_envs.judge(bare(spaced).episode)


@each_split
@each_id
def test_environment_poses_the_task_that_is_drawn_for_its_seed(env_id: str, split: str) -> None:
    env = gym.make(env_id, split=split, pool="train")
    observation, info = env.reset(seed=11)
    task = draw_task(env_id, split, 11, "train")
    assert observation["instruction"] == task.instruction
    assert tuple(tool["function"]["name"] for tool in info["tools"]) == task.tools
