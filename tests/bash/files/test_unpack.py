"""What is packed is found, however it was packed, and nothing that an agent can write hurts whoever looks."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import subprocess
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsafe_envs.bash.files.unpack import MAX_PACKING_DEPTH, Budget, contents

TEXT = b"".join(b"line %d\n" % number for number in range(400))
OTHER = b"other\n"


def found(data: bytes) -> list[bytes]:
    return list(contents(data, Budget()))


def tar(*members: bytes, mode: str = "w", **options: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode, **options) as archive:  # type: ignore[call-overload]
        for number, member in enumerate(members):
            info = tarfile.TarInfo("folder/" * 20 + str(number))
            info.size = len(member)
            archive.addfile(info, io.BytesIO(member))
    return packed.getvalue()


def zipped(*members: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for number, member in enumerate(members):
            archive.writestr(str(number), member)
    return packed.getvalue()


class OneWay(io.BytesIO):
    """A pipe: zipfile then writes sizes behind the members."""

    def seekable(self) -> bool:
        return False

    def tell(self) -> int:
        raise OSError


def piped(*members: bytes) -> bytes:
    packed = OneWay()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, member in enumerate(members):
            with archive.open(str(number), "w") as one:
                one.write(member)
    return packed.getvalue()


def cpio(*members: bytes) -> bytes:
    """The form that ``cpio -H newc`` writes."""
    packed = b""
    for name, member in [*((b"%d" % number, member) for number, member in enumerate(members)), (b"TRAILER!!!", b"")]:
        fields = [0] * 13
        fields[6], fields[11] = len(member), len(name) + 1
        packed += b"070701" + b"".join(b"%08X" % field for field in fields) + name + b"\0"
        packed += b"\0" * (-len(packed) % 4) + member
        packed += b"\0" * (-len(packed) % 4)
    return packed


STREAMS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lambda data: lzma.compress(data, preset=9),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zlib": zlib.compress,
    "a git object": lambda data: zlib.compress(b"blob %d\0" % len(data) + data, 1),
}
ARCHIVES: dict[str, Callable[..., bytes]] = {
    "tar": tar,
    "tar of 1988": lambda *members: tar(*members, format=tarfile.USTAR_FORMAT),
    "tar of POSIX": lambda *members: tar(*members, format=tarfile.PAX_FORMAT),
    "tar.gz": lambda *members: tar(*members, mode="w:gz"),
    "tar.xz": lambda *members: tar(*members, mode="w:xz"),
    "zip": zipped,
    "zip that stores": lambda *members: zipped(*members, method=zipfile.ZIP_STORED),
    "zip from a pipe": piped,
    "cpio": cpio,
}
each_stream = pytest.mark.parametrize("name", STREAMS)
each_archive = pytest.mark.parametrize("name", ARCHIVES)


def test_what_is_not_packed_is_its_own_content() -> None:
    assert found(TEXT) == [TEXT]
    assert found(b"") == [b""]


@each_stream
def test_stream_holds_what_was_compressed(name: str) -> None:
    assert found(STREAMS[name](TEXT)) == [TEXT]


@pytest.mark.parametrize("name", ["gzip", "bzip2", "xz"])
def test_streams_in_a_row_hold_all_that_was_compressed(name: str) -> None:
    assert found(STREAMS[name](TEXT) + STREAMS[name](OTHER)) == [TEXT + OTHER]


@each_archive
def test_archive_holds_its_members(name: str) -> None:
    assert found(ARCHIVES[name](TEXT, OTHER, TEXT)) == [TEXT, OTHER, TEXT]


@each_archive
def test_archive_cut_short_holds_the_members_before_the_cut(name: str) -> None:
    whole = ARCHIVES[name](OTHER, TEXT)
    assert OTHER in b"".join(found(whole[: len(whole) // 2]))


@pytest.mark.parametrize("name", ["gzip", "zlib"])
def test_stream_cut_short_holds_what_comes_before_the_cut(name: str) -> None:
    whole = STREAMS[name](TEXT)
    (part,) = found(whole[: len(whole) // 2])
    assert part
    assert part != TEXT
    assert TEXT.startswith(part)


def test_layers_are_taken_off_up_to_a_depth() -> None:
    data = TEXT
    for _ in range(MAX_PACKING_DEPTH):
        data = gzip.compress(data)
    assert found(data) == [TEXT]
    assert found(gzip.compress(data)) != [TEXT]


def git_objects(folder: Path, *arguments: str) -> list[bytes]:
    """Contents of every object file of a repository with four versions of a text, after a git command."""
    calls = [("init", "-q"), ("config", "user.email", "a@b"), ("config", "user.name", "a")]
    for number in range(4):
        calls += [("add", "text"), ("commit", "-qm", str(number))]
    version = 0
    for call in [*calls, *([arguments] if arguments else [])]:
        if call[0] == "add":
            (folder / "text").write_bytes(TEXT + b"version %d\n" % version)
            version += 1
        subprocess.run(["git", *call], cwd=folder, check=True, capture_output=True)
    files = [path for path in (folder / ".git/objects").rglob("*") if path.is_file()]
    return [content for path in files for content in found(path.read_bytes())]


@pytest.mark.parametrize("arguments", [(), ("gc", "-q")], ids=["loose", "packed"])
def test_every_version_in_a_git_repository_is_found(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    held = git_objects(tmp_path, *arguments)
    assert all(TEXT + b"version %d\n" % number in held for number in range(4))


BOMB_BYTES = 64 << 20


@cache
def bomb(name: str) -> bytes:
    """Much of nothing; made where it is needed, since that takes seconds."""
    return STREAMS[name](bytes(BOMB_BYTES))


@each_stream
def test_bomb_is_read_as_far_as_the_budget_goes(name: str) -> None:
    budget = Budget(1 << 20)
    assert sum(map(len, contents(bomb(name), budget))) <= 1 << 20
    assert budget.exceeded


def test_budget_covers_all_files_together() -> None:
    budget = Budget(len(TEXT) + 10)
    assert list(contents(gzip.compress(TEXT), budget)) == [TEXT]
    assert not budget.exceeded
    list(contents(gzip.compress(TEXT), budget))
    assert budget.exceeded


EMPTY = {
    "gzip": gzip.compress(b""),
    "bzip2": bz2.compress(b""),
    "xz": lzma.compress(b""),
    "zip": zipped(b"")[: 30 + 1 + 2],
    "tar": bytes(512),
    "cpio": cpio()[:112],
}


@pytest.mark.parametrize("name", EMPTY)
def test_a_million_bytes_of_empty_members_take_seconds_at_most(name: str) -> None:
    data = EMPTY[name] * ((1 << 20) // len(EMPTY[name]))
    start = time.process_time()
    list(contents(data, Budget()))
    assert time.process_time() - start < 5.0  # measured: 0.1 s at most


MAGICS = (
    *(STREAMS[name](TEXT)[:40] for name in STREAMS),
    *(ARCHIVES[name](TEXT, OTHER)[:1_100] for name in ARCHIVES),
    b"PACK\0\0\0\2\0\0\0\2",
)


@given(st.sampled_from(MAGICS), st.binary(max_size=600), st.integers(0, 1_100), st.binary(max_size=3))
def test_nothing_that_looks_packed_raises_or_unpacks_beyond_the_budget(
    start: bytes, rest: bytes, place: int, damage: bytes
) -> None:
    data = start + rest
    data = data[:place] + damage + data[place + len(damage) :]
    budget = Budget(4_096)
    total = sum(map(len, contents(data, budget)))
    assert total <= 4_096 + MAX_PACKING_DEPTH * len(data)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=700), min_size=1, max_size=4), st.sampled_from(sorted(ARCHIVES)))
def test_any_members_come_out_as_they_went_in(members: list[bytes], name: str) -> None:
    expected = [content for member in members for content in found(member)]
    assert found(ARCHIVES[name](*members)) == expected


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=2_000), st.sampled_from(sorted(set(STREAMS) - {"a git object", "zlib"})))
def test_any_content_comes_out_of_a_stream_as_it_went_in(data: bytes, name: str) -> None:
    assert found(STREAMS[name](data)) == found(data)
