"""What a file holds when it is unpacked, once or several times over.

The bytes are an agent's. So nothing here raises whatever they are, memory and time are bounded by a
:class:`Budget`, and archives are read front to back by a few lines of our own: tarfile and zipfile
follow what a header says, and some of their releases follow it for ever.
"""

from __future__ import annotations

import base64
import bz2
import codecs
import lzma
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

MOST_UNPACKED_BYTES = 16 << 20
"""Unpacked bytes of one command's files together; a start state has a hundredth of it."""

MAX_PACKING_DEPTH = 4
"""Layers that are taken off: ``.tar.gz`` are two."""

MOST_MEMORY_BYTES = 80 << 20
"""That an xz stream may ask for; ``xz -9`` asks for 65 MiB."""

_CHUNK_BYTES = 4_096
_TAR_BLOCK = 512
_ZIP_HEADER = 30
_CPIO_HEADER = 110
_PACK_HEADER, _SHA1_BYTES = 12, 20
_OFFSET_DELTA, _NAMED_DELTA = 6, 7
_BUNDLES = (b"# v2 git bundle\n", b"# v3 git bundle\n")
_SHORTEST_BASE64 = 24
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]{4}|\n)+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\n?")
_GIT_OBJECT = re.compile(rb"(?:blob|commit|tag|tree) \d+\0")


class Budget:
    """Bytes that may still be unpacked.

    Attributes:
        left_bytes: How many.
        exceeded: Something was larger, and what is behind that was not looked at.
    """

    def __init__(self, left_bytes: int = MOST_UNPACKED_BYTES) -> None:
        self.left_bytes = left_bytes
        self.exceeded = False


def contents(data: bytes, budget: Budget, depth: int = 0) -> Iterator[bytes]:
    """The innermost contents of ``data``: itself, unless it is packed in a form that is known here.

    Known are gzip, bzip2, xz, lzma and zlib streams, tar, zip and cpio archives, git's objects, loose, in
    packs and in bundles, base64, and text in UTF-16 that begins with its mark. What is cut short or broken counts
    as far as it can be read.

    Args:
        data: Of one file.
        budget: Is charged for what comes out of compressed streams.
        depth: Layers taken off so far.
    """
    packed = False
    if depth < MAX_PACKING_DEPTH:
        for member in _members(data, budget):
            packed = True
            yield from contents(member, budget, depth + 1)
    if not packed:
        yield data


def _members(data: bytes, budget: Budget) -> Iterator[bytes]:
    """What one layer holds, nothing if it is none."""
    if data.startswith(b"\x1f\x8b"):
        return _streams(lambda: zlib.decompressobj(31), data, budget)
    if data.startswith(b"BZh"):
        return _streams(bz2.BZ2Decompressor, data, budget)
    if data.startswith((b"\xfd7zXZ\0", b"]\0\0")):
        return _streams(lambda: lzma.LZMADecompressor(memlimit=MOST_MEMORY_BYTES), data, budget)
    if data[:1] == b"x" and len(data) > 1 and int.from_bytes(data[:2], "big") % 31 == 0:
        return (_GIT_OBJECT.sub(b"", each, count=1) for each in _streams(zlib.decompressobj, data, budget))
    if data[257:262] == b"ustar":
        return _tar(data)
    if data.startswith(b"PK\x03\x04"):
        return _zip(data, budget)
    if data.startswith((b"070701", b"070702")):
        return _cpio(data)
    if data.startswith(b"PACK"):
        return _git_pack(data, budget)
    if data.startswith(_BUNDLES):
        return _git_pack(data[data.find(b"\n\nPACK") + 2 :], budget)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return iter([data.decode("utf-16", "replace").encode()])
    if len(data) >= _SHORTEST_BASE64 and _BASE64.fullmatch(text := _unwrapped(data)):
        return iter([base64.b64decode(text)])
    return iter(())


def _unwrapped(data: bytes) -> bytes:
    """Lines of one width, joined: ``base64 -w`` wraps anywhere. What has others stays as it is."""
    *lines, last = data.rstrip(b"\n").split(b"\n")
    one_width = len({len(each) for each in lines}) == 1 and len(last) <= len(lines[0])
    return b"".join((*lines, last)) if one_width else data


def _streams(new: Callable[[], Any], data: bytes, budget: Budget) -> Iterator[bytes]:
    """What a compressed stream holds, with those that follow it directly."""
    found, place = bytearray(), 0
    while place < len(data):
        piece, end = _stream(new(), data, place, budget)
        found += piece
        if end is None:
            break
        place = end
    if found:
        yield bytes(found)


def _stream(stream: Any, data: bytes, place: int, budget: Budget) -> tuple[bytes, int | None]:
    """As much of a compressed stream as can be read and the budget allows, and where it ends if it does."""
    found = bytearray()
    while not stream.eof and place < len(data) and budget.left_bytes:
        chunk = data[place : place + _CHUNK_BYTES]  # not all: a stream copies what comes behind its end
        try:
            piece = stream.decompress(chunk, budget.left_bytes)
        except (zlib.error, lzma.LZMAError, OSError, EOFError):
            return bytes(found), None
        found += piece
        budget.left_bytes -= len(piece)
        place += len(chunk)
    if stream.eof:
        return bytes(found), place - len(stream.unused_data)
    budget.exceeded = budget.exceeded or not budget.left_bytes
    return bytes(found), None


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
            piece, end = _stream(zlib.decompressobj(-15), data, place, budget)
            if piece:
                yield piece
            if end is None:
                return
            place = end
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


def _git_pack(data: bytes, budget: Budget) -> Iterator[bytes]:
    """Objects of a pack, those told as a difference from an earlier one too."""
    found: dict[int, bytes] = {}
    place = _PACK_HEADER
    while place < len(data) - _SHA1_BYTES:
        start, kind = place, data[place] >> 4 & 7
        while place < len(data) and data[place] & 0x80:
            place += 1
        place += 1
        base: bytes | None = b""
        if kind == _OFFSET_DELTA:
            distance, place = _distance(data, place)
            base = found.get(start - distance)
        elif kind == _NAMED_DELTA:  # git writes them to other machines, and not to its own disk
            base, place = None, place + _SHA1_BYTES
        piece, end = _stream(zlib.decompressobj(), data, place, budget)
        if end is None:
            return
        place = end
        if kind == _OFFSET_DELTA and base is not None:
            piece = _applied(base, piece, budget)
        if base is not None and piece:
            found[start] = piece
            yield piece


def _distance(data: bytes, place: int) -> tuple[int, int]:
    """How far back a base lies, and where the number ends."""
    distance = -1
    while place < len(data):
        distance = (distance + 1) << 7 | data[place] & 0x7F
        place += 1
        if not data[place - 1] & 0x80:
            break
    return distance, place


def _applied(base: bytes, delta: bytes, budget: Budget) -> bytes:
    """What a git delta makes of its base."""
    place = 0
    for _ in ("size of the base", "size of the outcome"):
        while place < len(delta) and delta[place] & 0x80:
            place += 1
        place += 1
    found = bytearray()
    while place < len(delta):
        code, place = delta[place], place + 1
        if code & 0x80:
            given = [code >> bit & 1 for bit in range(7)]
            numbers = iter(delta[place : place + sum(given)])
            offset, size = (
                sum(next(numbers, 0) << 8 * byte for byte, there in enumerate(part) if there)
                for part in (given[:4], given[4:])
            )
            place += sum(given)
            piece = base[offset : offset + (size or 0x10000)]
        else:
            piece, place = delta[place : place + code], place + code
        if len(piece) > budget.left_bytes:
            budget.exceeded = True
            break
        budget.left_bytes -= len(piece)
        found += piece
    return bytes(found)


def _aligned(place: int) -> int:
    return -(-place // 4) * 4


def _number(digits: bytes, base: int) -> int | None:
    try:
        found = int(digits or b"0", base)
    except ValueError:
        return None
    return found if found >= 0 else None
