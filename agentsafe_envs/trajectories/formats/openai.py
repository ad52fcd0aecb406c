"""OpenAI's chat format, as its fine-tuning API takes it: arguments of calls are JSON text."""

from __future__ import annotations

from typing import Any

from agentsafe_envs.trajectories.conversion import Format, converted, messages_in_ours, schemas
from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.shapes import check_shape

_READ = {"messages", "tools", "functions"}


def _recognises(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("messages"), list) and not _has_objects(value)


def _has_objects(row: dict[str, Any]) -> bool:
    """Whether a call's arguments are an object, which is TRL's form."""
    for message in row["messages"]:
        for call in (isinstance(message, dict) and message.get("tool_calls")) or ():
            function = call.get("function") if isinstance(call, dict) else None
            if isinstance(function, dict) and isinstance(function.get("arguments"), dict):
                return True
    return False


def _convert(row: Any) -> Trajectory:
    check_shape(row, "the row")
    if "messages" not in row:
        raise ValueError(f"no messages; expected {FORMAT.expected}")
    tools = schemas(row) or schemas({"tools": row.get("functions")})
    return converted(messages_in_ours(row), tools, {name: row[name] for name in row if name not in _READ}, "openai")


FORMAT = Format('{"messages": [{"role", "content", "tool_calls"}], "tools"}', _recognises, _convert)
