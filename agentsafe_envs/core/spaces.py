"""Text spaces that every environment shares, and how any string is made to fit them."""

from __future__ import annotations

import multiprocessing
import string
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import create_shared_memory, read_from_shared_memory, write_to_shared_memory

CHARSET = string.ascii_letters + string.digits + string.punctuation + " \n\t"
"""Printable ASCII, newline and tab; a full-Unicode set makes ``check_env`` take 16 s."""

MAX_INSTRUCTION_CHARS = 2_000
MAX_RESULT_CHARS = 8_000
MAX_ACTION_CHARS = 4_000

_ALLOWED = frozenset(CHARSET)
_MARKER = "\n[cut: {} more characters]"


class SharedText(spaces.Text):
    """Text that ``AsyncVectorEnv`` can hold in shared memory.

    Gymnasium reads its own shared text once, before the first reset, and would return that as every
    observation (Gymnasium issue 1164). This one is read when the observation is copied.
    """


class _PresentTexts(Sequence[str]):
    """What shared memory holds at the moment, a text for each environment; a deep copy stays as it is."""

    def __init__(self, memory: Any, length: int) -> None:
        self._rows = np.frombuffer(memory.get_obj(), dtype=np.uint8).reshape(-1, length)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return tuple(self)[index] if isinstance(index, slice) else _text(self._rows[index])

    def __deepcopy__(self, memo: Any) -> tuple[str, ...]:
        return tuple(self)


@create_shared_memory.register(SharedText)
def _create_text_memory(space: SharedText, n: int = 1, ctx: Any = multiprocessing) -> Any:
    return ctx.Array("B", n * space.max_length)


@read_from_shared_memory.register(SharedText)
def _read_text_memory(space: SharedText, shared_memory: Any, n: int = 1) -> Any:
    return _PresentTexts(shared_memory, space.max_length)


@write_to_shared_memory.register(SharedText)
def _write_text_memory(space: SharedText, index: int, values: str, shared_memory: Any) -> None:
    row = np.frombuffer(shared_memory.get_obj(), dtype=np.uint8).reshape(-1, space.max_length)[index]
    row[:] = 0
    row[: len(values)] = np.frombuffer(values.encode("ascii"), dtype=np.uint8)


def _text(row: Any) -> str:
    """The text of a row; no text of :data:`CHARSET` holds the zero that fills it up."""
    return row.tobytes().rstrip(b"\0").decode("ascii")


def observation_space() -> spaces.Dict:
    """``{"instruction": Text, "result": Text}``, both possibly empty."""
    return spaces.Dict(
        {
            "instruction": SharedText(MAX_INSTRUCTION_CHARS, min_length=0, charset=CHARSET),
            "result": SharedText(MAX_RESULT_CHARS, min_length=0, charset=CHARSET),
        }
    )


def action_space() -> spaces.Text:
    """Text an agent may be sampled from; environments accept any longer or stranger string too."""
    return spaces.Text(MAX_ACTION_CHARS, min_length=0, charset=CHARSET)


def sanitise_text(text: str, max_chars: int = MAX_RESULT_CHARS) -> str:
    r"""Return ``text`` as a member of a text space of at most ``max_chars`` characters.

    Characters outside the space are written as Python escapes (``\x1b``, ``\u2026``); what is
    too long is cut, and the cut says how much is missing.
    """
    if not text.isascii():
        text = text.encode("ascii", "backslashreplace").decode("ascii")
    if not text.isprintable():
        text = "".join(char if char in _ALLOWED else f"\\x{ord(char):02x}" for char in text)
    if len(text) > max_chars:
        kept = max_chars - len(_MARKER.format(len(text)))
        text = text[:kept] + _MARKER.format(len(text) - kept)
    return text
