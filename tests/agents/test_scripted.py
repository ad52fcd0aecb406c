from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import pytest

from agentsafe_envs.agents.protocol import AgentError, Conversation
from agentsafe_envs.agents.scripted import RandomAgent, ScriptedAgent, policies, script
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.registration import TABLE, draw_task

IDS = [row.id for row in TABLE]
ALWAYS = ("cautious", "biased", "null", "random")
each_id = pytest.mark.parametrize("env_id", IDS)


def conversation(env_id: str, seed: int = 0) -> Conversation:
    observation, info = gym.make(env_id).reset(seed=seed)
    return Conversation(observation["instruction"], info["tools"])


def moves(agent: Any, key: EpisodeKey, number: int) -> list[str]:
    if isinstance(agent, RandomAgent):
        agent.start(key.seed)
    else:
        agent.look_up(key)
    seen = conversation(key.environment, key.seed)
    return [action for _ in range(number) for action in agent.act([seen])]


def test_policies_are_the_four_and_the_alternatives() -> None:
    found = policies()
    assert tuple(found[:4]) == ALWAYS
    assert found[4:] == sorted(set(found[4:]))
    assert len(found) > 4


@pytest.mark.parametrize("pool", ["train", "dev", "public"])
@each_id
def test_every_alternative_of_every_task_is_a_policy(env_id: str, pool: Any) -> None:
    known = set(policies(pool))
    for seed in range(60):
        assert set(draw_task(env_id, "ambiguous", seed, pool).setup.solutions) <= known


def test_unknown_policy_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AgentError, match="no scripted policy 'reckless', expected one of cautious, biased, null"):
        ScriptedAgent("reckless")


@pytest.mark.parametrize("split", SPLITS)
@each_id
def test_agent_plays_the_script_of_its_key(env_id: str, split: str) -> None:
    for policy in ("cautious", "biased", "null"):
        agent = ScriptedAgent(policy)
        for seed in (0, 5):
            expected = script(draw_task(env_id, split, seed), policy)
            assert moves(agent, EpisodeKey(env_id, split, seed), len(expected)) == list(expected)


@each_id
def test_agent_plays_the_tasks_of_its_pool(env_id: str) -> None:
    expected = script(draw_task(env_id, "ambiguous", 1, "train"), "biased")
    found = moves(ScriptedAgent("biased", "train"), EpisodeKey(env_id, "ambiguous", 1), len(expected))
    assert found == list(expected)


@pytest.mark.parametrize("split", SPLITS)
@each_id
def test_every_script_ends_with_its_only_submission(env_id: str, split: str) -> None:
    for seed in range(8):
        task = draw_task(env_id, split, seed)
        for policy in policies():
            names = [json.loads(action)["name"] for action in script(task, policy)]
            assert names.index("submit") == len(names) - 1, (policy, seed)


@each_id
def test_alternative_is_cautious_where_the_task_does_not_have_it(env_id: str) -> None:
    task = draw_task(env_id, "ambiguous", 0)
    absent = next(name for name in policies()[4:] if name not in task.setup.solutions)
    assert script(task, absent) == script(task, "cautious")


@each_id
def test_null_submits_at_once_without_an_answer(env_id: str) -> None:
    for split in SPLITS:
        (only,) = script(draw_task(env_id, split, 0), "null")
        assert json.loads(only) == {"name": "submit", "arguments": {}}


def test_description_names_the_policy() -> None:
    assert (ScriptedAgent("null").name, ScriptedAgent("null").describe()) == ("scripted:null", {"policy": "null"})
    assert (RandomAgent().name, RandomAgent().describe()) == ("scripted:random", {"policy": "random"})


@each_id
def test_random_agent_repeats_itself_for_a_seed_and_for_no_other(env_id: str) -> None:
    agent, key = RandomAgent(), EpisodeKey(env_id, "safe", 3)
    first = moves(agent, key, 12)
    assert moves(agent, key._replace(seed=4), 12) != first
    assert moves(RandomAgent(), key, 12) == moves(agent, key, 12) == first


@each_id
def test_random_agent_calls_every_offered_tool_with_its_arguments(env_id: str) -> None:
    functions = {tool["function"]["name"]: tool["function"] for tool in conversation(env_id).tools}
    calls = [json.loads(action) for action in moves(RandomAgent(), EpisodeKey(env_id, "ambiguous", 0), 300)]
    assert {call["name"] for call in calls} == functions.keys()
    for call in calls:
        parameters = functions[call["name"]]["parameters"]
        assert set(parameters["required"]) <= call["arguments"].keys() <= parameters["properties"].keys()


@each_id
def test_random_agent_finds_ids_in_what_it_read(env_id: str) -> None:
    env = gym.make(env_id)
    observation, info = env.reset(seed=0)
    seen = Conversation(observation["instruction"], info["tools"])
    agent, accepted = RandomAgent(), 0
    agent.start(0)
    for _ in range(20):
        (action,) = agent.act([seen])
        observation, _, over, cut, info = env.step(action)
        accepted += not info["invalid_action"] and '"error"' not in observation["result"]
        if over or cut:
            break
    assert accepted > 0
