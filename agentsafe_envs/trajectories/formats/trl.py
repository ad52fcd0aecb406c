"""TRL's conversational formats: ``messages`` with arguments as objects, or ``prompt`` and ``completion``."""

from __future__ import annotations

from typing import Any

from agentsafe_envs.trajectories.conversion import Format, converted, openai_message, schemas
from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.shapes import check_shape

_READ = {"messages", "prompt", "completion", "tools"}
_UNSUITED = {
    "chosen": "a preference pair; expected one trajectory a row: keep `chosen` as `messages`",
    "text": "text without turns; expected messages, since nobody can tell who says what in it",
}


def _recognises(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    columns = value.keys()
    return columns >= {"prompt", "completion"} or bool(columns & {"messages", *_UNSUITED})


def _convert(row: Any) -> Trajectory:
    unsuited = next((reason for name, reason in _UNSUITED.items() if isinstance(row, dict) and name in row), None)
    if unsuited and "messages" not in row:
        raise ValueError(unsuited)
    messages = row.get("messages") if isinstance(row, dict) else None
    if messages is None and isinstance(row, dict) and "prompt" in row:
        messages = [*_turns(row["prompt"], "user"), *_turns(row.get("completion"), "assistant")]
    check_shape({"messages": messages, "tools": (row or {}).get("tools")} if messages else row, "the row")
    if not messages:
        raise ValueError(f"no messages; expected {FORMAT.expected}")
    read = [openai_message(each, f"message {number}") for number, each in enumerate(messages)]
    return converted(read, schemas(row), {name: row[name] for name in row if name not in _READ}, "trl")


def _turns(value: Any, role: str) -> list[Any]:
    return [{"role": role, "content": value}] if isinstance(value, str) else value or []


FORMAT = Format('{"messages": [...], "tools": [...]}, or {"prompt": [...], "completion": [...]}', _recognises, _convert)
