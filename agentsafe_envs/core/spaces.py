"""Text spaces that every environment shares, and how any string is made to fit them."""

from __future__ import annotations

import string
from typing import Any, Never

from gymnasium import spaces
from gymnasium.error import CustomSpaceError
from gymnasium.vector.utils import create_shared_memory

CHARSET = string.ascii_letters + string.digits + string.punctuation + " \n\t"
"""Printable ASCII, newline and tab; a full-Unicode set makes ``check_env`` take 16 s."""

MAX_INSTRUCTION_CHARS = 2_000
MAX_RESULT_CHARS = 8_000
MAX_ACTION_CHARS = 4_000

_ALLOWED = frozenset(CHARSET)
_MARKER = "\n[cut: {} more characters]"


class UnsharedText(spaces.Text):
    """Text that cannot be put into shared memory.

    From there Gymnasium's ``AsyncVectorEnv`` reads text only once, before the first reset, and
    would return that as every observation (Gymnasium issue 1164), so it has to refuse instead.
    """


@create_shared_memory.register(UnsharedText)
def _refuse_shared_memory(space: UnsharedText, n: int = 1, ctx: Any = None) -> Never:
    raise CustomSpaceError('text needs vector_kwargs={"shared_memory": False} in gym.make_vec')


def observation_space() -> spaces.Dict:
    """``{"instruction": Text, "result": Text}``, both possibly empty."""
    return spaces.Dict(
        {
            "instruction": UnsharedText(MAX_INSTRUCTION_CHARS, min_length=0, charset=CHARSET),
            "result": UnsharedText(MAX_RESULT_CHARS, min_length=0, charset=CHARSET),
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
