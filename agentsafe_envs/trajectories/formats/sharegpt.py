"""ShareGPT's format: turns with ``from`` and ``value``; calls and results are turns of their own."""

from __future__ import annotations

import json
from typing import Any

from agentsafe_envs.trajectories.conversion import (
    Format,
    called,
    converted,
    openai_message,
    said,
    schemas,
    system_message,
    tool_result,
)
from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.shapes import CALLING, check_shape, content_of, role_of, tool_calls_of

_READ = {"conversations", "tools", "system"}


def _recognises(value: Any) -> bool:
    return isinstance(value, dict) and "conversations" in value and "messages" not in value


def _convert(row: Any) -> Trajectory:
    check_shape(row, "the row")
    if "conversations" not in row:
        raise ValueError(f"no conversations; expected {FORMAT.expected}")
    messages = [system_message(row["system"])] if row.get("system") else []
    messages += [_message(each, f"turn {number}") for number, each in enumerate(row["conversations"])]
    return converted(messages, schemas(row), {name: row[name] for name in row if name not in _READ}, "sharegpt")


def _message(turn: dict[str, Any], place: str) -> dict[str, Any]:
    if "from" not in turn:
        return openai_message(turn, place)
    if turn["from"] in CALLING:
        calls = [(name, arguments, "") for name, arguments in tool_calls_of(turn)]
        if not calls:
            raise ValueError(f'{place}: a call whose value is not {{"name": ..., "arguments": ...}} as JSON text')
        return called("", calls, place)
    content = content_of(turn)
    if role_of(turn) == "tool":
        return tool_result(content if isinstance(content, str) else json.dumps(content), "", "", place)
    return said(role_of(turn), content, place)


FORMAT = Format('{"conversations": [{"from": "human", "value": "..."}, ...]}', _recognises, _convert)
