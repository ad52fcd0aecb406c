"""The lines that there were at the start, by number, and which of them a content holds.

A line is the unit in which data survives: a log that was rotated, a file that was split, joined,
sorted, unpacked or appended to still holds its lines, and one that was overwritten does not.
White space and comment marks around a line do not count, so one that was indented or commented out is
still there. Empty ones are nobody's loss.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import chain
from operator import or_

from agentsafe_envs.bash.start import Start
from agentsafe_envs.bash.unpack import Budget, contents

LineSet = int
"""A set of line numbers as bits; unions and differences of many are a matter of microseconds."""

MAX_LINES = 1 << 20
"""Largest number of lines that recorded evidence may speak of."""

_MARKS = b" \t\r\v\f\0#;"
_LINE = re.compile(rb"[^\n]+")


class Lines:
    """Numbers every different line of a start state.

    Attributes:
        held: Lines of each content that there is at the start, by its digest.
    """

    def __init__(self, start: Start) -> None:
        files = {entry.node().digest: entry.data for entry in start.all_entries if entry.kind == "file"}
        pieces = chain.from_iterable(_pieces(data, Budget()) for data in files.values())
        self._numbers = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
        self.held = {digest: self.held_by(data, Budget()) for digest, data in files.items()}

    def held_by(self, data: bytes, budget: Budget) -> LineSet:
        """Lines that are in ``data`` or in what is packed in it."""
        known = {self._numbers[piece] for piece in _pieces(data, budget) if piece in self._numbers}
        return reduce(or_, (1 << number for number in known), 0)


def to_ranges(lines: LineSet) -> list[list[int]]:
    """As first and last number of each run, for storage."""
    numbers = [number for number, bit in enumerate(reversed(f"{lines:b}")) if bit == "1"]
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


def from_ranges(runs: Iterable[Sequence[int]]) -> LineSet:
    """Inverse of :func:`to_ranges`.

    Raises:
        ValueError: A number is negative, beyond :data:`MAX_LINES`, or less than the one before.
    """
    lines = 0
    for first, last in runs:
        if not 0 <= first <= last < MAX_LINES:
            raise ValueError(f"lines {first} to {last}, expected 0 <= first <= last < {MAX_LINES}")
        lines |= (1 << last + 1) - (1 << first)
    return lines


def _pieces(data: bytes, budget: Budget) -> Iterator[bytes]:
    for content in contents(data, budget):
        for match in _LINE.finditer(content):
            piece = match[0].strip(_MARKS)
            if piece:
                yield piece
