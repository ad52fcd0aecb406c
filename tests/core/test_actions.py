"""Every world reads actions alike; that no action raises is tested with each world."""

from __future__ import annotations

import json
import random
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.core.actions import (
    CONTROLS,
    LONGEST_NOTE,
    CallError,
    ToolCall,
    action,
    read_call,
    sample_call,
    schema,
    spell,
    without_note,
)

OFFERED = ("look", *CONTROLS)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=3))
def test_call_that_was_written_is_read(arguments: dict[str, Any]) -> None:
    assert read_call(action("look", arguments), OFFERED) == ToolCall("look", arguments)


@given(st.text(max_size=60) | json_values.map(json.dumps))
def test_whatever_is_no_call_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(CallError, match=r"\w"):
        read_call(text, OFFERED)


@pytest.mark.parametrize(
    ("text", "code", "complaint"),
    [
        ("ls -l", "invalid_argument", "expected one JSON object"),
        ("[1]", "invalid_argument", 'the call needs a "name"'),
        ('{"name": 3}', "invalid_argument", 'the call needs a "name"'),
        ('{"name": "look", "x": 1}', "invalid_argument", r"unknown fields \['x'\]"),
        ('{"name": "leap"}', "not_found", "no tool 'leap'; tools: look, ask_operator, submit"),
        ('{"name": "submit", "arguments": {"x": 1}}', "invalid_argument", "submit takes answer"),
        ('{"name": "submit", "arguments": 3}', "invalid_argument", "submit takes answer"),
        ('{"name": "look", "arguments": ' + 60 * "[" + 60 * "]" + "}", "invalid_argument", "expected one JSON object"),
    ],
)
def test_refusal_says_what_was_wrong(text: str, code: str, complaint: str) -> None:
    with pytest.raises(CallError, match=complaint) as caught:
        read_call(text, OFFERED)
    assert caught.value.code == code


def test_arguments_may_be_left_out() -> None:
    assert read_call('{"name": "submit"}', OFFERED) == ToolCall("submit", {})


@pytest.mark.parametrize("required", [True, False])
def test_schema_is_that_of_a_function_of_one_text(required: bool) -> None:
    found = schema("look", "Look.", "at", "What to look at.", required=required)["function"]
    assert (found["name"], found["description"]) == ("look", "Look.")
    assert found["parameters"]["properties"] == {"at": {"type": "string", "description": "What to look at."}}
    assert found["parameters"]["required"] == (["at"] if required else [])


@given(st.text(max_size=5), st.dictionaries(st.text(max_size=5), json_values, max_size=3))
def test_call_as_a_dict_is_spelled_as_its_json(name: str, arguments: dict[str, Any]) -> None:
    call = {"name": name, "arguments": arguments}
    assert spell(call) == spell(MappingProxyType(call)) == json.dumps(call)


@given(st.text(max_size=60))
def test_text_is_spelled_as_it_is(text: str) -> None:
    assert spell(text) == text


@pytest.mark.parametrize(
    ("slip", "named"),
    [
        (None, "a NoneType"),
        (["submit"], "a list"),
        (b"{}", "a bytes"),
        ({}, r"keys \[\]"),
        ({"name": 3}, r"keys \['name'\]"),
        ({"function": {"name": "submit"}}, r"keys \['function'\]"),
        ({"name": "submit", "args": {}}, r"keys \['args', 'name'\]"),
        ({"name": "submit", "arguments": {"answer": object()}}, "'submit' are no JSON: Object of type object"),
        ({"name": "submit", "arguments": {"answer": float("nan")}}, "'submit' are no JSON"),
    ],
)
def test_slip_of_the_program_is_named_with_what_was_expected(slip: Any, named: str) -> None:
    with pytest.raises(TypeError, match=rf"{named}.*; expected text, or the dict of a call"):
        spell(slip)


def test_random_call_is_repeated_by_its_seed_and_uses_the_ids_that_were_read() -> None:
    tools = [schema("look", "Look.", "resource", "Which.", required=True)]
    drawn = [sample_call(tools, random.Random(seed), "vol-1 and vol-2") for seed in (0, 0, *range(20))]
    assert drawn[0] == drawn[1]
    assert {call["arguments"]["resource"] for call in drawn} == {"vol-1", "vol-2"}
    assert (
        sample_call(tools)
        == sample_call(tools, random.Random(0))
        == {"name": "look", "arguments": {"resource": "none"}}
    )


def test_call_may_carry_a_note_of_bounded_length() -> None:
    call = read_call('{"note": "First a look.", "name": "submit", "arguments": {}}', ["submit"])
    assert call == ToolCall("submit", {}, "First a look.")
    assert without_note(call.to_action()) == ('{"name": "submit", "arguments": {}}', "First a look.")
    for note in (3, None, "x" * (LONGEST_NOTE + 1)):
        with pytest.raises(CallError, match="note"):
            read_call(json.dumps({"note": note, "name": "submit", "arguments": {}}), ["submit"])


@pytest.mark.parametrize("text", ["", "no call", '{"name": "submit"}', '["note"]', '{"note": 3, "name": "submit"}'])
def test_action_without_a_note_stays_as_it_is(text: str) -> None:
    assert without_note(text) == (text, "")
