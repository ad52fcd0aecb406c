"""What a file holds when it is unpacked, once or several times over.

The bytes are an agent's. So nothing here raises whatever they are, memory and time are bounded by a
:class:`Budget`, and archives are read front to back by a few lines of our own: tarfile and zipfile
follow what a header says, and some of their releases follow it for ever.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

MOST_BYTES = 16 << 20
"""Unpacked bytes of one command's files together; a start state has a hundredth of it."""

MAX_DEPTH = 4
"""Layers that are taken off: ``.tar.gz`` are two."""

MOST_MEMORY_BYTES = 80 << 20
"""That an xz stream may ask for; ``xz -9`` asks for 65 MiB."""

_TAR_BLOCK = 512
_ZIP_HEADER = 30
_CPIO_HEADER = 110
_GIT_OBJECT = re.compile(rb"(?:blob|commit|tag|tree) \d+\0")


class Budget:
    """Bytes that may still be unpacked.

    Attributes:
        left_bytes: How many.
        exceeded: Something was larger, and what is behind that was not looked at.
    """

    def __init__(self, left_bytes: int = MOST_BYTES) -> None:
        self.left_bytes = left_bytes
        self.exceeded = False


def contents(data: bytes, budget: Budget, depth: int = 0) -> Iterator[bytes]:
    """The innermost contents of ``data``: itself, unless it is packed in a form that is known here.

    Known are gzip, bzip2, xz, lzma and zlib streams (so git's loose objects too), and tar, zip and
    cpio archives. What is cut short or broken counts as far as it can be read.

    Args:
        data: Of one file.
        budget: Is charged for what comes out of compressed streams.
        depth: Layers taken off so far.
    """
    packed = False
    if depth < MAX_DEPTH:
        for member in _members(data, budget):
            packed = True
            yield from contents(member, budget, depth + 1)
    if not packed:
        yield data


def _members(data: bytes, budget: Budget) -> Iterator[bytes]:
    """What one layer holds, nothing if it is none."""
    if data.startswith(b"\x1f\x8b"):
        return _inflated(lambda: zlib.decompressobj(31), data, budget)
    if data.startswith(b"BZh"):
        return _inflated(bz2.BZ2Decompressor, data, budget)
    if data.startswith((b"\xfd7zXZ\0", b"]\0\0")):
        return _inflated(lambda: lzma.LZMADecompressor(memlimit=MOST_MEMORY_BYTES), data, budget)
    if data[:1] == b"x" and len(data) > 1 and int.from_bytes(data[:2], "big") % 31 == 0:
        return (_GIT_OBJECT.sub(b"", each, count=1) for each in _inflated(zlib.decompressobj, data, budget))
    if data[257:262] == b"ustar":
        return _tar(data)
    if data.startswith(b"PK\x03\x04"):
        return _zip(data, budget)
    if data.startswith((b"070701", b"070702")):
        return _cpio(data)
    return iter(())


def _inflated(new: Callable[[], Any], data: bytes, budget: Budget) -> Iterator[bytes]:
    """What a compressed stream holds, with those that follow it directly."""
    found = bytearray()
    while data:
        stream = new()
        piece = _decompressed(stream, data, budget)
        found += piece
        if not stream.eof:
            break
        data = stream.unused_data
    if found:
        yield bytes(found)


def _decompressed(stream: Any, data: bytes, budget: Budget) -> bytes:
    """As much as can be read and the budget allows."""
    if not budget.left_bytes:
        budget.exceeded = True
        return b""
    try:
        piece: bytes = stream.decompress(data, budget.left_bytes)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError, MemoryError):
        return b""
    budget.left_bytes -= len(piece)
    # With nothing left zlib keeps what it was not asked for; the others say that they need no more input.
    if not stream.eof and (getattr(stream, "unconsumed_tail", b"") or not getattr(stream, "needs_input", True)):
        budget.exceeded = True
    return piece


def _tar(data: bytes) -> Iterator[bytes]:
    place = 0
    while place + _TAR_BLOCK <= len(data):
        header = data[place : place + _TAR_BLOCK]
        place += _TAR_BLOCK
        if not header.strip(b"\0"):
            continue
        size = _number(header[124:136].strip(b" \0"), 8)
        if size is None:
            return
        if header[156:157] in b"0\0" and size:
            yield data[place : place + size]
        place += -(-size // _TAR_BLOCK) * _TAR_BLOCK


def _zip(data: bytes, budget: Budget) -> Iterator[bytes]:
    """Members one after the other: a directory at the end could send us to the same one again and again."""
    place = 0
    while data[place : place + 4] == b"PK\x03\x04" and place + _ZIP_HEADER <= len(data):
        flags, method = (int.from_bytes(data[place + at : place + at + 2], "little") for at in (6, 8))
        size = int.from_bytes(data[place + 18 : place + 22], "little")
        names = sum(int.from_bytes(data[place + at : place + at + 2], "little") for at in (26, 28))
        place += _ZIP_HEADER + names
        if method == 8:
            stream = zlib.decompressobj(-15)
            piece = _decompressed(stream, data[place:], budget)
            if piece:
                yield piece
            if not stream.eof:
                return
            place = len(data) - len(stream.unused_data)
        elif method == 0 and not flags & 8:
            if size:
                yield data[place : place + size]
            place += size
        else:
            return
        if flags & 8:  # sizes stand behind the member, and maybe a mark before them
            place += 16 if data[place : place + 4] == b"PK\x07\x08" else 12


def _cpio(data: bytes) -> Iterator[bytes]:
    place = 0
    while data[place : place + 5] == b"07070":
        header = data[place : place + _CPIO_HEADER]
        size, name = _number(header[54:62], 16), _number(header[94:102], 16)
        if size is None or name is None:
            return
        place = _aligned(place + _CPIO_HEADER + name)
        if size:
            yield data[place : place + size]
        place = _aligned(place + size)


def _aligned(place: int) -> int:
    return -(-place // 4) * 4


def _number(digits: bytes, base: int) -> int | None:
    try:
        found = int(digits or b"0", base)
    except ValueError:
        return None
    return found if found >= 0 else None
