"""Reading what strangers sent: within limits, into memory, and never by running, importing or unpacking it.

Folders and archives become a mapping from names to bytes, compressed lines become lines, and JSON becomes plain
values; anything out of the ordinary is refused with the reason. Only this module touches a submission's bytes.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from agentsafe_envs.core.extras import import_extra
from agentsafe_envs.runs.cache import open_regular

MOST_MEMBERS = 8
"""Entries of a folder or archive; a submission has three files, and an archive may name its folder."""

LARGEST_FILES = {"submission.json": 64 * 1024, "card.md": 32 * 1024}
"""Largest files, by name."""

MOST_EPISODES_BYTES = 16 * 1024 * 1024
"""Largest file of episodes, compressed."""

MOST_ARCHIVE_BYTES = 2 * MOST_EPISODES_BYTES
"""Largest archive, and most bytes that it comes to."""

MOST_LINES_BYTES = 256 * 1024 * 1024
"""Most bytes that episodes come to."""

MOST_RATIO = 400
"""Most bytes that one compressed byte comes to, beyond the first :data:`FREE_BYTES`; episodes come to 10 to 100."""

FREE_BYTES = 4 * 1024 * 1024
"""Bytes that may come of however few."""

MOST_LINE_BYTES = 8 * 1024 * 1024
"""Longest line: an episode of twenty steps with evidence."""

MOST_LINE_VALUES = 200_000
"""Most values of a line of JSON, counted by the signs before them; episodes that were submitted have at most 829."""

MOST_FILE_VALUES = 4_000_000
"""Most values of all lines, since each takes some 100 bytes of memory and as few as 3 of JSON."""

LONGEST_HEADER_BYTES = 4_096
"""Of an entry's extra header in a tar."""

MOST_NESTING = 64
"""Levels of lists and objects in JSON."""

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")
"""Endings of archives that are read."""

_CHUNK = 256 * 1024


class RefusedError(ValueError):
    """What was sent is not read; the message says what was found and what was expected."""


class _Stream(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def most_bytes(name: str) -> int:
    """Largest size of the file ``name``."""
    return LARGEST_FILES.get(name, MOST_EPISODES_BYTES)


def read_members(path: Path) -> dict[str, bytes]:
    """Content of each file of a submission's folder or archive, by name.

    Raises:
        RefusedError: It has other than a few regular files within limits.
        MissingExtraError: A ``.tar.zst`` without the extra ``submit``.
    """
    try:
        if path.is_symlink():
            raise RefusedError(f"{path.name} is a link; expected a folder or an archive")
        if path.is_dir():
            return _read_folder(path)
        with os.fdopen(open_regular(path, os.O_RDONLY), "rb") as file:
            if os.fstat(file.fileno()).st_size > MOST_ARCHIVE_BYTES:
                raise RefusedError(f"{path.name} is larger than {MOST_ARCHIVE_BYTES} bytes")
            if path.name.endswith(".zip"):
                return _read_zip(file)
            if path.name.endswith(ARCHIVES):
                return _read_tar(file, path)
    except OSError as error:
        raise RefusedError(f"{path.name} cannot be read: {error.strerror or error}") from error
    raise RefusedError(f"{path.name} is no submission; expected a folder, or an archive ({', '.join(ARCHIVES)})")


def read_lines(name: str, data: bytes) -> Iterator[bytes]:
    """Lines of a compressed file.

    Raises:
        RefusedError: It is damaged, or comes to more than the limits.
        MissingExtraError: Zstandard without the extra ``submit``.
    """
    allowed = min(MOST_LINES_BYTES, FREE_BYTES + MOST_RATIO * len(data))
    limited = _Limited(_decompressor(name, io.BytesIO(data)), allowed, f"{name} of {len(data)} bytes")
    rest = b""
    values = 0
    while chunk := limited.read(_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            here = sum(line.count(sign) for sign in (b",", b":", b"[", b"{"))
            values += here
            if here > MOST_LINE_VALUES or values > MOST_FILE_VALUES:
                raise RefusedError(f"{name} has more than {MOST_LINE_VALUES} values a line, or {MOST_FILE_VALUES}")
            yield line
        if len(rest) > MOST_LINE_BYTES:
            raise RefusedError(f"{name} has a line of more than {MOST_LINE_BYTES} bytes")
    if rest:
        raise RefusedError(f"{name} ends in the middle of a line")


def read_json(data: bytes, place: str) -> Any:
    """The value of strict JSON: UTF-8, no key twice, no NaN or infinity, bounded nesting and numbers.

    Args:
        data: The JSON.
        place: Where it stands, for messages.

    Raises:
        RefusedError: It is something else.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
    except RecursionError:
        raise RefusedError(f"{place}: nested too deep, expected at most {MOST_NESTING} levels") from None
    except UnicodeDecodeError as error:
        raise RefusedError(f"{place}: not UTF-8 at byte {error.start}") from error
    except ValueError as error:
        raise RefusedError(f"{place}: {error}") from error
    _require_shallow(value, place)
    return value


def read_text(data: bytes, place: str) -> str:
    """UTF-8 text without control, formatting, private or unassigned characters but line breaks and tabs.

    Raises:
        RefusedError: It is something else; a character that turns a line around is named.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise RefusedError(f"{place}: not UTF-8 at byte {error.start}") from error
    for number, line in enumerate(text.split("\n"), 1):
        for char in line:
            if char != "\t" and unicodedata.category(char)[0] == "C":
                raise RefusedError(f"{place}, line {number}: the character U+{ord(char):04X} is not allowed")
    return text


class _Limited:
    """A stream that refuses to yield more than a number of bytes, or to be asked for more at once."""

    def __init__(self, stream: _Stream, most: int, place: str) -> None:
        self._stream, self._left, self._place = stream, most, place

    def read(self, size: int = -1, /) -> bytes:
        try:
            data = self._stream.read(min(size, self._left + 1) if size >= 0 else self._left + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise RefusedError(f"{self._place} is damaged: {error}") from error
        self._left -= len(data)
        if self._left < 0:
            raise RefusedError(f"{self._place} comes to more than is allowed")
        return data


def _decompressor(name: str, stream: IO[bytes]) -> _Stream:
    if name.endswith(".zst"):
        return _Zstandard(stream)
    return gzip.GzipFile(fileobj=stream, mode="rb") if name.endswith(("gz", "tgz")) else stream


class _Zstandard:
    """One decompressed stream; its window is bounded, since that is memory which a few bytes ask for."""

    def __init__(self, stream: IO[bytes]) -> None:
        zstandard = import_extra("zstandard", "submit")
        self._error = zstandard.ZstdError
        decompressor = zstandard.ZstdDecompressor(max_window_size=64 * 1024 * 1024)
        self._reader = decompressor.stream_reader(stream, read_across_frames=True)

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._reader.read(size)
        except self._error as error:
            raise OSError(str(error)) from error


def _read_folder(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with os.scandir(path) as entries:
        for entry in entries:
            if len(found) == MOST_MEMBERS:
                raise RefusedError(f"more than {MOST_MEMBERS} files, expected three")
            if not entry.is_file(follow_symlinks=False):
                raise RefusedError(f"{_shown(entry.name)} is no regular file; links, folders and devices are not read")
            with os.fdopen(open_regular(Path(entry.path), os.O_RDONLY), "rb") as file:
                found[entry.name] = _read_whole(file, entry.name)
    return found


def _read_zip(file: IO[bytes]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in _few(archive.infolist()):
                kind = stat.S_IFMT(entry.external_attr >> 16)
                if entry.is_dir() and kind in (0, stat.S_IFDIR):
                    _base_name(entry.filename.rstrip("/"))
                    continue
                if kind not in (0, stat.S_IFREG) or entry.flag_bits & 1:
                    raise RefusedError(f"{_shown(entry.filename)} is no regular file, or encrypted")
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise RefusedError(f"{_shown(entry.filename)} is neither stored nor deflated")
                with archive.open(entry) as member:
                    _keep(found, entry.filename, member)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, ValueError, IndexError) as error:
        if isinstance(error, RefusedError):
            raise
        raise RefusedError(f"the archive is damaged: {error}") from error
    return found


def _read_tar(file: IO[bytes], path: Path) -> dict[str, bytes]:
    stream = _Limited(_decompressor(path.name, file), MOST_ARCHIVE_BYTES, path.name)
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Entry) as archive:  # type: ignore[call-overload]  # read() is all it needs
            for number, entry in enumerate(archive):
                if number == MOST_MEMBERS:
                    raise RefusedError(f"more than {MOST_MEMBERS} entries, expected three files")
                if entry.type == tarfile.DIRTYPE:
                    _base_name(entry.name.rstrip("/"))
                    continue
                if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    raise RefusedError(f"{_shown(entry.name)} is no regular file; links and devices are not read")
                member = archive.extractfile(entry)
                assert member is not None
                _keep(found, entry.name, member)
    except (tarfile.TarError, EOFError, UnicodeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, RefusedError):
            raise
        raise RefusedError(f"the archive is damaged: {error}") from error
    return found


class _Entry(tarfile.TarInfo):
    """An entry whose extra headers are short: of long ones some take time that grows with their square."""

    def _proc_pax(self, tarfile: Any) -> Any:
        self._require_short()
        return super()._proc_pax(tarfile)  # type: ignore[misc]

    def _proc_gnulong(self, tarfile: Any) -> Any:
        self._require_short()
        return super()._proc_gnulong(tarfile)  # type: ignore[misc]

    def _require_short(self) -> None:
        if self.size > LONGEST_HEADER_BYTES:
            raise RefusedError(f"a header of {self.size} bytes, expected at most {LONGEST_HEADER_BYTES}")


def _few(entries: list[Any]) -> list[Any]:
    if len(entries) > MOST_MEMBERS:
        raise RefusedError(f"{len(entries)} entries, expected three files")
    return entries


def _keep(found: dict[str, bytes], full_name: str, member: _Stream) -> None:
    name = _base_name(full_name)
    if name in found:
        raise RefusedError(f"{_shown(name)} is there twice")
    found[name] = _read_whole(member, name)


def _base_name(full_name: str) -> str:
    """Name of a member, which lies at the top of the archive or in one folder of it."""
    parts = full_name.removeprefix("./").split("/")
    if len(parts) > 2 or not all(parts) or {".", ".."} & set(parts) or "\\" in full_name or "\0" in full_name:
        raise RefusedError(f"{_shown(full_name)} does not lie at the top of the archive, or in one folder of it")
    return parts[-1]


def _read_whole(stream: _Stream, name: str) -> bytes:
    most = most_bytes(name)
    data = stream.read(most + 1)
    if len(data) > most:
        raise RefusedError(f"{_shown(name)} is larger than {most} bytes")
    return data


def _shown(name: str) -> str:
    return ascii(name[:80])


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # counting each takes minutes
        raise ValueError(f"the key {_shown(twice)} is there twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _require_shallow(value: Any, place: str) -> None:
    """Refuse deep nesting; looks without recursion, since recursion is what it guards."""
    level = [value]
    for _ in range(MOST_NESTING + 1):
        level = [
            below
            for each in level
            if isinstance(each, dict | list)
            for below in (each.values() if isinstance(each, dict) else each)
            if isinstance(below, dict | list)
        ]
        if not level:
            return
    raise RefusedError(f"{place}: nested too deep, expected at most {MOST_NESTING} levels")
