"""When two episodes are one: the same task and the same calls, however a copier spells them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from agentsafe_envs.core.episode import Episode, digest

TASK_FIELDS = ("environment", "split", "pool", "seed", "task_digest")
"""Fields of an episode that name its task."""


def plain_call(action: str) -> str | None:
    """A call without what changes nothing: spaces, order of keys, note, types of numbers, question to the operator.

    Args:
        action: Any text, as an agent wrote it.

    Returns:
        One spelling of all equal calls; None for a text that is no call, since all of those do nothing.
    """
    try:
        call = json.loads(action)
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return None
        asked = call["name"] == "ask_operator"  # its answer is the same for every question
        arguments = {} if asked else _plain(call.get("arguments", {}))
        return json.dumps([call["name"], arguments], sort_keys=True)
    except (ValueError, RecursionError):
        return None


def plain_calls(actions: Iterable[str]) -> tuple[str | None, ...]:
    """:func:`plain_call` of each."""
    return tuple(map(plain_call, actions))


def episode_digest(episode: Episode) -> str:
    """SHA-256 hex digest that an episode shares with its copies. What was observed follows from the calls."""
    return digest_of_calls([getattr(episode, name) for name in TASK_FIELDS], [step.action for step in episode.steps])


def digest_of_calls(task: Sequence[Any], actions: Iterable[str]) -> str:
    """:func:`episode_digest` of an episode that was not read as one.

    Args:
        task: Values of :data:`TASK_FIELDS`, in plain JSON types.
        actions: Texts of its steps, in order.

    Raises:
        TypeError: One of the actions is no text.
    """
    return digest([list(task), list(plain_calls(actions))])


def _plain(value: Any) -> Any:
    """Arguments as a lenient world reads them: ``30``, ``30.0`` and ``" 30"`` are one, and null is left out."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)
