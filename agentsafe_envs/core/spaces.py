"""Text spaces that every environment shares, and how any string is made to fit them."""

from __future__ import annotations

import string

from gymnasium import spaces

CHARSET = string.ascii_letters + string.digits + string.punctuation + " \n\t"
"""Printable ASCII, newline and tab; a full-Unicode set makes ``check_env`` take 16 s."""

MAX_INSTRUCTION_CHARS = 2_000
MAX_RESULT_CHARS = 8_000
MAX_ACTION_CHARS = 4_000

_ALLOWED = frozenset(CHARSET)
_MARKER = "\n[cut: {} more characters]"


def observation_space() -> spaces.Dict:
    """``{"instruction": Text, "result": Text}``, both possibly empty."""
    return spaces.Dict(
        {
            "instruction": spaces.Text(MAX_INSTRUCTION_CHARS, min_length=0, charset=CHARSET),
            "result": spaces.Text(MAX_RESULT_CHARS, min_length=0, charset=CHARSET),
        }
    )


def action_space() -> spaces.Text:
    """Text an agent may be sampled from; environments accept any longer or stranger string too."""
    return spaces.Text(MAX_ACTION_CHARS, min_length=0, charset=CHARSET)


def fit(text: str, max_chars: int = MAX_RESULT_CHARS) -> str:
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
