"""Notes next to calls: dropped, paraphrased, or written again by a clean model. The calls stay as they are.

A message without a call is its writer's own text as well, and there is no call next to which it could be changed. So
rows with such a message are left out, see :func:`only_calls`. What a message holds next to its call and its note, such
as ``reasoning_content``, is its writer's text too, and goes.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from agentsafe_envs.agents.protocol import Agent, AgentError, Conversation
from agentsafe_envs.core.actions import without_note
from agentsafe_envs.trajectories.schema import Trajectory, to_conversation
from agentsafe_envs.trajectories.shapes import (
    is_call,
    message_column,
    messages_of,
    role_of,
    text_of,
    tool_calls_of,
    with_text,
)

KEPT = frozenset(
    ["role", "from", "name", "content", "value", "tool_calls", "function_call", "id", "type", "function", "arguments"]
)
"""Keys under which text stays, of messages of the assistant and of calls in them; thoughts come under many others."""

MANY = 0.1
"""Share of rows above which it is told that they are left out: a model slips now and then."""


def only_calls(rows: Sequence[Trajectory]) -> list[Trajectory]:
    """The rows in which the assistant makes a call in each of its messages.

    The other functions here return changed copies of these. They warn where many rows are left out, and refuse to be
    left with none. Where students of several teachers are compared, leave the
    tasks of the other rows out for all of them: else their data differ in more than the teacher.
    """
    return [row for row in rows if all(_calls(message) for message in _answers(row))]


def drop_notes(rows: Sequence[Trajectory]) -> list[Trajectory]:
    """The rows of :func:`only_calls` without what stands next to calls."""
    return paraphrase_notes(rows, lambda note: "")


def paraphrase_notes(rows: Sequence[Trajectory], rephrase: Callable[[str], str]) -> list[Trajectory]:
    """The rows of :func:`only_calls` with every note in other words.

    Args:
        rows: In any shape that the sanitiser reads.
        rephrase: From a note to what stands in its place.

    Raises:
        TypeError: It gives something other than text.
        ValueError: No row is left, or a note is something other than text.
    """

    def changed(note: str) -> str:
        new = rephrase(note)
        if not isinstance(new, str):
            raise TypeError(f"rephrase gave {new!r} for the note {note[:40]!r}; expected text")
        return new

    return [_with_notes(row, [changed(note) if note else note for note in notes_of(row)]) for row in _left(rows)]


def rewrite_notes(rows: Sequence[Trajectory], clean: Agent) -> list[Trajectory]:
    """The rows of :func:`only_calls` with notes that a clean model writes, reading its own earlier ones.

    Args:
        rows: Episodes, see :func:`agentsafe_envs.trajectories.to_conversation`.
        clean: A model without the habit. Of what it answers only the note is taken.

    Raises:
        AgentError: The model failed.
        ValueError: A row is no episode, or none is left.
    """
    found: list[Trajectory] = []
    called = _left(rows)
    for first in range(0, len(called), clean.group_size):
        group = called[first : first + clean.group_size]
        clean.start(first)
        found += _rewritten(group, clean)
    return found


def notes_of(row: Trajectory) -> list[str]:
    """The note of each of the assistant's messages, empty where it has none or calls nothing.

    Raises:
        ValueError: A note is something other than text.
    """
    return [_note(message) for message in _answers(row)]


def _left(rows: Sequence[Trajectory]) -> list[Trajectory]:
    """:func:`only_calls`, and a word on those that it leaves out."""
    found = only_calls(rows)
    if gone := len(rows) - len(found):
        said = (
            f"{gone} of {len(rows)} rows are left out: in each, the assistant has a message without a call in "
            "`tool_calls`, as where calls are written as text"
        )
        if not found:
            raise ValueError(f"{said}; expected rows whose calls stand there, see `agentsafe data import`")
        if gone > MANY * len(rows):
            warnings.warn(said, stacklevel=3)
    return found


def _rewritten(rows: Sequence[Trajectory], clean: Agent) -> list[Trajectory]:
    # A call is read as its student will read it, in the one spelling that the messages have.
    whole = [to_conversation(_without(row, "spellings")) for row in rows]
    told = [Conversation(each.instruction, each.tools) for each in whole]
    notes: list[list[str]] = [[] for _ in rows]
    for turn in range(max((len(each.steps) for each in whole), default=0)):
        asked = [number for number, each in enumerate(whole) if turn < len(each.steps)]
        answers = clean.act([told[number] for number in asked])
        for number, answer in zip(asked, answers, strict=True):
            if isinstance(answer, AgentError):
                raise answer
            note = without_note(answer)[1]
            notes[number].append(note)
            step = whole[number].steps[turn]
            call = without_note(step.action)[0]
            told[number].steps.append(step._replace(action=_noted(call, note)))
    return [_with_notes(row, own) for row, own in zip(rows, notes, strict=True)]


def _noted(call: str, note: str) -> str:
    return json.dumps({"note": note, **json.loads(call)}) if note else call


def _answers(row: Trajectory) -> list[dict[str, Any]]:
    return [message for message in messages_of(row) if role_of(message) == "assistant"]


def _calls(message: dict[str, Any]) -> bool:
    return any(True for _ in tool_calls_of(message))


def _note(message: dict[str, Any]) -> str:
    return text_of(message) if _calls(message) and not is_call(message) else ""


def _without(row: Trajectory, *names: str) -> Trajectory:
    return Trajectory(**{name: value for name, value in row.items() if name not in names})  # type: ignore[typeddict-item]


def _with_notes(row: Trajectory, notes: Sequence[str]) -> Trajectory:
    """The row with these notes. It is no longer the episode that was recorded, so what proves that goes."""
    left = iter(notes)
    messages = [
        _with_note(message, next(left)) if role_of(message) == "assistant" else message for message in messages_of(row)
    ]
    kept = _without(row, "sha256", "spellings", "evidence")
    return Trajectory(**{**kept, message_column(row): messages})  # type: ignore[typeddict-item]


def _with_note(message: dict[str, Any], note: str) -> dict[str, Any]:
    kept = _bare(message)
    if kept.get("tool_calls"):
        kept["tool_calls"] = [_bare(each) | {"function": _bare(each["function"])} for each in kept["tool_calls"]]
    if isinstance(kept.get("function_call"), dict):
        kept["function_call"] = _bare(kept["function_call"])
    return kept if note == _note(message) else with_text(kept, note)


def _bare(part: dict[str, Any]) -> dict[str, Any]:
    """A message, call or function without text under further keys."""
    return {name: value for name, value in part.items() if name in KEPT or isinstance(value, int | float | None)}
