"""What goes over a container's standard streams: requests, replies, and the bytes of every session's pipes.

Standard library only: the relay inside and the link outside both use it. All streams of one session share one
window: whoever sends stops when the other end has not passed on a window's worth. So no session fills the memory of
either end, and no session holds up another.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

HEADER = struct.Struct("<BIQ")  # kind, session, bytes that follow
HELLO, REQUEST, REPLY, MOVED, LET_GO = range(5)
FIRST_STREAM = 8  # then the place of the stream in Pipes
SCRIPT, CONTROL, STDOUT, STDERR, TRACE = range(FIRST_STREAM, FIRST_STREAM + 5)

WINDOW_BYTES = 1 << 20  # of one session on their way, in each direction
REPORT_BYTES = WINDOW_BYTES // 4  # that have moved on before the other end is told
CHUNK_BYTES = 1 << 16
DRAIN_CHUNKS = 17  # read at once at most: the longest pipe that a process without rights can make, and a chunk

HANDOVER_FOLDER, HANDOVER_NAME = "/media", "daemon"  # where a container on its user's machine finds a socket

MARSHAL_VERSION = 4  # which every supported Python reads: the two ends may be different ones


class Frame(NamedTuple):
    """One message. A stream's frame without data is its end."""

    kind: int
    session: int
    data: bytes

    def pack(self) -> bytes:
        """As it is sent."""
        return HEADER.pack(self.kind, self.session, len(self.data)) + self.data


class FrameReader:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._arrived = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Frames that are complete with ``data``."""
        self._arrived += data
        while len(self._arrived) >= HEADER.size:
            kind, session, size = HEADER.unpack_from(self._arrived)
            end = HEADER.size + size
            if len(self._arrived) < end:
                return
            content = bytes(memoryview(self._arrived)[HEADER.size : end])
            del self._arrived[:end]
            yield Frame(kind, session, content)


class Window:
    """How much of a session's data may still be sent, and how much that came is to be reported as moved on."""

    def __init__(self, session: int) -> None:
        self._session = session
        self._moved = 0
        self.left = WINDOW_BYTES

    def note_moved(self, size: int) -> bytes:
        """Count what was passed on; answers the frame that says so, or nothing while it is little."""
        self._moved += size
        if self._moved < REPORT_BYTES:
            return b""
        moved, self._moved = self._moved, 0
        return Frame(MOVED, self._session, moved.to_bytes(8, "little")).pack()

    def reopen(self, frame: Frame) -> None:
        """The other end has passed on what ``frame`` says."""
        self.left += int.from_bytes(frame.data, "little")


def drain(descriptor: int) -> tuple[bytes, bool]:
    """What can be read without waiting, at most a few chunks, and whether the stream has ended."""
    parts = []
    for _ in range(DRAIN_CHUNKS):
        try:
            data = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            break
        if not data:
            return b"".join(parts), True
        parts.append(data)
    return b"".join(parts), False


def write_some(descriptor: int, data: bytearray) -> tuple[int, bool]:
    """Write what goes without waiting, and drop it from ``data``; all of it where nobody reads any more.

    Answers how much was dropped, and whether somebody reads.
    """
    before = len(data)
    try:
        while data:
            written = os.write(descriptor, memoryview(data)[:CHUNK_BYTES])
            del data[:written]
    except BlockingIOError:
        pass  # full: the rest goes when the other side has read
    except BrokenPipeError:
        data.clear()
        return before, False
    return before - len(data), True
