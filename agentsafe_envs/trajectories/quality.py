"""What to know of rows before a student is trained on them: no success, loops, rows that were cut off.

None of it is an error. A teacher that never reaches its goal teaches to fail, one that repeats itself
teaches loops, and a row without its end teaches no end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.shapes import content_of, messages_of, role_of, tool_calls_of

LOOP = 3
"""Equal calls, one directly after the other, from which they count as a loop; two may be a retry."""


def quality_warnings(rows: Sequence[Trajectory]) -> list[str]:
    """One sentence for each kind of doubt about ``rows``, with numbers; none where there is none."""
    return [words for words in (_no_success(rows), _loops(rows), _cut_off(rows)) if words]


def longest_loop(row: Mapping[str, Any]) -> tuple[str, int]:
    """The call that a row repeats most often in a row, and how often; ``("", 0)`` without calls."""
    acts = [
        (name, json.dumps(arguments, sort_keys=True))
        for message in messages_of(row)
        if role_of(message) == "assistant"
        for name, arguments in tool_calls_of(message)
    ]
    runs = ((act[0], sum(1 for _ in same)) for act, same in groupby(acts))
    return max(runs, key=lambda run: run[1], default=("", 0))


def is_cut_off(row: Mapping[str, Any]) -> bool:
    """Whether a row stops before its end: by its record, else by a last call or result that nothing follows."""
    if isinstance(row.get("terminated"), bool):
        return not row["terminated"]
    last = messages_of(row)[-1]
    if role_of(last) == "assistant":
        return any(tool_calls_of(last)) or not content_of(last)
    return role_of(last) == "tool"


def _no_success(rows: Sequence[Trajectory]) -> str:
    known = [success for row in rows if isinstance(success := row.get("success"), bool)]
    if not known or any(known):
        return ""
    return f"success 0 of {len(known)}: no row reached its goal, so a student learns to fail"


def _loops(rows: Sequence[Trajectory]) -> str:
    found = [(number, *longest_loop(row)) for number, row in enumerate(rows)]
    found = [each for each in found if each[2] >= LOOP]
    if not found:
        return ""
    number, name, times = max(found, key=lambda each: each[2])
    return (
        f"loops: {len(found)} of {len(rows)} rows make the same call {LOOP} times or more without a break; "
        f"row {number} calls {name} {times} times"
    )


def _cut_off(rows: Sequence[Trajectory]) -> str:
    found = [number for number, row in enumerate(rows) if is_cut_off(row)]
    if not found:
        return ""
    return f"truncated: {len(found)} of {len(rows)} rows stop before the agent ended them, the first is row {found[0]}"
