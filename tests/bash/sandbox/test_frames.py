from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.bash.sandbox.container import _DockerStreams
from agentsafe_envs.bash.sandbox.daemon.frames import (
    MOVED,
    REPORT_BYTES,
    WINDOW_BYTES,
    Frame,
    FrameReader,
    Window,
    drain,
    write_some,
)

FRAMES = st.lists(st.builds(Frame, st.integers(0, 12), st.integers(0, 2**32 - 1), st.binary(max_size=300)))


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """``data`` in pieces of these sizes, in turn."""
    pieces, place = [], 0
    for number in range(len(data)):
        if place >= len(data):
            break
        size = sizes[number % len(sizes)]
        pieces.append(data[place : place + size])
        place += size
    return pieces


@given(FRAMES, st.lists(st.integers(1, 90), min_size=1))
def test_frames_arrive_however_they_are_cut(frames: list[Frame], sizes: list[int]) -> None:
    reader = FrameReader()
    data = b"".join(each.pack() for each in frames)
    assert [each for piece in cut(data, sizes) for each in reader.feed(piece)] == frames


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=200))),
    st.lists(st.integers(1, 90), min_size=1),
)
def test_streams_of_docker_are_told_apart_however_they_are_cut(sent: list[tuple[int, bytes]], sizes: list[int]) -> None:
    data = b"".join(bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text for stream, text in sent)
    streams = _DockerStreams()
    found: dict[int, bytes] = {1: b"", 2: b""}
    for piece in cut(data, sizes):
        for stream, text in streams.feed(piece):
            found[stream] += text
    assert found == {each: b"".join(text for stream, text in sent if stream == each) for each in (1, 2)}


def test_window_closes_and_is_reopened_by_what_moved_on() -> None:
    sender, receiver = Window(7), Window(7)
    sender.left -= WINDOW_BYTES
    assert receiver.note_moved(REPORT_BYTES - 1) == b""
    (frame,) = FrameReader().feed(receiver.note_moved(1))
    assert frame[:2] == (MOVED, 7)
    sender.reopen(frame)
    assert sender.left == REPORT_BYTES


def test_full_pipe_takes_a_part_and_a_closed_one_everything() -> None:
    reader, writer = os.pipe()
    for end in (reader, writer):
        os.set_blocking(end, False)
    data = bytearray(b"x" * (1 << 20))
    written, is_read = write_some(writer, data)
    assert is_read
    assert 0 < written < 1 << 20
    assert len(data) == (1 << 20) - written
    assert drain(reader) == (b"x" * written, False)
    os.close(reader)
    assert write_some(writer, data) == ((1 << 20) - written, False)
    assert not data
    os.close(writer)
