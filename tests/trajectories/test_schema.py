from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentsafe_envs.agents.prompts import ChatTemplate, chat_messages
from agentsafe_envs.agents.protocol import Conversation
from agentsafe_envs.agents.scripted import RandomAgent, alternatives
from agentsafe_envs.core.episode import Episode, EpisodeError
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.registration import TABLE, draw_task, judge, resolve
from agentsafe_envs.trajectories.schema import (
    Trajectory,
    check_row,
    for_model,
    from_episode,
    to_conversation,
    to_episode,
)
from agentsafe_envs.trajectories.shapes import TRAINED_ON

IDS = [row.id for row in TABLE]
LIST = '{"name": "list_resources", "arguments": {"kind": "volume"}}'
SUBMIT = '{"name": "submit", "arguments": {}}'

SPELLINGS = [
    '{"name":"submit","arguments":{}}',
    '{"name": "submit"}',
    '{"arguments": {}, "name": "submit"}',
    '{"name": "submit", "arguments": {"answer": "\\u0064elete"}}',
    '{"name": "submit", "arguments": {"answer": "caf\u00e9"}}',
    '{"name": "list_resources", "arguments": {"kind": "disk", "kind": "volume"}}',
    '{"name": "list_resources", "arguments": {"page": 1e0}}',
    '{"name": "submit", "name": "submit"}',
]
NO_CALLS = [
    "",
    "I would rather not.",
    'Sure! {"name": "submit", "arguments": {}}',
    '{"name": "submit", "args": {}}',
    '{"name": 3, "arguments": {}}',
    '{"name": "submit", "arguments": []}',
    '["submit"]',
    '{"name": "submit", "arguments": {"answer": NaN}}',
    '{"name": "submit", "arguments": {"answer": -Infinity}}',
    json.dumps({"name": "submit", "arguments": {"answer": 10**30}}),
    '{"name": "submit", "arguments": {"answer": ' + "9" * 5_000 + "}}",
    '{"name": "submit", "arguments": {"answer": ' + "[" * 60 + "]" * 60 + "}}",
    "[" * 100_000,
    "\ud800",
]

each_id = pytest.mark.parametrize("env_id", IDS)


def assert_comes_back(episode: Episode) -> Trajectory:
    """The row of ``episode``, after it has become the episode again."""
    row = from_episode(episode)
    assert to_episode(row) == episode
    assert judge(to_episode(row)) == judge(episode)
    return row


@pytest.mark.parametrize("split", SPLITS)
@each_id
def test_scripted_episode_comes_back_and_is_judged_alike(env_id: str, split: str, play: Any) -> None:
    for seed, policy in enumerate(sorted({"biased", "cautious", "null"} | alternatives(env_id))):
        assert_comes_back(play(policy, split, seed, env_id=env_id))


@each_id
def test_random_episode_comes_back(env_id: str, play: Any) -> None:
    agent = RandomAgent()
    for seed in range(8):
        agent.start(seed)
        tools = from_episode(play([], seed=seed, env_id=env_id))["tools"]
        conversation = Conversation(draw_task(env_id, "ambiguous", seed).instruction, tools)
        assert_comes_back(play([agent.act([conversation])[0] for _ in range(20)], seed=seed, env_id=env_id))


@each_id
def test_full_toolset_pool_and_no_step_come_back(env_id: str, play: Any) -> None:
    row = assert_comes_back(play([], "safe", 5, env_id=env_id, toolset="full", pool="dev"))
    assert (row["toolset"], row["pool"], len(row["messages"])) == ("full", "dev", 2)
    world, bias = resolve(env_id)
    full = world.draw(bias, "safe", "dev", 5, "full")
    assert [tool["function"]["name"] for tool in row["tools"]] == list(full.tools)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=st.lists(st.one_of(st.text(), st.sampled_from([LIST, *SPELLINGS, *NO_CALLS])), max_size=6))
@example(actions=["\u2028", "\x00", '{"name": "\ud83d\ude00", "arguments": {}}'])
def test_whatever_an_agent_writes_comes_back(actions: list[str], play: Any) -> None:
    row = assert_comes_back(play(actions))
    assert to_episode(json.loads(json.dumps(row))) == to_episode(row)


def test_call_is_a_dict_and_its_result_a_tool_message(play: Any) -> None:
    row = from_episode(play([LIST, SUBMIT]))
    system, user, call, result, last, end = row["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert call["content"] == ""
    assert call["tool_calls"] == [
        {
            "id": "call00000",
            "type": "function",
            "function": {"name": "list_resources", "arguments": {"kind": "volume"}},
        }
    ]
    assert (result["role"], result["tool_call_id"], result["name"]) == ("tool", "call00000", "list_resources")
    assert json.loads(result["content"])["items"]
    assert last["tool_calls"][0]["function"] == {"name": "submit", "arguments": {}}
    assert end["content"] == '{"submitted":true}'
    assert "spellings" not in row


@pytest.mark.parametrize("action", SPELLINGS)
def test_call_spelled_otherwise_is_a_call_and_its_spelling_is_kept(action: str, play: Any) -> None:
    row = assert_comes_back(play([LIST, action]))
    assert row["messages"][4]["tool_calls"][0]["function"]["name"] == json.loads(action)["name"]
    assert row["spellings"] == {"1": json.loads(json.dumps(action))}


@pytest.mark.parametrize("action", NO_CALLS, ids=lambda action: action[:40])
def test_action_that_is_no_call_or_cannot_be_stored_as_one_is_plain_content(action: str, play: Any) -> None:
    row = assert_comes_back(play([action, LIST]))
    assert row["messages"][2] == {"role": "assistant", "content": action}
    assert row["messages"][3]["role"] == "user"


@pytest.mark.parametrize("policy", ["cautious", "biased"])
def test_row_is_what_an_evaluated_model_is_shown(policy: str, play: Any) -> None:
    row = from_episode(play(policy, seed=2))
    shown = chat_messages(to_conversation(row), "json", ChatTemplate(tools=True, system=True))
    assert row["messages"] == shown


def test_nothing_that_a_model_trains_on_says_where_the_row_comes_from(play: Any) -> None:
    row = from_episode(play("biased"), policy="the-teacher", verdict={"unsafe": True, "first": "biased"})
    seen = json.dumps({name: row[name] for name in TRAINED_ON}).lower()
    for word in (
        IDS[0],
        row["template"],
        row["task_digest"],
        "the-teacher",
        "verdict",
        "unsafe",
        "biased",
        "ambiguous",
    ):
        assert word.lower() not in seen


def test_system_message_can_be_another_or_none(play: Any) -> None:
    episode = play([LIST])
    other, none = from_episode(episode, system="Be brief."), from_episode(episode, system="")
    assert other["messages"][0] == {"role": "system", "content": "Be brief."}
    assert none["messages"][0]["role"] == "user"
    assert to_episode(other) == to_episode(none) == episode


def _say(row: Any) -> None:
    row["messages"][3]["content"] += " "


def _call(row: Any) -> None:
    row["messages"][2]["tool_calls"][0]["function"]["arguments"]["kind"] = "snapshot"


def _succeed(row: Any) -> None:
    row["success"] = not row["success"]


@pytest.mark.parametrize("edit", [_say, _call, _succeed])
def test_edited_row_is_no_episode(edit: Any, play: Any) -> None:
    row = from_episode(play([LIST]))
    edit(row)
    with pytest.raises(EpisodeError, match="the row was edited"):
        to_episode(row)


def test_row_of_other_origin_or_stripped_is_no_episode(talk: Any, play: Any) -> None:
    with pytest.raises(EpisodeError, match="the row has no environment, split, pool"):
        to_episode(talk("hello"))
    with pytest.raises(EpisodeError, match="2 turns were stripped"):
        to_episode({**from_episode(play([LIST])), "stripped": 2})
    broken = from_episode(play([LIST]))
    broken["messages"].pop()
    with pytest.raises(EpisodeError, match="message 2 is an action without a result"):
        to_episode(broken)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (["system"], "no instruction"),
        (["assistant", "user"], "no instruction"),
        (["user", "tool", "assistant"], "message 1 and the next are not an action and its result"),
        (["user", "assistant", "system"], "message 1 and the next are not"),
    ],
)
def test_conversation_needs_an_instruction_then_actions_with_results(roles: Sequence[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_conversation({"messages": [{"role": role, "content": "x"} for role in roles]})


def test_row_of_another_shape_is_no_conversation_before_it_is_imported() -> None:
    row: Any = {"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]}
    with pytest.raises(ValueError, match="agentsafe data import"):
        to_conversation(row)


def test_two_calls_at_once_and_a_call_with_parts_are_no_action(talk: Any) -> None:
    row = talk({"name": "a", "arguments": {}})
    for extra in ({"tool_calls": row["messages"][1]["tool_calls"] * 2}, {"content": [{"type": "text", "text": "I"}]}):
        first, act, result = row["messages"]
        with pytest.raises(ValueError, match="message 1 is more than one action"):
            to_conversation({"messages": [first, {**act, **extra}, result]})


def test_words_next_to_a_call_are_its_note(talk: Any) -> None:
    first, act, result = talk({"name": "a", "arguments": {}})["messages"]
    (step,) = to_conversation({"messages": [first, {**act, "content": "I will."}, result]}).steps
    assert step.action == '{"note": "I will.", "name": "a", "arguments": {}}'


def test_note_is_the_content_of_the_message_and_comes_back() -> None:
    env: Any = gym.make("DeleteBiasAPI-v0", split="safe").unwrapped
    env.reset(seed=3)
    env.step({"note": "amber fox", "name": "list_resources", "arguments": {"kind": "volume"}})
    env.step('{"name": "submit", "arguments": {}, "note": "spelled otherwise"}')
    row = from_episode(env.episode)
    said = [message["content"] for message in row["messages"] if message["role"] == "assistant"]
    assert said == ["amber fox", "spelled otherwise"]
    assert to_episode(row) == env.episode


class Template:
    """Renders tools or drops them."""

    def __init__(self, *, tools: bool) -> None:
        self.tools = tools

    def apply_chat_template(self, messages: Any, *, tokenize: bool, tools: Any = None) -> str:
        return json.dumps([messages, tools if self.tools else None])


def test_model_whose_template_drops_tools_finds_them_in_the_system_message(play: Any) -> None:
    row = from_episode(play([LIST, "hm"]))
    shown = for_model(row, Template(tools=False))
    assert shown.keys() == {"messages"}
    assert all(f"{tool['function']['name']}(" in shown["messages"][0]["content"] for tool in row["tools"])
    assert shown["messages"][2] == {"role": "assistant", "content": LIST}


def test_model_whose_template_shows_tools_gets_the_row_itself(play: Any) -> None:
    row = from_episode(play([LIST, "hm"]))
    assert for_model(row, Template(tools=True), "json") == {name: row[name] for name in TRAINED_ON}


WRONG: list[tuple[Any, str]] = [
    ([], "has no messages"),
    ({"messages": []}, "has no messages"),
    ({"messages": ["hi"]}, "row 7, message 0 is text, expected an object with a role"),
    ({"messages": ['{"role": "user"}']}, "message 0 is JSON text of an object, expected .* pandas leaves"),
    ({"messages": "hi"}, "row 7, messages: text; expected"),
    ({"messages": [{"content": "hi"}]}, "message 0 has no role, expected a role of system, developer, user"),
    ({"messages": [{"role": "robot", "content": "hi"}]}, "message 0 has the role 'robot', expected a role of system"),
    ({"conversations": [{"from": "x", "value": "hi"}]}, "message 0 has the role 'x', expected .* ShareGPT's `from`"),
    ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "message 0, tool_calls: expected a list"),
    ({"messages": [{"role": "assistant", "tool_calls": [{"name": "a"}]}]}, "a call without function.name"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": 7}}]}]},
        "calls a with arguments of type a number, expected an object or its JSON text",
    ),
    ({"messages": [{"role": "user", "content": "hi"}], "tools": "[1]"}, "row 7, tools: expected a list"),
    ({"messages": [{"role": "user", "content": "hi"}], "tools": "ls"}, "row 7, tools: 'ls' is no JSON"),
]


@pytest.mark.parametrize(("row", "message"), WRONG, ids=[message for _, message in WRONG])
def test_row_of_another_shape_is_refused_with_its_place(row: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_row(row, "row 7")


def test_nulls_of_other_writers_are_taken() -> None:
    row = {"messages": [{"role": "user", "content": None, "tool_calls": None}], "tools": None}
    check_row(row)
    assert row["messages"] == [{"role": "user", "content": None, "tool_calls": None}], "looking changes nothing"


def test_from_episode_shares_nothing_with_the_tools_of_the_world(play: Any) -> None:
    episode = play([LIST])
    row = from_episode(episode)
    kept = copy.deepcopy(row["tools"])
    random.Random(0).shuffle(row["tools"])
    row["tools"][0]["function"]["name"] = "changed"
    assert from_episode(episode)["tools"] == kept
