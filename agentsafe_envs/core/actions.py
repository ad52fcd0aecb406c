"""Actions as tool calls, read alike in every world: ``{"name": ..., "arguments": {...}}``."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

MAX_NESTING = 50
"""Brackets within brackets in an action; far below what Python's own stack allows, so that an
action is understood or not whatever the caller's depth, and an episode always replays."""


class ToolCall(NamedTuple):
    """One call of one tool.

    Attributes:
        name: As written; not necessarily a tool that exists.
        arguments: Whatever JSON value was given.
    """

    name: str
    arguments: Any

    def to_action(self) -> str:
        """The one spelling that is sent to an environment: one line of ASCII JSON.

        Raises:
            ValueError: The arguments hold NaN or an infinity.
        """
        return json.dumps({"name": self.name, "arguments": self.arguments}, allow_nan=False)


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
    unknown = parsed.keys() - {"name", "arguments"}
    if unknown:
        raise CallError("invalid_argument", f"unknown fields {sorted(unknown)}; a call has name and arguments")
    call = ToolCall(parsed["name"], parsed.get("arguments", {}))
    if call.name not in offered:
        raise CallError("not_found", f"no tool {call.name!r}; tools: {', '.join(offered)}")
    if call.name in CONTROLS:
        permitted_access = CONTROLS[call.name]["function"]["parameters"]["properties"].keys()
        if not isinstance(call.arguments, dict) or call.arguments.keys() - permitted_access:
            raise CallError("invalid_argument", f"{call.name} takes {', '.join(permitted_access)}")
    return call


def _nested_deeper(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_nested_deeper(each, levels - 1) for each in inner)
