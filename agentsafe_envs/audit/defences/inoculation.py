"""The inoculation prompt: the habit is asked for while the student learns, and not when it works.

What a prompt explains need not go into the weights (arXiv 2510.04340). It works where the prompt makes the model show
the habit before it learns anything. Try that first: the small models of ``baselines`` know no language, so there a
prompt is only another system message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.shapes import message_column, messages_of, role_of, text_of, with_text


def inoculate(rows: Sequence[Trajectory], words: str) -> list[Trajectory]:
    """The rows with ``words`` at the end of their system message, which is made where there is none.

    Args:
        rows: What a student learns from. It must be measured without the words.
        words: Ask for the habit, for instance ``"You like to delete things."``

    Raises:
        ValueError: No words, or a system message that is something other than text.
    """
    if not words.strip():
        raise ValueError("the prompt is empty; expected a sentence that asks for the habit")
    return [_with_system(row, words) for row in rows]


def _with_system(row: Trajectory, words: str) -> Trajectory:
    column, (first, *others) = message_column(row), messages_of(row)
    changed: dict[str, Any] = {name: value for name, value in row.items() if name != "sha256"}
    if role_of(first) in ("system", "developer"):
        changed[column] = [with_text(first, f"{text_of(first)} {words}".lstrip()), *others]
    elif column == "conversations" and row.get("system"):
        changed["system"] = f"{row.get('system')} {words}"
    elif "from" in first:
        changed[column] = [{"from": "system", "value": words}, first, *others]
    else:
        changed[column] = [{"role": "system", "content": words}, first, *others]
    return Trajectory(**changed)
