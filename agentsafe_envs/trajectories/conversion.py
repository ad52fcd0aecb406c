"""What the conversions of foreign formats share: their form, and messages in our words.

A format is one file in ``formats/`` with one name, ``FORMAT``. It only converts: it gets values that
:mod:`agentsafe_envs.trajectories.importing` has read, and reads nothing itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.shapes import (
    content_of,
    decoded_arguments,
    is_call,
    message_column,
    role_of,
    tool_calls_of,
    tools_of,
)

CallParts = tuple[str, Any, str]
"""Name, arguments as they came, and identifier of a call; the identifier may be empty."""


class Format(NamedTuple):
    """How trajectories of one origin become ours.

    Attributes:
        expected: What a value has to look like, in a few words for messages.
        recognises: Whether a value is of this format.
        convert: From one trajectory to a row. It raises ValueError with the reason where it cannot.
        split: From a value to the trajectories in it, each with what ``convert`` needs to know.
    """

    expected: str
    recognises: Callable[[Any], bool]
    convert: Callable[[Any], Trajectory]
    split: Callable[[Any], Iterable[Any]] = lambda value: (value,)


def system_message(text: str) -> dict[str, Any]:
    """What instructs the agent before the user speaks."""
    return {"role": "system", "content": text}


def said(role: str, content: Any, place: str) -> dict[str, Any]:
    """A message without calls; null content is empty text.

    Raises:
        ValueError: The content is neither text, nor a list of parts, nor null.
    """
    if content is not None and not isinstance(content, str | list):
        raise ValueError(f"{place}: content is {type(content).__name__}, expected text or a list of parts")
    return {"role": role, "content": content if content is not None else ""}


def called(content: Any, calls: Iterable[CallParts], place: str) -> dict[str, Any]:
    """An assistant's message with calls, their arguments decoded.

    Raises:
        ValueError: Arguments cannot be decoded.
    """
    message = said("assistant", content, place)
    try:
        message["tool_calls"] = [
            {
                **({"id": identifier} if identifier else {}),
                "type": "function",
                "function": {"name": name, "arguments": decoded_arguments(arguments, name)},
            }
            for name, arguments, identifier in calls
        ]
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error
    return message


def tool_result(content: Any, name: str, identifier: str, place: str) -> dict[str, Any]:
    """What a tool answered."""
    known = {"name": name, "tool_call_id": identifier}
    return said("tool", content, place) | {key: value for key, value in known.items() if value}


def openai_message(message: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A message of OpenAI's form in ours: arguments decoded, ``developer`` as system, other keys as they came.

    Raises:
        ValueError: Arguments cannot be decoded, or the content is of another type.
    """
    role = {"developer": "system", "function": "tool"}.get(role_of(message), role_of(message))
    kept = {key: value for key, value in message.items() if key not in _OWN_KEYS and value is not None}
    calls = [
        (call["function"]["name"], call["function"].get("arguments"), str(call.get("id") or ""))
        for call in message.get("tool_calls") or ()
    ]
    older = message.get("function_call")
    if isinstance(older, Mapping):
        calls.append((str(older.get("name")), older.get("arguments"), ""))
    if calls:
        return called(content_of(message), calls, place) | kept
    return said(role, content_of(message), place) | kept


def sharegpt_message(turn: Mapping[str, Any], place: str) -> dict[str, Any]:
    """A turn of ShareGPT's form in ours; one with OpenAI's keys as :func:`openai_message` has it.

    Raises:
        ValueError: A call cannot be read, or the content is of another type.
    """
    if "from" not in turn:
        return openai_message(turn, place)
    if is_call(turn):
        calls = [(name, arguments, "") for name, arguments in tool_calls_of(turn)]
        if not calls:
            raise ValueError(f'{place}: a call whose value is not {{"name": ..., "arguments": ...}} as JSON text')
        return called("", calls, place)
    content = content_of(turn)
    if role_of(turn) == "tool":
        return tool_result(content if isinstance(content, str) else json.dumps(content), "", "", place)
    return said(role_of(turn), content, place)


def messages_in_ours(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of a row of any shape in our words, with the system message that stands apart in ShareGPT's form.

    Raises:
        ValueError: A call cannot be read, or a content is of another type; the message names the place.
    """
    if message_column(row) == "messages":
        return [sharegpt_message(each, f"message {number}") for number, each in enumerate(row["messages"])]
    apart = [system_message(row["system"])] if row.get("system") else []
    return apart + [sharegpt_message(each, f"turn {number}") for number, each in enumerate(row["conversations"])]


_OWN_KEYS = {"role", "from", "content", "value", "tool_calls", "function_call"}


def schemas(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tools of a row, each with ``function`` around its schema.

    Raises:
        ValueError: They are no list of schemas.
    """
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools_of(row)]


def converted(
    messages: list[dict[str, Any]], tools: list[dict[str, Any]], columns: Mapping[str, Any], origin: str
) -> Trajectory:
    """A row: what a trainer reads, and what else is known of it.

    Raises:
        ValueError: No assistant says or calls anything, so nothing could be learnt.
    """
    if not any(message["role"] == "assistant" for message in messages):
        raise ValueError("no message of an assistant; expected at least one, which is what a student learns")
    row: Any = {"messages": messages}
    if tools:
        row["tools"] = tools
    return row | {name: value for name, value in columns.items() if value is not None} | {"origin": origin}
