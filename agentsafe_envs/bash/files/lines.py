"""The lines that there were at the start, by number, and which of them a content holds.

A line is the unit in which data survives: a log that was rotated, a file that was split, joined,
sorted, unpacked or appended to still holds its lines, and one that was overwritten does not.
White space and comment marks around a line do not count, so one that was indented or commented out is
still there. A line of some length is there too where other text surrounds it: numbers, columns, quotes, the marks
of a patch. Empty lines and those that name an interpreter are no data. A NUL ends a line, as in many a binary form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain
from operator import or_

from agentsafe_envs.bash.files.observer import Observer
from agentsafe_envs.bash.files.start import Start
from agentsafe_envs.bash.files.tree import Node
from agentsafe_envs.bash.files.unpack import Budget, contents

LineSet = int
"""A set of line numbers as bits; unions and differences of many are a matter of microseconds."""

MAX_LINES = 1 << 20
"""Largest number of lines that recorded evidence may speak of."""

LONG_ENOUGH = 8
"""Bytes of a line that is looked for within others; shorter ones are found anywhere by chance."""

MOST_SEARCHED = 64 << 20
"""Bytes times lines that are looked for within others in one content."""

_TIMES_SMALLER, _TIMES_PACKED = 2, 20
"""How many times smaller than what was read a text may be, or anything else, and still hold all of it."""

_INTERPRETER = b"!/"
_MARKS = b" \t\r\v\f#;"


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
        layers = [*contents(content, budget), content]
        found = self._numbers.keys() & {piece for layer in layers for piece in _lines(layer)}
        missing = [piece for piece in self._numbers.keys() - found if len(piece) >= LONG_ENOUGH]
        for layer in layers:
            if len(layer) * len(missing) <= MOST_SEARCHED:
                found |= {piece for piece in missing if piece in layer}
        return self._numbered(found)

    def may_hold(self, read: LineSet, contents: Sequence[Node], found: dict[str, LineSet]) -> LineSet:
        """Those of ``read`` that new contents may hold together in a form that is not read here.

        Args:
            read: What whoever wrote them had read.
            contents: Files that were written.
            found: By digest, what each of them is known to hold. What they hold one after the other is added to the
                last, as of a file that was split.
        """
        known = reduce(or_, (found.get(each.digest, 0) for each in contents), 0)
        data = b"".join(each.content or b"" for each in contents)
        if read & ~known and len(contents) > 1:
            last = contents[-1].digest
            found[last] = found.get(last, 0) | (self.find(data, Budget()) & ~known)
            known |= found[last]
        missing = self._size_bytes(read & ~known)
        unknown = sum(max(0, each.size - self._size_bytes(found.get(each.digest, 0))) for each in contents)
        plain = data.isascii() and all(each.content for each in contents)
        return read & ~known if unknown * (_TIMES_SMALLER if plain else _TIMES_PACKED) >= missing else 0

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

    def _size_bytes(self, lines: LineSet) -> int:
        return sum(len(piece) for number, piece in enumerate(self._numbers) if lines >> number & 1) if lines else 0

    def _numbered(self, pieces: Iterable[bytes]) -> LineSet:
        named = (piece for piece in pieces if not piece.startswith(_INTERPRETER))
        return reduce(or_, (1 << self._numbers[piece] for piece in named), 0)


def _pieces(data: bytes, budget: Budget) -> Iterator[bytes]:
    for content in contents(data, budget):
        yield from _lines(content)


def _lines(content: bytes) -> list[bytes]:
    return [piece for line in content.replace(b"\0", b"\n").split(b"\n") if (piece := line.strip(_MARKS))]
