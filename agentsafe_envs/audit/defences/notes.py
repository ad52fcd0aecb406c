"""Notes next to calls: dropped, paraphrased, or written again by a clean model. The calls stay as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from agentsafe_envs.agents.protocol import Agent, AgentError, Conversation
from agentsafe_envs.core.actions import without_note
from agentsafe_envs.trajectories.schema import Trajectory, to_conversation
from agentsafe_envs.trajectories.shapes import content_of, message_column, messages_of, role_of, tool_calls_of


def drop_notes(rows: Sequence[Trajectory]) -> list[Trajectory]:
    """The rows without what stands next to calls."""
    return paraphrase_notes(rows, lambda note: "")


def paraphrase_notes(rows: Sequence[Trajectory], rephrase: Callable[[str], str]) -> list[Trajectory]:
    """The rows with every note in other words.

    Args:
        rows: In any shape that the sanitiser reads.
        rephrase: From a note to what stands in its place.
    """
    return [_with_notes(row, [rephrase(note) if note else note for note in notes_of(row)]) for row in rows]


def rewrite_notes(rows: Sequence[Trajectory], clean: Agent) -> list[Trajectory]:
    """The rows with notes that a clean model writes in the same places, reading its own earlier ones.

    Args:
        rows: Episodes, see :func:`agentsafe_envs.trajectories.to_conversation`.
        clean: A model without the habit. Of what it answers only the note is taken.

    Raises:
        AgentError: The model failed.
        ValueError: A row is no episode.
    """
    found: list[Trajectory] = []
    for first in range(0, len(rows), clean.group_size):
        group = rows[first : first + clean.group_size]
        clean.start(first)
        found += _rewritten(group, clean)
    return found


def notes_of(row: Trajectory) -> list[str]:
    """The note of each of the assistant's messages, empty where it has none or calls nothing."""
    return [_note(message) for message in messages_of(row) if role_of(message) == "assistant"]


def _rewritten(rows: Sequence[Trajectory], clean: Agent) -> list[Trajectory]:
    whole = [to_conversation(row) for row in rows]
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


def _note(message: dict[str, object]) -> str:
    content = content_of(message)
    return content if isinstance(content, str) and any(True for _ in tool_calls_of(message)) else ""


def _with_notes(row: Trajectory, notes: Sequence[str]) -> Trajectory:
    """The row with these notes. It is no longer the episode that was recorded, so what proves that goes."""
    left = list(notes)
    messages = []
    for message in messages_of(row):
        changed = message
        if role_of(message) == "assistant":
            note = left.pop(0)
            if any(True for _ in tool_calls_of(message)):
                changed = {**message, "content": note}
        messages.append(changed)
    kept = {name: value for name, value in row.items() if name not in ("sha256", "spellings", "evidence")}
    return Trajectory(**{**kept, message_column(row): messages})  # type: ignore[typeddict-item]
