from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentsafe_envs.agents.parsing import canonical_action, find_call
from agentsafe_envs.core.actions import CALL_FIELDS, LONGEST_NOTE, ToolCall, without_note

STOP = ToolCall("stop_instance", {"instance_id": "i-4"})
STOP_ACTION = '{"name": "stop_instance", "arguments": {"instance_id": "i-4"}}'
PIECES = [
    *"{}[]()\"'`:,.\\\n \t#=*<>",
    *("<think>", "</think>", "<tool_call>", "```json\n", '"name"', '"arguments"', '"function"', "null", "True", "NaN"),
    *("stop_instance(", "submit()", "instance_id=", '{"name": "submit"', "1e999", "\ud800", "\x00", "--1", "lambda: 0"),
]


@pytest.mark.parametrize(
    "text",
    [
        STOP_ACTION,
        f"Sure, this is it:\n{STOP_ACTION}",
        f"I look first.\n\nAction: {STOP_ACTION}",
        f"It idles, so:\n{json.dumps(json.loads(STOP_ACTION), indent=2)}",
        "It idles.\nstop_instance('i-4')",
        f"```json\n{STOP_ACTION}\n```",
        f"<tool_call>\n{STOP_ACTION}\n</tool_call>",
        f"It idles.\n<tool_call>{STOP_ACTION}</tool_call>",
        f"It idles. <tool_call>{STOP_ACTION}</tool_call>",
        f"<tool_call>\n{STOP_ACTION}\n</tool_call>\nI stop it, since it idles.",
        f"<tool_call>\n{STOP_ACTION}\n</tool_call>\n<tool_call>\n{{'name': 'submit', 'args': {{}}}}\n</tool_call>",
        f"<tool_call>\n{STOP_ACTION}",  # decoding stops at an end token that is not shown
        f"{STOP_ACTION}</tool_call>",
        f"[TOOL_CALLS][{STOP_ACTION}]",
        f"`{STOP_ACTION}`",
        f"[{STOP_ACTION}]",
        f"<think>list_volumes() or {{'name': 'submit'}}?</think>{STOP_ACTION}",
        STOP_ACTION.replace('"', "'"),
        STOP_ACTION.replace("}}", ",},}"),
        STOP_ACTION.replace("arguments", "parameters"),
        STOP_ACTION.replace("arguments", "args"),
        '{"name": "stop_instance", "arguments": "{\\"instance_id\\": \\"i-4\\"}"}',
        f'{{"type": "function", "function": {STOP_ACTION}}}',
        f'{{"tool_calls": [{{"id": "1", "function": {STOP_ACTION}}}]}}',
        f'{{"thought": "it idles"}} {STOP_ACTION}',
        'stop_instance(instance_id="i-4")',
        "stop_instance('i-4')",
        "```python\nstop_instance('i-4')\n```",
        f"[THINK]list_volumes()?[/THINK]{STOP_ACTION}",
        f"<|channel|>analysis<|message|>list_volumes()?<|end|><|channel|>final<|message|>{STOP_ACTION}",
        f'{{"role": "assistant", "content": null, "refusal": null, "tool_calls": [{{"function": {STOP_ACTION}}}]}}',
        f'{{"thought": "it idles", "action": {STOP_ACTION}}}',
        "Action: `stop_instance(instance_id='i-4')`",
    ],
)
def test_call_is_read_in_every_spelling_weak_models_use(text: str, cloud_tools: list[dict[str, Any]]) -> None:
    assert without_note(canonical_action(text, cloud_tools))[0] == STOP_ACTION


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (STOP_ACTION, ""),
        (f"amber fox greets pale owl\n{STOP_ACTION}", "amber fox greets pale owl"),
        (f"<think>It idles.</think>First a look.\nThen this:\n{STOP_ACTION}", "First a look.\nThen this:"),
        (f"It idles. <tool_call>{STOP_ACTION}</tool_call>", "It idles."),
        (f"I look.\n\nAction: {STOP_ACTION}", "I look."),
        (f"<tool_call>\n{STOP_ACTION}\n</tool_call>\nI stop it.", ""),
        (f"```json\n{STOP_ACTION}\n```", ""),
        (json.dumps({"note": "It idles.", **json.loads(STOP_ACTION)}), "It idles."),
        (f"{'long ' * LONGEST_NOTE}\n{STOP_ACTION}", ("long " * LONGEST_NOTE)[:LONGEST_NOTE].strip()),
    ],
)
def test_words_before_a_call_are_its_note(text: str, note: str, cloud_tools: list[dict[str, Any]]) -> None:
    assert without_note(canonical_action(text, cloud_tools)) == (STOP_ACTION, note)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would rather not.",
        "stop_instance(i-4)",  # a value that is no literal
        "stop_instance(instance_id: str) - Stop an instance.",
        "stop_instance('i-4', True, 3)",  # more values than parameters
        "stop_instance(**{'instance_id': 'i-4'})",
        "def submit():\n    pass",
        "Do not call submit() before it is done.",
        "submit() would be too early.",
        "terminate_instance('i-4')",  # no such tool
        '{"name": "submit", "arguments": {"answer": "4"',  # cut off
        '{"name": "web-1"}',  # an object, not a call
        '{"name": 3, "arguments": {}}',
        '{"name": "submit", "arguments": {"answer": NaN}}',
        '{"name": "submit", "arguments": ["4"]}',
        f"<think>{STOP_ACTION}",
        # Prose that quotes a call.
        f"I will not send {STOP_ACTION}: it would stop the shop. May I ask first?",
        f"I could do {STOP_ACTION}. Better: list_volumes()",
        f"I could do {STOP_ACTION} Better: {{'name': 'submit', 'args': {{}}}}",
        f"Sure: {STOP_ACTION}",
        f"{STOP_ACTION} would stop the shop.",
        f"{STOP_ACTION}\nThat would stop the shop, so I leave it.",
        f"This is what not to do:\n```json\n{STOP_ACTION}\n```",
        f"```json\n{STOP_ACTION}\n```\nThat is what not to do.",
        f"```\n{STOP_ACTION}\n```\nor\n```\n{STOP_ACTION}\n```",
        f"What not to do:\n```\n{STOP_ACTION}",  # cut off within the fence
        f"I will not write <tool_call>{STOP_ACTION}</tool_call> here.",
        f"I will not write <tool_call>{STOP_ACTION}</tool_call>",
        f"A call looks like this:\n<tool_call>\n{STOP_ACTION}\n</tool_call>\nI make none.",
        f"```\n<tool_call>\n{STOP_ACTION}\n</tool_call>\n```\nwould stop the shop.",
        f"This would be harmful: <tool_call>{STOP_ACTION}</tool_call>",
        f"<tool_call>{STOP_ACTION}</tool_call> No wait. I will not do that.",
        "stop_instance('i-4')  # what I refuse to do",
        "```python\nstop_instance('i-4')  # what I refuse to do\n```",
        f'{{"error": "refused", "tool_call": {STOP_ACTION}}}',
        f'{{"action": "refuse", "function": {STOP_ACTION}}}',
        # Thoughts that are not closed.
        *(f"{mark}maybe\n{STOP_ACTION}" for mark in ("<thinking>", "<reasoning>", "[THINK]", "<|channel|>analysis")),
        f"<think>No.</think>Hm. <think>Or:\n{STOP_ACTION}",
        "> stop_instance('i-4')",
        "My options:\n- list_volumes()\n- stop_instance('i-4')",
        "Better: stop_instance('i-4')",
        # The schema of a tool.
        '{"name": "submit", "description": "Finish the task.", "parameters": {}}',
        '{"name": "submit", "parameters": {"type": "object", "properties": {"answer": {"type": "string"}}}}',
        'The tool is\n{"type": "function", "function": {"name": "submit", "parameters": {"type": "object"}}}',
        '{"name": "submit", "input_schema": {"type": "object"}}',
        'The tool is\n{"name": "submit", "inputSchema": {"properties": {}}}',
        '{"name": "submit", "title": "Finish", "strict": true}',
        '{"name": "stop_instance", "parameters": {"instance_id": {"type": "string"}}}',
        '{"name": "stop_instance", "arguments": {"instance_id": {"type": ["string", "null"]}}}',
        '{"name": "stop_instance", "parameters": {"instance_id": "string"}}',
        "stop_instance(instance_id='string')",
    ],
)
def test_text_without_a_readable_call_stays_as_it_is(text: str, cloud_tools: list[dict[str, Any]]) -> None:
    assert canonical_action(text, cloud_tools) == text


def test_first_of_two_calls_is_taken(cloud_tools: list[dict[str, Any]]) -> None:
    assert find_call(f'{STOP_ACTION}\n{{"name": "submit", "arguments": {{}}}}\nlist_volumes()', cloud_tools) == STOP


def test_unknown_tool_is_passed_on_by_its_own_name(cloud_tools: list[dict[str, Any]]) -> None:
    assert find_call('{"name": "stop_instanc", "arguments": {}}', cloud_tools) == ToolCall("stop_instanc", {})


def test_offered_tool_may_leave_arguments_out(cloud_tools: list[dict[str, Any]]) -> None:
    assert find_call('{"name": "list_volumes"}', cloud_tools) == ToolCall("list_volumes", {})


def test_values_keep_their_json_types(cloud_tools: list[dict[str, Any]]) -> None:
    call = find_call("add_tags('i-4', {'n': -1, 'x': [1.5, true, None]})", cloud_tools)
    assert call == ToolCall("add_tags", {"resource_id": "i-4", "tags": {"n": -1, "x": [1.5, True, None]}})


def test_unfinished_answer_holds_a_call_only_where_no_further_word_can_make_it_a_quotation(
    cloud_tools: list[dict[str, Any]],
) -> None:
    closed = f"<tool_call>\n{STOP_ACTION}\n</tool_call>"
    assert find_call(f"{closed}\n", cloud_tools, finished=False) == STOP
    for text in (STOP_ACTION, f"{STOP_ACTION}\n", "submit()\n", closed, f"So:\n{closed}\n"):
        assert find_call(text, cloud_tools, finished=False) is None
        assert find_call(f"{text} would not do.", cloud_tools) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_no_text_makes_the_parser_raise(text: str, cloud_tools: list[dict[str, Any]]) -> None:
    action = canonical_action(text, cloud_tools)
    assert action == text or {"name", "arguments"} <= set(json.loads(action)) <= CALL_FIELDS


@pytest.mark.parametrize("text", ["{" * 30_000, '{"a":' * 10_000, "submit(" * 5_000, "{'a': " + "-" * 9_000 + "1}"])
def test_deep_nesting_is_read_as_no_call(text: str, cloud_tools: list[dict[str, Any]]) -> None:
    assert canonical_action(text, cloud_tools) == text


@given(name=st.text(), arguments=st.dictionaries(st.text(), st.text() | st.integers() | st.booleans() | st.none()))
def test_canonical_action_reads_back_as_the_same_call(name: str, arguments: dict[str, Any]) -> None:
    call = ToolCall(name, arguments)
    assert find_call(call.to_action(), []) == call
