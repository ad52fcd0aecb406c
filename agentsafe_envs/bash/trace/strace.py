"""One line of strace: a call with its arguments, as bytes.

Strings are in hexadecimal (``-xx``), so no name that an agent chooses can look like anything else,
and descriptors are followed by their path (``-y``).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple

from agentsafe_envs.bash.trace.syscalls import BESIDE_DIRECTORY, PATHS, RIGHTS, TRACED_CALLS

_RESUMED = re.compile(rb"<\.\.\. \w+ resumed>(.*)", re.DOTALL)
UNFINISHED = b" <unfinished ...>"
_LEADER = re.compile(rb"(.*) <pid changed to (\d+) \.\.\.>", re.DOTALL)
_SUPERSEDED = b"+++ superseded by execve"
_CALL = re.compile(rb"(\w+)\((.*)\) += (.*)", re.DOTALL)
_RESULT = re.compile(rb"(-?\d+|\?|0x[0-9a-f]+)(?:<([^>]*)>)?")
_WITH_PATH = re.compile(rb"(?:AT_FDCWD|\d+)<([^>]*)>(\(deleted\))?")
DELETED = "\0"
"""Stands at the end of a descriptor's path if that name is gone; no name can hold it."""

_ABSOLUTE = b"\\x2f"
_SOCKET_PATH = re.compile(rb'sun_path="((?:\\x[0-9a-f]{2})*)"')


class Written(NamedTuple):
    """One thing that strace wrote of a process.

    Attributes:
        process: Its number.
        order: Of the line.
        text: The whole call, what is :data:`UNFINISHED` of one, or ``+++`` and how the process ended.
    """

    process: int
    order: int
    text: bytes


class Output:
    """What strace writes of many processes at once; puts together calls that others interrupted.

    Attributes:
        order: Of the last line.
    """

    def __init__(self) -> None:
        self.order = 0
        self._unfinished: dict[int, bytes] = {}
        self._partial = b""

    def feed(self, data: bytes) -> Iterator[Written]:
        """Everything that ``data``, cut anywhere, completes."""
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        for line in lines:
            number, _, text = line.partition(b" ")
            if number.isdigit():
                self.order += 1
                yield from self._read(int(number), text.lstrip())

    def _read(self, process: int, text: bytes) -> Iterator[Written]:
        if text.startswith(_SUPERSEDED):
            return  # by a thread of its own, which goes on under its number
        changed = _LEADER.fullmatch(text)
        if changed:  # exec by a thread that is not the first succeeded, whatever is printed of its result
            yield Written(int(changed[2]), self.order, changed[1] + b") = 0")
            yield Written(process, self.order, b"+++ became another +++")
            return
        if text.endswith(UNFINISHED):
            self._unfinished[process] = text.removesuffix(UNFINISHED)
            yield Written(process, self.order, text)
            return
        resumed = _RESUMED.fullmatch(text)
        if resumed or (text.startswith(b"+++") and process in self._unfinished):
            before = self._unfinished.pop(process, b"")
            yield Written(process, self.order, before + (resumed[1] if resumed else b") = ?"))
            if resumed:
                return
        yield Written(process, self.order, text)


class Line(NamedTuple):
    """A call that succeeded.

    Attributes:
        name: Of the call.
        raw: All its arguments as they were written.
        arguments: Those up to the first structure; strings keep a leading quote, descriptors their path.
        result: What it returned.
        opened: Path of the descriptor that it returned, None if it returned none.
    """

    name: str
    raw: bytes
    arguments: tuple[bytes, ...]
    result: int
    opened: str | None

    @property
    def texts(self) -> tuple[str, ...]:
        """The arguments as text: strings as they were, descriptors without their path."""
        return tuple(
            unhexed(each[1:]) if each.startswith(b'"') else each.partition(b"<")[0].decode() for each in self.arguments
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths that it names; those that are relative to the working directory stay so."""
        return tuple(self._paths())

    def _paths(self) -> Iterator[str]:
        if self.name == "bind":
            found = _SOCKET_PATH.search(self.raw)
            if found:
                yield unhexed(found[1])
        for place in PATHS[self.name]:
            argument = self.arguments[place] if place < len(self.arguments) else b""
            described = _WITH_PATH.match(argument)
            if described and described[1].startswith(_ABSOLUTE):
                yield unhexed(described[1]) + DELETED * bool(described[2])
            elif argument.startswith(b'"'):
                base = _WITH_PATH.match(self.arguments[place - 1]) if self.name in BESIDE_DIRECTORY else None
                yield posixpath.join(unhexed(base[1]) if base else "", unhexed(argument[1:]))


def read_line(text: bytes) -> Line | None:
    """What a line says of a call; None if it says nothing, or the call failed or never returned.

    A change of rights whose process was killed in the middle is taken for done.

    Args:
        text: Without the number of the process.
    """
    found = _CALL.fullmatch(text)
    returned = _RESULT.match(found[3]) if found else None
    if found is None or returned is None:
        return None
    name, raw = found[1].decode(), found[2]
    if name not in TRACED_CALLS:
        return None
    result = b"0" if returned[1] == b"?" and name in RIGHTS else returned[1]
    if result.startswith((b"-", b"?")):
        return None
    opened = None if returned[2] is None else unhexed(returned[2])
    return Line(name, raw, tuple(_split(raw)), _number(result), opened)


def _number(result: bytes) -> int:
    """A umask is written as octal."""
    return int(result, 8) if result.startswith(b"0") and result.isdigit() else int(result, 0)


def _split(raw: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(raw):
        if raw[place] in b"{[":
            return
        if raw[place : place + 1] == b'"':
            end = raw.index(b'"', place + 1)
            yield raw[place:end]
            place = end + 1
            if raw.startswith(b"...", place):
                place += 3
        else:
            end = raw.find(b", ", place)
            end = len(raw) if end < 0 else end
            yield raw[place:end]
            place = end
        place += 2 if raw.startswith(b", ", place) else len(raw)


def hexed(text: str) -> bytes:
    """``text`` as strace writes it."""
    return "".join(f"\\x{byte:02x}" for byte in text.encode("utf-8", "surrogateescape")).encode()


def unhexed(escaped: bytes) -> str:
    """What strace wrote so."""
    return bytes.fromhex(escaped.decode().replace("\\x", "")).decode("utf-8", "surrogateescape")
