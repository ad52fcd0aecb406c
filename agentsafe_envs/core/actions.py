"""Actions as tool calls, read alike in every world: ``{"name": ..., "arguments": {...}}``.

A call may carry a *note*, ``{"note": "First a look.", "name": ..., "arguments": {...}}``: what the agent said next to
it. Worlds keep it in the episode and do nothing with it.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

Action = str | Mapping[str, Any]
"""What ``step`` takes: text, or the dict of a call ``{"name": ..., "arguments": {...}}``."""

MAX_NESTING = 50
"""Brackets within brackets in an action; far below what Python's own stack allows, so that an
action is understood or not whatever the caller's depth, and an episode always replays."""


LONGEST_NOTE = 2_000
"""Characters of a note; an agent's words beyond them are not kept."""

CALL_FIELDS = frozenset({"note", "name", "arguments"})
"""Keys of a call."""


class ToolCall(NamedTuple):
    """One call of one tool.

    Attributes:
        name: As written; not necessarily a tool that exists.
        arguments: Whatever JSON value was given.
        note: What the agent said next to it, in at most :data:`LONGEST_NOTE` characters.
    """

    name: str
    arguments: Any
    note: str = ""

    def to_action(self) -> str:
        """The one spelling that is sent to an environment: one line of ASCII JSON.

        Raises:
            ValueError: The arguments hold NaN or an infinity.
        """
        note = {"note": self.note} if self.note else {}
        return json.dumps({**note, "name": self.name, "arguments": self.arguments}, allow_nan=False)


class CallError(ValueError):
    """An action that is no call of an offered tool; the message tells the agent why.

    Attributes:
        code: ``"invalid_argument"`` or ``"not_found"``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def schema(name: str, description: str, argument: str, about: str, *, required: bool = False) -> dict[str, Any]:
    """Schema, in OpenAI's function form, of a tool that takes one text."""
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {
                "type": "object",
                "properties": {argument: {"type": "string", "description": about}},
                "required": [argument] if required else [],
                "additionalProperties": False,
            },
        },
    }


CONTROLS = {
    "ask_operator": schema("ask_operator", "Ask the operator who gave the task.", "question", "What to ask."),
    "submit": schema("submit", "End the task.", "answer", "The answer, if the task asks for one."),
}
"""Tools of every toolset that act on the episode and not on the world."""


def action(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as an agent writes it."""
    return json.dumps({"name": name, "arguments": arguments})


def spell(action: Action) -> str:
    """An action as text, which is what worlds read and episodes hold.

    Text stays as it is, even where it is no call: that is the agent's conduct. Anything else than text or
    the dict of a call is a slip of the program around the agent.

    Raises:
        TypeError: Such a slip; the message says what was expected.
    """
    if isinstance(action, str):
        return str(action)
    expected = 'expected text, or the dict of a call {"name": "list_resources", "arguments": {"kind": "volume"}}'
    if not isinstance(action, Mapping):
        raise TypeError(f"the action is a {type(action).__name__}; {expected}")
    if not isinstance(action.get("name"), str) or not action.keys() <= CALL_FIELDS:
        raise TypeError(f"the action is a dict with the keys {sorted(map(str, action))}; {expected}")
    try:
        return json.dumps(dict(action), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"the arguments of the call {action['name']!r} are no JSON: {error}; {expected}") from error


def sample_call(tools: Sequence[Mapping[str, Any]], rng: random.Random | None = None, read: str = "") -> dict[str, Any]:
    """A random call that the tools' schemas allow, to be given to ``step``.

    Args:
        tools: Schemas in OpenAI's function form, as ``info["tools"]`` holds them; at least one.
        rng: What is drawn from; None draws anew at every call.
        read: Text that was read so far; ids like ``vol-17`` in it become arguments.

    Returns:
        ``{"name": ..., "arguments": {...}}``.
    """
    words = sorted(set(re.findall(r"\b[a-z]+-\d+\b", read))) or ["none"]
    rng = rng or random.Random()
    function = rng.choice(tools)["function"]
    parameters = function["parameters"]
    arguments = {
        name: _sample_value(schema, rng, words)
        for name, schema in parameters["properties"].items()
        if name in parameters["required"] or rng.random() < 0.3
    }
    return {"name": function["name"], "arguments": arguments}


def without_note(action: str) -> tuple[str, str]:
    """An action as it would have been without its note, and the note; both as they are where there is none."""
    try:
        call = json.loads(action)
    except (ValueError, RecursionError):
        return action, ""
    if not isinstance(call, dict) or not isinstance(call.get("note"), str):
        return action, ""
    note = call.pop("note")
    return json.dumps(call), note


def read_call(action: str, offered: Collection[str]) -> ToolCall:
    """The call that ``action`` makes; the arguments of :data:`CONTROLS` are checked as well.

    Args:
        action: Any text.
        offered: Names of the tools.

    Raises:
        CallError: It makes none.
    """
    try:
        parsed = json.loads(action)
    except (ValueError, RecursionError):
        parsed = None
    brackets = action.count("{") + action.count("[")
    if parsed is None or (brackets > MAX_NESTING and _nested_deeper(parsed, MAX_NESTING)):
        raise CallError("invalid_argument", 'expected one JSON object {"name": ..., "arguments": {...}}')
    if not isinstance(parsed, dict) or not isinstance(parsed.get("name"), str):
        raise CallError("invalid_argument", 'the call needs a "name" and "arguments"')
    unknown = parsed.keys() - CALL_FIELDS
    if unknown:
        raise CallError("invalid_argument", f"unknown fields {sorted(unknown)}; a call has name and arguments")
    note = parsed.get("note", "")
    if not isinstance(note, str) or len(note) > LONGEST_NOTE:
        raise CallError("invalid_argument", f"the note is no text of at most {LONGEST_NOTE} characters")
    call = ToolCall(parsed["name"], parsed.get("arguments", {}), note)
    if call.name not in offered:
        raise CallError("not_found", f"no tool {call.name!r}; tools: {', '.join(offered)}")
    if call.name in CONTROLS:
        known = CONTROLS[call.name]["function"]["parameters"]["properties"].keys()
        if not isinstance(call.arguments, dict) or call.arguments.keys() - known:
            raise CallError("invalid_argument", f"{call.name} takes {', '.join(known)}")
    return call


def _nested_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_nested_deeper(each, levels - 1) for each in inner)


def _sample_value(schema: Mapping[str, Any], rng: random.Random, words: Sequence[str]) -> Any:
    for option in schema.get("anyOf", ()):
        if option.get("type") != "null":
            schema = option
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type")
    if kind == "integer":
        return rng.choice((0, 1, 30, 365))
    if kind == "boolean":
        return rng.random() < 0.5
    word = rng.choice(words)
    return [word] if kind == "array" else word
