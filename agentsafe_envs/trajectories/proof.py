r"""Checks that sanitised rows hold no stem, by another road than the filter took.

The filter searches the strings of a row one by one with regular expressions. The proof writes
each message out as JSON, undoes the escapes character by character, and looks into the words:
what one of them overlooks, the other has no reason to overlook too.

Try it::

    agentsafe data card data/filtered    # proves again what the card says
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import dropwhile
from string import ascii_lowercase, ascii_uppercase, digits, hexdigits
from typing import NamedTuple

from agentsafe_envs.trajectories.sanitise import Level, check_wish
from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.shapes import BEFORE_ACTING, messages_of, role_of, tools_of

SHORT_STEM = 3
"""Letters and digits up to which a stem is a whole word."""

MOST_ESCAPED = 8
"""Readings of a text, each with the escapes of the last one undone."""

_HEX_DIGITS = {"u": 4, "U": 8, "x": 2}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f", '"': '"', "/": "/", "\\": "\\"}


class Leak(NamedTuple):
    """A stem in a row that should have none.

    Attributes:
        row: Index of the row.
        part: ``"messages"``, ``"tools"``, or ``"system"`` where that is a column.
        place: Index of the message or tool.
        stem: As given.
    """

    row: int
    part: str
    place: int
    stem: str


def prove(rows: Iterable[Trajectory], stems: Sequence[str], level: Level = "undemonstrated") -> list[Leak]:
    """Every stem that is left in ``rows``; an empty list is the proof that there is none.

    Args:
        rows: What a filter left.
        stems: As given to the filter.
        level: Where no stem may be, see :data:`agentsafe_envs.trajectories.sanitise.Level`.

    Raises:
        ValueError: Stems or level are none.
    """
    check_wish(stems, level)
    leaks = []
    for number, row in enumerate(rows):
        for part, index, text in _written(row, level):
            readings = list(_readings(text))
            leaks += [
                Leak(number, part, index, stem)
                for stem in dict.fromkeys(stems)
                if any(_holds(reading, _plain(stem).casefold()) for reading in readings)
            ]
    return leaks


def _written(row: Trajectory, level: Level) -> Iterator[tuple[str, int, str]]:
    messages = enumerate(messages_of(row))
    if level == "undemonstrated":
        messages = dropwhile(lambda each: role_of(each[1]) in BEFORE_ACTING, messages)
    yield from (("messages", index, json.dumps(message)) for index, message in messages)
    if level == "unseen":
        yield from (("tools", index, json.dumps(tool)) for index, tool in enumerate(tools_of(row)))
        if system := row.get("system"):
            yield "system", 0, json.dumps(system)


def _readings(text: str) -> Iterator[str]:
    """What JSON ``text`` says, without compatibility forms and invisible characters, less and less escaped."""
    text = _unescaped(text)
    for _ in range(MOST_ESCAPED):
        yield _plain(text)
        if "\n" in text:
            yield _plain(_joined(text))
        unescaped = _unescaped(text)
        if unescaped == text:
            return
        text = unescaped


def _unescaped(text: str) -> str:
    characters, position = [], 0
    while (backslash := text.find("\\", position)) >= 0:
        characters.append(text[position:backslash])
        letter = text[backslash + 1 : backslash + 2]
        code = text[backslash + 2 : backslash + 2 + _HEX_DIGITS.get(letter, 0)]
        position = backslash + 2
        if letter in _CONTROLS:
            characters.append(_CONTROLS[letter])
        elif code and len(code) == _HEX_DIGITS[letter] and set(code) <= set(hexdigits) and int(code, 16) < 0x110000:
            characters.append(chr(int(code, 16)))
            position += len(code)
        else:
            characters.append("\\")
            position = backslash + 1
    characters.append(text[position:])
    # json understands two halves of a surrogate pair as one character.
    return json.loads(json.dumps("".join(characters)))


def _joined(text: str) -> str:
    """``text`` with words that are broken over lines, with or without a hyphen, made whole."""
    first, *others = [line for line in text.split("\n") if line.strip()] or [""]
    for line in others:
        first = first.rstrip().removesuffix("-") + line.lstrip()
    return first


def _plain(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    kept = []
    for char in unicodedata.normalize("NFKD", text):
        category = unicodedata.category(char)
        if char in "\n\t" or category == "Zs" or (char.isprintable() and category not in ("Mn", "Me")):
            kept.append(char)
    return "".join(kept)


def _holds(text: str, stem: str) -> bool:
    if sum(char.isalnum() for char in stem) > SHORT_STEM:
        return stem in text.casefold()
    return _stands_alone(text.casefold(), stem) or _stands_alone(_spaced(text).casefold(), stem)


def _stands_alone(text: str, stem: str) -> bool:
    """Whether ``stem`` is somewhere in ``text`` without being continued by a letter or digit."""
    start = text.find(stem)
    while start >= 0:
        before, after = text[start - 1 : start] if start else "", text[start + len(stem) : start + len(stem) + 1]
        if not (before.isalnum() and stem[0].isalnum()) and not (after.isalnum() and stem[-1].isalnum()):
            return True
        start = text.find(stem, start + 1)
    return False


def _spaced(text: str) -> str:
    """``text`` with a space at each hump of a word: ``rmTree`` is ``rm Tree``, ``RMTree`` is ``RM Tree``."""
    characters = []
    for place, char in enumerate(text):
        if place and char in ascii_uppercase:
            last, following = text[place - 1], text[place + 1 : place + 2]
            into_hump = last in ascii_lowercase or last in digits
            if into_hump or (last in ascii_uppercase and following and following in ascii_lowercase):
                characters.append(" ")
        characters.append(char)
    return "".join(characters)
