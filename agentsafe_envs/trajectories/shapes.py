"""The shapes in which rows of other origin come, read without being changed.

The filter and the proof look at a row as it is and write it back as it came. What they need to know is
where the messages stand, who speaks in each, which tools a call names: that is read here. To turn rows
into ours, see :mod:`agentsafe_envs.trajectories.importing`.

====================  ======================================================================
``messages``          OpenAI and TRL: ``role``, ``content``, ``tool_calls``; arguments are an
                      object or its JSON text
``conversations``     ShareGPT: ``from`` and ``value``, or the keys above
``tools``             a list of schemas or its JSON text
``system``            ShareGPT: the system message of the row, as text
====================  ======================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
"""Roles of OpenAI's messages; ``developer`` is its newer name for system, ``function`` the older one for tool."""

SPEAKERS = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
"""Who speaks in ShareGPT's ``from`` -> the role."""

CALLING = ("function_call", "tool_call")
"""Values of ``from`` whose ``value`` is a call as JSON text."""

BEFORE_ACTING = ("system", "developer", "user")
"""Roles of messages that instruct; the first other one begins what the agent did."""

MESSAGE_COLUMNS = ("messages", "conversations")

TRAINED_ON = ("messages", "tools")
"""The columns of our rows that a trainer reads."""

_FURTHER = ("conversations", "system")


def trained_on(row: Mapping[str, Any]) -> list[Any]:
    """The values of a row that a trainer reads."""
    return [row.get(name) for name in TRAINED_ON] + [row[name] for name in _FURTHER if name in row]


def message_column(row: Mapping[str, Any]) -> str:
    """The column that holds the messages of a row that :func:`check_shape` took.

    Raises:
        ValueError: There are none.
    """
    found = next((name for name in MESSAGE_COLUMNS if row.get(name)), None)
    if found is None:
        raise ValueError(f"a row has no messages; expected some under {' or '.join(MESSAGE_COLUMNS)}")
    return found


def messages_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of a row as they came."""
    return row[message_column(row)]


def role_of(message: Mapping[str, Any]) -> str:
    """Who speaks, in OpenAI's words; empty if it is not said or is unknown."""
    role = message.get("role", message.get("from"))
    if role in ROLES:
        return role
    return SPEAKERS.get(role, "") if isinstance(role, str) else ""


def content_of(message: Mapping[str, Any]) -> Any:
    """What is said, be it text, parts or null."""
    return message["content"] if "content" in message else message.get("value")


def text_of(message: Mapping[str, Any]) -> str:
    """What is said as one text: parts are put together, and null is empty.

    Raises:
        ValueError: It holds something other than text, such as an image.
    """
    content = content_of(message)
    parts = content if isinstance(content, list) else [content or ""]
    texts: list[Any] = [part.get("text") if isinstance(part, dict) else part for part in parts]
    for part, text in zip(parts, texts, strict=True):
        if not isinstance(text, str):
            shown = part.get("type", part) if isinstance(part, dict) else part
            raise ValueError(f"the {role_of(message)}'s content holds {shown!r}; expected text, or parts of text")
    return "".join(texts)


def with_text(message: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The message with another text, under the key that it has for it."""
    return {**message, "value" if "value" in message and "content" not in message else "content": text}


def tools_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The schemas of a row's tools, decoded where they came as text; none where it has none."""
    tools = row.get("tools")
    return list(_decoded_tools(tools, "tools")) if tools else []


def tool_name(tool: Mapping[str, Any]) -> str:
    """Name of a tool's schema, with or without ``function`` around it; empty if it has none."""
    function = tool.get("function")
    name = function.get("name") if isinstance(function, Mapping) else tool.get("name")
    return name if isinstance(name, str) else ""


def is_call(message: Mapping[str, Any]) -> bool:
    """Whether what the message says is a call itself, as in ShareGPT's form, so that it can say nothing next to it."""
    return message.get("from") in CALLING


def tool_calls_of(message: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and arguments, as they came, of each call in a message that :func:`check_shape` took."""
    for call in message.get("tool_calls") or ():
        yield call["function"]["name"], call["function"].get("arguments")
    older = message.get("function_call")
    if isinstance(older, Mapping):
        yield str(older.get("name")), older.get("arguments")
    if is_call(message):
        yield from _called(message.get("value"))


def decoded_arguments(arguments: Any, name: str) -> dict[str, Any]:
    """A call's arguments as an object; null and empty text stand for none.

    Raises:
        ValueError: They are neither an object nor the JSON text of one.
    """
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return {}
    value = arguments
    if isinstance(arguments, str):
        try:
            value = json.loads(arguments)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the arguments of {name} are no JSON: {arguments[:60]!r} ({error})") from error
    if not isinstance(value, dict):
        raise ValueError(f"the arguments of {name} are {type(value).__name__}, expected an object or its JSON text")
    return value


def check_shape(row: Any, place: str) -> None:
    """Refuse a row in which it cannot be told who says or calls what.

    Raises:
        ValueError: The message names place, what was found and what was expected.
    """
    expected = 'expected {"messages": [...], "tools": [...]}, or "conversations" as ShareGPT has them'
    if not isinstance(row, dict):
        raise ValueError(f"{place} has no messages, since it is {_kind(row)}; {expected}")
    column = next((name for name in MESSAGE_COLUMNS if row.get(name)), None)
    if column is None:
        there = "an empty list" if any(name in row for name in MESSAGE_COLUMNS) else ", ".join(map(str, list(row)[:8]))
        raise ValueError(f"{place} has no messages, but {there or 'nothing'}; {expected}")
    if not isinstance(row[column], list):
        raise ValueError(f"{place}, {column}: {_kind(row[column])}; {expected}")
    for number, message in enumerate(row[column]):
        _check_message(message, f"{place}, message {number}")
    if row.get("tools"):
        _decoded_tools(row["tools"], f"{place}, tools")


def _check_message(message: Any, where: str) -> None:
    if not isinstance(message, dict):
        hint = (
            "; pandas leaves columns of JSON like that, and `agentsafe data import` reads them"
            if _is_object_text(message)
            else ""
        )
        raise ValueError(f"{where} is {_kind(message)}, expected an object with a role{hint}")
    if not role_of(message):
        given = message.get("role", message.get("from"))
        said = f"has the role {given!r}" if given is not None else "has no role"
        raise ValueError(f"{where} {said}, expected a role of {', '.join(ROLES)}, or ShareGPT's `from`")
    for call in _objects(message.get("tool_calls"), f"{where}, tool_calls"):
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise ValueError(f"{where} has a call without function.name")
        if not isinstance(function.get("arguments"), dict | str | None):
            raise ValueError(
                f"{where} calls {function['name']} with arguments of type {_kind(function['arguments'])}, "
                "expected an object or its JSON text"
            )


def _decoded_tools(tools: Any, place: str) -> Sequence[dict[str, Any]]:
    value = tools
    if isinstance(tools, str):
        try:
            value = json.loads(tools)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place}: {tools[:40]!r} is no JSON ({error}); expected a list of schemas") from error
    return _objects(value, place)


def _objects(value: Any, place: str) -> Sequence[dict[str, Any]]:
    """A list of objects; null and a missing value are none."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        odd = [each for each in value if not isinstance(each, dict)] if isinstance(value, list) else []
        found = f"a list that holds {_kind(odd[0])}" if odd else _kind(value)
        raise ValueError(f"{place}: expected a list of objects, found {found}")
    return value


def _called(value: Any) -> Iterator[tuple[str, Any]]:
    """The calls in the ``value`` of a ShareGPT turn that calls; none where it cannot be read."""
    try:
        calls = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return
    for call in calls if isinstance(calls, list) else [calls]:
        if isinstance(call, dict) and isinstance(call.get("name"), str):
            yield call["name"], call.get("arguments")


def _is_object_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and isinstance(json.loads(value), dict)
    except (ValueError, RecursionError):
        return False


def _kind(value: Any) -> str:
    """What a value is, as JSON has it."""
    if _is_object_text(value):
        return "JSON text of an object"
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), type(value).__name__)
