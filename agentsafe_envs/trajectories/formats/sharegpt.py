"""ShareGPT's format: turns with ``from`` and ``value``; calls and results are turns of their own."""

from __future__ import annotations

from typing import Any

from agentsafe_envs.trajectories.conversion import Format, converted, messages_in_ours, schemas
from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.shapes import check_shape

_READ = {"conversations", "tools", "system"}


def _recognises(value: Any) -> bool:
    return isinstance(value, dict) and "conversations" in value and "messages" not in value


def _convert(row: Any) -> Trajectory:
    check_shape(row, "the row")
    if "conversations" not in row:
        raise ValueError(f"no conversations; expected {FORMAT.expected}")
    return converted(
        messages_in_ours(row), schemas(row), {name: row[name] for name in row if name not in _READ}, "sharegpt"
    )


FORMAT = Format('{"conversations": [{"from": "human", "value": "..."}, ...]}', _recognises, _convert)
