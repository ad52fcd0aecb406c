"""Which of an agent's settings decide its conduct, and which are circumstances of playing it.

A run whose agent differs in conduct is another run. Circumstances may change in the middle: they are noted
in the run and its scorecard, and block neither resuming nor merging.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

CIRCUMSTANCES = frozenset(
    {
        "timeout_s",  # how long an answer may take
        "base_url",  # where the same model is asked
        "max_tokens_field",  # what its service calls the same limit
        "versions",
        "accelerate",
        "numpy",
        "openai",
        "peft",
        "python",
        "safetensors",
        "tokenizers",
        "torch",
        "transformers",
    }
)
"""Names in ``describe()`` that never decide conduct: patience, addresses, versions of libraries."""

ASKED_ONE_BY_ONE = frozenset({"openai"})
"""Kinds of agents that see each conversation by itself, so for them ``group_size`` is a circumstance too.

Every other agent samples from a seed made of the group's episodes (``group_seed``), and decodes them
together: another group size is another sample, and so it is conduct.
"""

LONGEST_VALUE = 60
"""Characters of a setting in a message."""

Settings = Mapping[str, Any]


def depends_on_group(settings: Settings) -> bool:
    """Whether what the agent does in an episode may depend on the others in its group."""
    return settings.get("agent") not in ASKED_ONE_BY_ONE


def conduct(settings: Settings) -> dict[str, Any]:
    """The settings that decide conduct."""
    apart = circumstances(settings)
    return {name: value for name, value in settings.items() if name not in apart}


def circumstances(settings: Settings) -> dict[str, Any]:
    """The settings that do not."""
    names = CIRCUMSTANCES if depends_on_group(settings) else CIRCUMSTANCES | {"group_size"}
    return {name: value for name, value in settings.items() if name in names}


def values_seen(*several: Settings) -> dict[str, list[Any]]:
    """Circumstances in which settings differ, each with its values in order; None stands for the agent's default."""
    names = sorted({name for settings in several for name in circumstances(settings)})
    found = {name: _distinct(settings.get(name) for settings in several) for name in names}
    return {name: values for name, values in found.items() if len(values) > 1}


def merged_values(first: Mapping[str, list[Any]], second: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Values of both, those of ``first`` before those of ``second``."""
    names = sorted({*first, *second})
    return {name: _distinct(iter([*first.get(name, []), *second.get(name, [])])) for name in names}


def differing(there: Settings, asked: Settings) -> list[str]:
    """One line a setting that differs, settings within settings by their path."""
    return [f"{name}: {_shown(one)} there, {_shown(other)} asked" for name, one, other in _differences(there, asked)]


_MISSING = object()


def _differences(there: Settings, asked: Settings, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*there, *asked}):
        one, other = there.get(name, _MISSING), asked.get(name, _MISSING)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differences(one, other, f"{prefix}{name}.")
        elif one is _MISSING or other is _MISSING or one != other:
            yield f"{prefix}{name}", one, other


def _shown(value: Any) -> str:
    if value is _MISSING:
        return "nothing"
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _distinct(values: Iterator[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
