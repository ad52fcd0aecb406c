"""What detectors found, kept in the run directory so that an episode is judged once.

An entry of ``judged.jsonl`` counts only for the episode and the release that it was made from, and only with
the HMAC of this machine's secret key. The key lies outside every run directory, so an edited entry and an
entry from another machine are worth nothing: the episode is judged again. A file that cannot be read or
written is the same as no file.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import agentsafe_envs

JUDGED_FILE = "judged.jsonl"

KEY_FILE = Path("agentsafe", "judging.key")
"""Place of the machine's key in the user's folder of states."""

KEY_BYTES = 32

JUDGES = ("core", "cloud", "bash", "registration.py", "runs/judging.py")
"""Sources that decide what is found in an episode."""

Judgement = dict[str, Any]
"""What was found in one episode, in plain JSON types."""


class JudgementCache:
    """Judgements of this release in one run directory, by the digest of their episode.

    Args:
        directory: The run directory. It need not be writable.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / JUDGED_FILE
        self._key = machine_key()
        self._holds_other_releases = False
        self._judgements = dict(self._read()) if self._key else {}

    def find(self, digest: str) -> Judgement | None:
        """What was found in the episode with ``digest``; None where that is not known for certain."""
        return self._judgements.get(digest)

    def keep(self, judgements: Mapping[str, Judgement]) -> None:
        """Append judgements by the digest of their episode, with one write; entries of other releases are dropped."""
        fresh = {digest: judgement for digest, judgement in judgements.items() if digest not in self._judgements}
        if self._key is None or not fresh:
            return
        self._judgements |= fresh
        lines = [_encode(self._signed(digest, judgement)) for digest, judgement in fresh.items()]
        with contextlib.suppress(OSError):  # not kept: the episode is judged again next time
            self._append("".join(f"{line}\n" for line in lines).encode())

    def keep_all(self, other: JudgementCache) -> None:
        """:meth:`keep` what ``other`` holds."""
        self.keep(other._judgements)

    def _read(self) -> Iterator[tuple[str, Judgement]]:
        try:
            with os.fdopen(open_regular(self._file, os.O_RDONLY), "rb") as file:
                lines = file.read().split(b"\n")
        except OSError:
            return  # the same as no file
        for line in filter(None, lines):
            try:
                entry = json.loads(line)
                if entry["release"] != release():
                    self._holds_other_releases = True
                    continue
                expected = self._signed(entry["episode"], entry["judgement"])
                if hmac.compare_digest(entry["hmac"].encode(), expected["hmac"].encode()):
                    yield entry["episode"], entry["judgement"]
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
                continue  # torn by a kill, or edited

    def _signed(self, digest: str, judgement: Judgement) -> dict[str, Any]:
        assert self._key is not None
        entry = {"episode": digest, "release": release(), "judgement": judgement}
        return {**entry, "hmac": hmac.new(self._key, _encode(entry).encode(), hashlib.sha256).hexdigest()}

    def _append(self, data: bytes) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        file = open_regular(self._file, flags | (os.O_TRUNC if self._holds_other_releases else 0))
        try:
            size = os.fstat(file).st_size
            torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
            os.write(file, b"\n" * torn + data)
            self._holds_other_releases = False
        finally:
            os.close(file)


@cache
def release() -> str:
    """The package's version with a digest of the sources that decide what is found in an episode."""
    root = Path(agentsafe_envs.__file__).parent
    found = hashlib.sha256()
    for judge in map(root.joinpath, JUDGES):
        sources = [judge] if judge.is_file() else sorted(judge.rglob("*"))
        for path in sources:
            if path.suffix in (".py", ".toml"):
                content = path.read_bytes()
                found.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return f"{agentsafe_envs.__version__}+{found.hexdigest()[:32]}"


def machine_key() -> bytes | None:
    """This user's key on this machine, made at the first call; None where there is no private place for it."""
    try:
        chosen = Path(os.environ.get("XDG_STATE_HOME", ""))
        file = (chosen if chosen.is_absolute() else Path.home() / ".local" / "state") / KEY_FILE
        if not file.exists():
            _make_key(file)
        with os.fdopen(open_regular(file, os.O_RDONLY), "rb") as opened:
            facts, key = os.fstat(opened.fileno()), opened.read(KEY_BYTES + 1)
    except (OSError, RuntimeError):  # RuntimeError: nobody knows where home is
        return None
    private = facts.st_uid == os.geteuid() and not stat.S_IMODE(facts.st_mode) & 0o077
    return key if private and len(key) == KEY_BYTES else None


def _make_key(file: Path) -> None:
    """Make the key whole or not at all; where another process is faster, its key stands."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=file.parent)  # with mode 0600
    try:
        with os.fdopen(handle, "wb") as made:
            made.write(secrets.token_bytes(KEY_BYTES))
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(beside, file)
    finally:
        os.unlink(beside)


def open_regular(path: Path, flags: int) -> int:
    """Open a regular file itself: a link in a stranger's run directory must lead nowhere, and a pipe never block."""
    opened = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(f"{path} is no regular file")
    return opened


def _encode(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)
