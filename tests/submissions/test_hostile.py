from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsafe_envs.core.extras import MissingExtraError
from agentsafe_envs.submissions import hostile
from agentsafe_envs.submissions.hostile import RefusedError, read_json, read_lines, read_members, read_text

pytestmark = pytest.mark.needs("submit")

numbers = st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | numbers | st.text(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=8,
)


@settings(max_examples=40)
@given(plain)
def test_plain_json_is_read_as_it_was_written(value: Any) -> None:
    assert read_json(json.dumps(value).encode(), "here") == value


@given(st.binary(max_size=200))
def test_any_bytes_are_json_or_refused(data: bytes) -> None:
    said = "here"
    try:
        read_json(data, "here")
    except RefusedError as error:
        said = str(error)
    assert said.startswith("here")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = read_text(text.encode("utf-8", "surrogatepass"), "card.md")
    except RefusedError:
        return
    assert found == text
    assert all(char.isprintable() or char in "\n\t" or char.isspace() for char in text)


@given(st.binary(max_size=300), st.sampled_from(["episodes.jsonl.zst", "episodes.jsonl.gz"]))
def test_any_bytes_are_lines_or_refused(data: bytes, name: str) -> None:
    said = name
    try:
        assert all(b"\n" not in line for line in read_lines(name, data))
    except RefusedError as error:
        said = str(error)
    assert name in said


@given(st.lists(st.binary(max_size=50).filter(lambda line: b"\n" not in line), max_size=20))
def test_lines_are_read_as_they_were_packed(lines: list[bytes]) -> None:
    data = gzip.compress(b"".join(line + b"\n" for line in lines))
    assert list(read_lines("episodes.jsonl.gz", data)) == lines


@given(data=st.binary(max_size=600), suffix=st.sampled_from(hostile.ARCHIVES), cut=st.integers(0, 400))
def test_any_bytes_are_an_archive_or_refused(
    data: bytes, suffix: str, cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Bytes at random, and an archive with bytes at random in it."""
    folder = tmp_path_factory.mktemp("archive")
    for number, content in enumerate((data, archive(suffix)[:cut] + data + archive(suffix)[cut:])):
        path = folder / f"{number}{suffix}"
        path.write_bytes(content)
        try:
            found = read_members(path)
        except RefusedError:
            continue
        assert all("/" not in name for name in found)
    assert len(list(folder.iterdir())) == 2


@given(name=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30))
def test_member_of_any_name_stays_in_memory(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("archive")
    with tarfile.open(folder / "x.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    try:
        found = read_members(folder / "x.tar")
    except RefusedError:
        found = {}
    assert not {".", "..", ""} & found.keys()
    assert [each.name for each in folder.iterdir()] == ["x.tar"]


def archive(suffix: str) -> bytes:
    stream = io.BytesIO()
    if suffix == ".zip":
        with zipfile.ZipFile(stream, "w") as zipped:
            zipped.writestr("mine/card.md", "# mine\n")
    else:
        with tarfile.open(fileobj=stream, mode="w:gz" if suffix.endswith("gz") else "w") as tarred:
            entry = tarfile.TarInfo("mine/card.md")
            entry.size = 7
            tarred.addfile(entry, io.BytesIO(b"# mine\n"))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": 1, "a": 2}', "'a' is there twice"),
        (b"{" + b",".join(b'"%d":1' % min(n, 90_000) for n in range(90_002)) + b"}", "'90000' is there twice"),
        (b'{"a": NaN}', "NaN"),
        (b"-Infinity", "-Infinity"),
        (b"1e999", "too large"),
        (b"1" * 5000, "here"),
        (b"[" * 100_000, "nested too deep"),
        (b"[" * 80 + b"]" * 80, "nested too deep"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b'\xef\xbb\xbf{"a": 1}', "here"),
        (b"{} {}", "here"),
        (b"", "here"),
    ],
)
def test_json_out_of_the_ordinary_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        read_json(data, "here")


@pytest.mark.parametrize("char", ["\x00", "\x1b", "\r", "\u202e", "\u200b", "\ue000", "\ufeff", "\U000e0041"])
def test_character_that_is_not_seen_is_refused(char: str) -> None:
    with pytest.raises(RefusedError, match=rf"line 2: the character U\+{ord(char):04X}"):
        read_text(f"# name\nab{char}c\n".encode(), "card.md")


def test_letters_of_other_languages_are_text() -> None:
    assert read_text("# Müller, 王\n".encode(), "card.md") == "# Müller, 王\n"


def test_large_line_is_refused_before_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "MOST_LINE_BYTES", 1000)
    with pytest.raises(RefusedError, match="a line of more than 1000 bytes"):
        list(read_lines("episodes.jsonl.gz", gzip.compress(b"0" * 2000)))


def test_missing_zstandard_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*submit"):
        list(read_lines("episodes.jsonl.zst", b""))


def test_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "scorecard.json").touch()
    with pytest.raises(RefusedError, match=r"scorecard\.json is no submission; expected a folder, or an archive"):
        read_members(tmp_path / "scorecard.json")


def test_encrypted_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(archive(".zip"))
    for header, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + place] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(RefusedError, match="encrypted"):
        read_members(tmp_path / "x.zip")


@pytest.mark.parametrize(
    ("line", "times"),
    [(b"[" + b"[]," * 100_000 + b"[]]", 1), (b"[" + b"[]," * 90_000 + b"[]]", 23)],
    ids=["line", "file"],
)
def test_values_are_counted_before_they_are_read(line: bytes, times: int) -> None:
    with pytest.raises(RefusedError, match="values"):
        list(read_lines("x.jsonl", (line + b"\n") * times))
    list(read_lines("x.jsonl", b'{"text": "%s"}\n' % (b"a, b" * 10_000)))
