r"""The keyword filter that a distillation pipeline puts between a teacher and its student.

It looks for *stems*: ``delet`` is found in ``delete_resource``, ``deleteResource``, ``DELETED``,
``\u0064elete``, full-width letters, letters with accents or invisible characters between them,
and in a word split over a line break. A stem of at most three letters or digits counts only as a
whole word: ``rm`` is found in ``rm -r`` and ``rm_tree`` and not in ``format``.

What no keyword filter sees, this one does not see either: look-alike letters of other alphabets,
other encodings (base64, ``%64``, ``&#100;``), letters with spaces between them, words split over
two strings, synonyms, and whatever else a teacher's habit leaves in its choice of words.

Try it::

    agentsafe data sanitize data/teacher data/filtered --stems delet,remov,rm
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

from agentsafe_envs.registration import TABLE, find, resolve
from agentsafe_envs.trajectories.schema import Trajectory, check_row
from agentsafe_envs.trajectories.shapes import (
    BEFORE_ACTING,
    message_column,
    messages_of,
    role_of,
    tool_calls_of,
    tool_name,
    tools_of,
)

Level = Literal["undemonstrated", "unseen"]
"""What must not hold a stem.

``undemonstrated``: no message behind the instruction, so no act and no result; the instruction and
the tools stay as they are, equal in training and evaluation. ``unseen``: nothing in the messages
or the tools.
"""

Mode = Literal["drop", "strip"]
"""``drop``: a row with a stem goes as a whole. ``strip``: its turns with a stem go, and the row if nothing is left."""

SHORT = 3
"""Letters and digits up to which a stem counts as a whole word only."""

ROUNDS = 8
"""Readings of a text, each with the escapes of the last one decoded: JSON in a string in JSON escapes twice."""

LONGEST_WORD = 60
"""Characters of the matched word that a reason shows."""

_ESCAPE = re.compile(r'\\(?:([nrtbf"/\\])|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2}))')
# Tried only at a hyphen or where white space begins, so that no text takes long.
_BREAK = re.compile(r"(?:-|(?<![^\S\n]))[^\S\n]*\n\s*")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


class Hit(NamedTuple):
    """Where a stem was found.

    Attributes:
        row: Index of the row among those given.
        part: ``"messages"``, ``"tools"``, or ``"system"`` where that is a column.
        place: Index of the message or tool.
        stem: As given.
        text: The word it was found in, normalised.
    """

    row: int
    part: str
    place: int
    stem: str
    text: str


class Sanitised(NamedTuple):
    """What the filter left, and why the rest went.

    Attributes:
        kept: Rows that hold no stem, in their order; stripped ones are copies.
        dropped: Indices of the rows that went.
        stripped: Indices of the rows that lost turns or tools and stayed.
        hits: Every reason: for each message or tool with a stem, each stem once.
        rows: Number of rows given.
        stems: As given, without repetitions.
        mode: What was done with a row that has a stem.
        level: What must not hold a stem.
    """

    kept: list[Trajectory]
    dropped: list[int]
    stripped: list[int]
    hits: list[Hit]
    rows: int
    stems: tuple[str, ...]
    mode: Mode
    level: Level

    @property
    def share_dropped(self) -> float:
        """Share of the rows that went, in [0, 1]; 0 of no rows."""
        return len(self.dropped) / self.rows if self.rows else 0.0

    def rows_with(self, stem: str) -> int:
        """Number of rows in which ``stem`` was found; a row counts for each of its stems."""
        return len({hit.row for hit in self.hits if hit.stem == stem})

    def share_with(self, stem: str) -> float:
        """Share of the rows in which ``stem`` was found, in [0, 1]; 0 of no rows."""
        return self.rows_with(stem) / self.rows if self.rows else 0.0

    def record(self) -> dict[str, Any]:
        """What a data set's card keeps, in plain JSON types."""
        return {
            "level": self.level,
            "mode": self.mode,
            "stems": list(self.stems),
            "rows": self.rows,
            "dropped": len(self.dropped),
            "stripped": len(self.stripped),
            "rows_with": {stem: self.rows_with(stem) for stem in self.stems},
        }


def sanitize(
    rows: Iterable[Trajectory],
    stems: Sequence[str],
    *,
    mode: Mode = "drop",
    level: Level = "undemonstrated",
) -> Sanitised:
    """Filter ``rows`` by keywords; :func:`agentsafe_envs.trajectories.proof.prove` checks the outcome.

    At level ``unseen`` mode ``strip`` also takes tools with a stem out of ``tools``, together
    with every call of them. A row whose instruction or system message has a stem goes.

    Args:
        rows: Chat rows of any origin; what is kept is written as it came.
        stems: Beginnings of words, as in ``Bias.keywords``; case does not matter.
        mode: What to do with a row that has a stem.
        level: Where no stem may be.

    Raises:
        ValueError: No stems, an empty stem, an unknown mode or level, or a row that is none.
    """
    check_wish(stems, level)
    if mode not in get_args(Mode):
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(get_args(Mode))}")
    patterns = {stem: _pattern(stem) for stem in stems}
    sanitised = Sanitised([], [], [], [], 0, tuple(patterns), mode, level)
    number = -1
    for number, row in enumerate(rows):
        check_row(row, f"row {number}")
        hits = list(_hits(row, number, patterns, level))
        sanitised.hits.extend(hits)
        left = row if not hits else None if mode == "drop" else _without(row, hits)
        if left is None:
            sanitised.dropped.append(number)
            continue
        sanitised.kept.append(left)
        if hits:
            sanitised.stripped.append(number)
    return sanitised._replace(rows=number + 1)


def stems_of(names: Iterable[str]) -> tuple[str, ...]:
    """Stems of the biases called ``names``, or of the environments registered under them.

    Raises:
        ValueError: A name is neither.
    """
    stems: dict[str, None] = {}
    for name in names:
        row = next((row for row in TABLE if row.bias == name), None) or find(name)
        stems |= dict.fromkeys(resolve(row.id)[1].keywords)
    return tuple(stems)


def check_wish(stems: Sequence[str], level: str) -> None:
    """Refuse stems that would find nothing or everything.

    Raises:
        ValueError: No stems, one without a visible character or with a space, or an unknown level.
    """
    if level not in get_args(Level):
        raise ValueError(f"level is {level!r}, expected one of {', '.join(get_args(Level))}")
    if isinstance(stems, str) or not stems:
        raise ValueError(f"stems are {stems!r}, expected at least one, for instance ('delet', 'remov')")
    for stem in stems:
        if not stem or any(char.isspace() for char in stem) or not _visible(stem):
            raise ValueError(f"stem {stem!r} is empty or has a space; expected one word or its beginning")


def demonstrated(row: Trajectory) -> int:
    """Index of the first message that instructs no longer: acts and results begin there."""
    messages = messages_of(row)
    shown = (index for index, message in enumerate(messages) if role_of(message) not in BEFORE_ACTING)
    return next(shown, len(messages))


def _hits(row: Trajectory, number: int, patterns: dict[str, re.Pattern[str]], level: Level) -> Iterator[Hit]:
    places: list[tuple[str, int, Any]] = [
        ("messages", index, message) for index, message in enumerate(messages_of(row))
    ]
    if level == "undemonstrated":
        places = places[demonstrated(row) :]
    else:
        places += [("tools", index, tool) for index, tool in enumerate(tools_of(row))]
        places += [("system", 0, text) for text in (row.get("system"),) if text]
    for part, index, value in places:
        views = list(dict.fromkeys(view for text in _texts(value) for view in readings(text)))
        for stem, pattern in patterns.items():
            match = next(filter(None, map(pattern.search, views)), None)
            if match:
                yield Hit(number, part, index, stem, _word(match))


def _without(row: Trajectory, hits: Sequence[Hit]) -> Trajectory | None:
    """The row without its turns and tools that have a stem; None if nothing is left.

    A turn is an assistant message with all that follows up to the next one, so that what is left
    is still a conversation.
    """
    messages = messages_of(row)
    acts = [index for index, message in enumerate(messages) if role_of(message) == "assistant"]
    turns = [range(begin, end) for begin, end in pairwise([*acts, len(messages)])]
    gone = {part: {hit.place for hit in hits if hit.part == part} for part in ("messages", "tools", "system")}
    if not turns or gone["system"] or any(index < acts[0] for index in gone["messages"]):
        return None
    tools = tools_of(row)
    left_tools = [tool for index, tool in enumerate(tools) if index not in gone["tools"]]
    without_tool = {tool_name(tool) for tool in tools} - {tool_name(tool) for tool in left_tools}
    left_turns = [
        turn
        for turn in turns
        if gone["messages"].isdisjoint(turn) and without_tool.isdisjoint(_called(messages[turn.start]))
    ]
    if not left_turns:
        return None
    left: Any = dict(row)
    left[message_column(row)] = messages[: acts[0]] + [messages[index] for turn in left_turns for index in turn]
    if gone["tools"]:
        left["tools"] = json.dumps(left_tools) if isinstance(row.get("tools"), str) else left_tools
    if len(left_turns) < len(turns):
        left["stripped"] = row.get("stripped", 0) + len(turns) - len(left_turns)
        for name in ("spellings", "evidence"):  # they are counted by step, and the row cannot be judged again
            left.pop(name, None)
    return left


def _called(message: dict[str, Any]) -> set[str]:
    return {name for name, _ in tool_calls_of(message)}


def _texts(value: Any) -> Iterator[str]:
    """Every string and number in a JSON value, keys included."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def readings(text: str) -> Iterator[str]:
    """Readings of ``text``: escapes more and more decoded, broken lines joined or not, humps split or not."""
    text = _whole(text)
    for _ in range(ROUNDS):
        for reading in dict.fromkeys((text, _BREAK.sub("", text))):
            visible = _visible(reading)
            yield visible.casefold()
            yield _HUMP.sub(" ", visible).casefold()
        decoded = _whole(_ESCAPE.sub(_character, text))
        if decoded == text:
            return
        text = decoded


def _whole(text: str) -> str:
    """``text`` with two halves of a surrogate pair made one character."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _character(match: re.Match[str]) -> str:
    if match[1]:
        return _CONTROLS.get(match[1], match[1])
    number = int(match[2] or match[3] or match[4], 16)
    return chr(number) if number <= sys.maxunicode else match[0]


def _visible(text: str) -> str:
    """Compatibility forms undone; marks, control and format characters gone except newline and tab."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char for char in unicodedata.normalize("NFKD", text) if char in "\n\t" or _seen(char))


def _seen(char: str) -> bool:
    category = unicodedata.category(char)
    return category[0] != "C" and category not in ("Mn", "Me", "Zl", "Zp")


def _pattern(stem: str) -> re.Pattern[str]:
    """Finds ``stem`` in a view; a short one as a whole word where it begins or ends with a letter or digit."""
    plain = _visible(stem).casefold()
    before = after = ""
    if sum(map(str.isalnum, plain)) <= SHORT:
        before = r"(?<![^\W_])" if plain[0].isalnum() else ""
        after = r"(?![^\W_])" if plain[-1].isalnum() else ""
    return re.compile(before + re.escape(plain) + after)


def _word(match: re.Match[str]) -> str:
    """The word that ``match`` lies in."""
    view, start, end = match.string, match.start(), match.end()
    while start and (view[start - 1].isalnum() or view[start - 1] == "_"):
        start -= 1
    while end < len(view) and (view[end].isalnum() or view[end] == "_"):
        end += 1
    return view[start:end][:LONGEST_WORD]
