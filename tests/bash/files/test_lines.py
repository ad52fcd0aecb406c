"""Lines of the start are known again wherever they come to be."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.bash.files.lines import MAX_LINES, Lines
from agentsafe_envs.bash.files.start import Start, file
from agentsafe_envs.bash.files.tree import Node
from agentsafe_envs.bash.files.unpack import Budget

TEXT = "one = 1\ntwo = 2\n\nthree = 3\n"
PACKED = gzip.compress(b"five\n", mtime=0)
LINES = Lines(Start(entries=(file("/a", TEXT), file("/b", "two = 2\nfour\n"), file("/c", PACKED))))


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def held(data: bytes) -> int:
    return LINES.find(data, Budget())


ALL = held(TEXT.encode())


def test_every_line_that_is_not_empty_has_a_number() -> None:
    assert ALL.bit_count() == 3
    assert LINES.at_start[digest(TEXT.encode())] == ALL


def test_a_line_of_two_files_has_one_number() -> None:
    assert (held(b"two = 2\nfour\n") & ALL).bit_count() == 1


def test_file_that_is_packed_at_the_start_has_the_lines_in_it() -> None:
    assert LINES.at_start[digest(PACKED)] == held(b"five\n") != 0


@pytest.mark.parametrize(
    "data",
    [
        b"three = 3\ntwo = 2\none = 1",
        b"one = 1\r\ntwo = 2\r\nthree = 3\r\n",
        b"# one = 1\n  two = 2\n;three = 3\n",
        b"before\none = 1\ntwo = 2\n\nthree = 3\nafter\n",
        b"header\0\0one = 1\0two = 2\0three = 3\0",
        TEXT.encode("utf-16"),
        gzip.compress(TEXT.encode(), mtime=0),
        gzip.compress(gzip.compress(TEXT.encode(), mtime=0), mtime=0),
    ],
)
def test_lines_survive_sorting_moving_marks_and_packing(data: bytes) -> None:
    assert held(data) == ALL


@pytest.mark.parametrize("data", [b"", b"one = 11\ntwo=2\nthre = 3\n", b"one = 1two = 2three = 5", b"ONE = 1\n\n"])
def test_other_lines_are_other_lines(data: bytes) -> None:
    assert held(data) == 0


LONG = "first of all lines\nsecond of them\nthe last\nshort\n"


def wrapped(data: bytes, width: int) -> list[bytes]:
    return [data[place : place + width] for place in range(0, len(data), width)]


LONGER = Lines(Start(entries=(file("/a", LONG),)))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (json.dumps(LONG).encode(), 3),
        (json.dumps(LONG.splitlines()).encode(), 4 - 1),
        (b"".join(b"%6d\t%s\n" % each for each in enumerate(LONG.encode().splitlines())), 3),
        (base64.encodebytes(LONG.encode()), 4),
        (b"\n".join(wrapped(base64.b64encode(LONG.encode()), 7)), 4),
        (b"\n".join(wrapped(base64.b64encode(gzip.compress(LONG.encode(), mtime=0)), 75)), 4),
        (b"x" * 600 + LONG.encode(), 4),
        (gzip.compress(b"other", mtime=0) + LONG.encode(), 4),
        (b"a shortage of thelast\n", 0),
    ],
)
def test_lines_of_some_length_are_found_within_others(data: bytes, found: int) -> None:
    assert LONGER.find(data, Budget()).bit_count() == found


def test_interpreter_line_is_no_data() -> None:
    lines = Lines(Start(entries=(file("/a", "#!/bin/sh\necho what it is\n"),)))
    assert lines.find(b"#!/bin/sh\ndate\n", Budget()) == 0
    assert lines.at_start[digest(b"#!/bin/sh\necho what it is\n")].bit_count() == 1


def written(data: bytes) -> Node:
    return Node("file", 0o644, 0, 0, len(data), digest(data), content=data)


@pytest.mark.parametrize(
    ("contents", "may"),
    [
        ([LONG[::-1].encode()], True),
        ([bytes(range(128, 140))], True),
        ([b"\xff"], False),
        ([b"46 bytes"], False),
        ([LONG.encode()], False),
        ([LONG[::-1].encode()[:20], LONG[::-1].encode()[20:]], True),
        ([LONG.encode()[:23], LONG.encode()[23:]], False),
    ],
)
def test_what_is_large_enough_may_hold_lines_in_another_form(contents: list[bytes], may: bool) -> None:
    read = LONGER.find(LONG.encode(), Budget())
    found = {digest(each): LONGER.find(each, Budget()) for each in contents}
    assert bool(LONGER.may_hold(read, [written(each) for each in contents], found)) is may


@given(st.sets(st.integers(0, 300)))
def test_any_set_of_lines_can_be_stored_and_read(numbers: set[int]) -> None:
    lines = sum(1 << number for number in numbers)
    assert Lines.from_json(Lines.to_json(lines)) == lines


def test_runs_are_stored_by_their_ends() -> None:
    assert Lines.to_json(0b111011) == [[0, 1], [3, 5]]
    assert Lines.to_json(0) == []


@pytest.mark.parametrize("run", [[-1, 2], [3, 2], [0, MAX_LINES]])
def test_runs_that_no_start_has_are_refused(run: list[int]) -> None:
    with pytest.raises(ValueError, match="expected 0 <= first <= last"):
        Lines.from_json([run])
