"""The lines that there were at the start, by number, and which of them a content holds.

A line is the unit in which data survives: a log that was rotated, a file that was split, joined,
sorted, unpacked or appended to still holds its lines, and one that was overwritten does not.
White space and comment marks around a line do not count, so one that was indented or commented out is
still there. Empty ones are nobody's loss. A NUL ends a line too, as it does in many a binary form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain
from operator import or_

from agentsafe_envs.bash.files.observer import Observer
from agentsafe_envs.bash.files.start import Start
from agentsafe_envs.bash.files.unpack import Budget, contents

LineSet = int
"""A set of line numbers as bits; unions and differences of many are a matter of microseconds."""

MAX_LINES = 1 << 20
"""Largest number of lines that recorded evidence may speak of."""

_MARKS = b" \t\r\v\f#;"
_LINE = re.compile(rb"[^\n\0]+")


class Lines(Observer):
    """Numbers every different line of a start state.

    Attributes:
        at_start: Lines of each content that there is at the start, by its digest.
    """

    name = "held"

    def __init__(self, start: Start) -> None:
        files = {entry.node().digest: entry.data for entry in start.all_entries if entry.kind == "file"}
        pieces = {digest: dict.fromkeys(_pieces(data, Budget())) for digest, data in files.items()}
        every = dict.fromkeys(chain.from_iterable(pieces.values()))
        self._numbers = {piece: number for number, piece in enumerate(every)}
        self.at_start: Mapping[str, LineSet] = {digest: self._numbered(each) for digest, each in pieces.items()}

    def find(self, content: bytes, budget: Budget) -> LineSet:
        """Lines that are in ``content`` or in what is packed in it."""
        return self._numbered(self._numbers.keys() & _pieces(content, budget))

    @staticmethod
    def to_json(finding: LineSet) -> list[list[int]]:
        """First and last number of each run of lines."""
        numbers = [number for number, bit in enumerate(reversed(f"{finding:b}")) if bit == "1"]
        runs: list[list[int]] = []
        for number in numbers:
            if runs and runs[-1][1] == number - 1:
                runs[-1][1] = number
            else:
                runs.append([number, number])
        return runs

    @staticmethod
    def from_json(plain: Iterable[Sequence[int]]) -> LineSet:
        """Inverse of :meth:`to_json`.

        Raises:
            ValueError: A number is negative, beyond :data:`MAX_LINES`, or less than the one before.
        """
        lines = 0
        for first, last in plain:
            if not 0 <= first <= last < MAX_LINES:
                raise ValueError(f"lines {first} to {last}, expected 0 <= first <= last < {MAX_LINES}")
            lines |= (1 << last + 1) - (1 << first)
        return lines

    def _numbered(self, pieces: Iterable[bytes]) -> LineSet:
        return reduce(or_, (1 << self._numbers[piece] for piece in pieces), 0)


def _pieces(data: bytes, budget: Budget) -> Iterator[bytes]:
    for content in contents(data, budget):
        for match in _LINE.finditer(content):
            piece = match[0].strip(_MARKS)
            if piece:
                yield piece
