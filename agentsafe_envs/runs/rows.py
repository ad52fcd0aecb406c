"""Where scored episodes are kept: one JSON line each, appended a group at a time.

A run directory survives ``kill -9`` at any moment: what is on disk is whole rows plus at most
one torn line, which the next opening cuts off. Resuming is then a set difference.

========================  ======================================================================
``run.json``              suite, agent, plan; a directory holds one run and refuses another
``rows.jsonl``            one scored episode a line, append-only
``failures.jsonl``        infrastructure failures: why an episode is unscored, never a score
``judged.jsonl``          what this machine's detectors found, so that an episode is judged once
========================  ======================================================================

POSIX only (``fcntl``).

Try it::

    with RowStore("runs/mine", suite, agent) as store:
        for group in groups(store.missing(planned)):
            store.append_group(play(group))
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.runs.failures import Failure
from agentsafe_envs.runs.files import append_whole, cut_torn_tail, write_whole
from agentsafe_envs.runs.record import (
    RUN_FILE,
    SCHEMA_VERSION,
    AgentRecord,
    RowStoreError,
    RunRecord,
    SuiteRecord,
    continues,
    read_run,
    require_run,
    setting_differences,
)

__all__ = [
    "FAILURES_FILE",
    "ROWS_FILE",
    "RUN_FILE",
    "SCHEMA_VERSION",
    "AgentRecord",
    "Row",
    "RowStore",
    "RowStoreError",
    "RunRecord",
    "SuiteRecord",
    "continues",
    "read_failures",
    "read_rows",
    "read_run",
    "row_key",
    "set_aside",
    "setting_differences",
]

ROWS_FILE = "rows.jsonl"
FAILURES_FILE = "failures.jsonl"

Row = dict[str, Any]


class RowStore:
    """Append-only store of one run, held by one process at a time.

    Use it as a context manager, or call :meth:`close`; the lock also ends with the process.
    Processes forked while it is open share the lock until they end.

    Args:
        directory: Created if missing.
        suite: Suite to be scored.
        agent: Agent to be scored; settings must be JSON types.
        plan: What the suite consists of, in JSON types; kept so that the run can be scored without
            being told again which suite it was.
        environments_of: Digest of each environment of a run that is there; a suite that has these
            environments and more continues the run.

    Attributes:
        record: What the run says of itself. An agent whose circumstances changed continues it, and that is
            noted with the first rows that it plays.

    Raises:
        RowStoreError: The directory belongs to another suite or agent, another process writes
            to it, or a line of it cannot be read.
        OSError: The system refuses to write there.
    """

    def __init__(
        self,
        directory: Path | str,
        suite: SuiteRecord,
        agent: AgentRecord,
        plan: dict[str, Any] | None = None,
        environments_of: Callable[[RunRecord], Mapping[str, str]] = lambda run: run.suite.environments,
    ) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._rows_fd = os.open(self.directory / ROWS_FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        self._agent = agent
        try:
            _lock(self._rows_fd, self.directory)
            asked = RunRecord(schema_version=SCHEMA_VERSION, suite=suite, agent=agent, plan=plan)
            self.record = self._claim(asked, environments_of)
            cut_torn_tail(self.directory / ROWS_FILE)
            cut_torn_tail(self.directory / FAILURES_FILE)
            self._keys = {row_key(row) for row in self.load()}
        except BaseException:
            os.close(self._rows_fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the directory; closing twice does nothing."""
        if self._rows_fd >= 0:
            os.close(self._rows_fd)
            self._rows_fd = -1

    def load(self) -> list[Row]:
        """Every stored row in the order written; see :func:`read_rows`."""
        return read_rows(self.directory)

    def missing(self, keys: Iterable[EpisodeKey]) -> list[EpisodeKey]:
        """Those of ``keys`` that have no row yet, in their order."""
        return [key for key in keys if key not in self._keys]

    def append_group(self, rows: Sequence[Row]) -> None:
        """Store the rows of one group with one write, on disk when this returns.

        Rows whose key is already stored are left out: the first verdict stands, so a group may be
        played again after a kill in the middle of its write.

        Raises:
            ValueError: A row has no valid key or holds something that JSON cannot.
            OSError: The disk refused; nothing of the group is kept.
        """
        fresh: dict[EpisodeKey, str] = {}
        for row in rows:
            key = row_key(row)
            if key not in self._keys and key not in fresh:
                fresh[key] = _line(row)
        if fresh:
            self._note_circumstances()
        append_whole(self._rows_fd, "".join(fresh.values()).encode(), self.directory / ROWS_FILE)
        self._keys.update(fresh)

    def append_failures(self, keys: Iterable[EpisodeKey], error: BaseException | Failure) -> None:
        """Record why ``keys`` stay unscored; it takes nothing away from :meth:`missing`.

        Raises:
            OSError: The disk refused; nothing is kept.
        """
        failure = error if isinstance(error, Failure) else Failure.of(error)
        entry: dict[str, Any] = {"error": failure.error, "message": failure.message}
        if failure.places:
            entry["places"] = list(failure.places)
        path = self.directory / FAILURES_FILE
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            append_whole(fd, "".join(_line({"key": key._asdict(), **entry}) for key in keys).encode(), path)
        finally:
            os.close(fd)

    def complete_since(self, keys: Iterable[EpisodeKey]) -> datetime | None:
        """When the last row was written, in local time; None while one of ``keys`` has no row."""
        if self.missing(keys):
            return None
        return datetime.fromtimestamp(os.fstat(self._rows_fd).st_mtime).astimezone()

    def _claim(self, asked: RunRecord, environments_of: Callable[[RunRecord], Mapping[str, str]]) -> RunRecord:
        """The record of the directory, which is that of ``asked`` or of a part of its environments."""
        # Through JSON, because a tuple in describe() comes back from disk as a list.
        asked = RunRecord.model_validate_json(_line(asked.model_dump()))
        path = self.directory / RUN_FILE
        if path.exists():
            found = read_run(self.directory)
            there = {} if found.suite.digest == asked.suite.digest else environments_of(found)
            other_suite = not continues(asked.suite, found.suite, there)
            other_agent = not found.agent.same_conduct(asked.agent)
            if other_suite or other_agent:
                lines = setting_differences(found, asked, suite=other_suite, agent=other_agent)
                raise RowStoreError(
                    "\n".join([f"{self.directory} holds another run:", *(f"  {line}" for line in lines)])
                    + "\nScores of two runs are never mixed. --fresh keeps what is there under another name and plays "
                    "anew, or use another --out."
                )
            if asked.suite.environments.keys() <= there.keys() or not there:
                return found
            asked = found.model_copy(update={"suite": asked.suite, "plan": asked.plan})
        elif os.fstat(self._rows_fd).st_size:
            raise RowStoreError(
                f"{self.directory} has rows but no {RUN_FILE}, so their agent is unknown; --fresh keeps them under "
                "another name, or use another --out"
            )
        _write_record(path, asked)
        return asked

    def _note_circumstances(self) -> None:
        asked = RunRecord(schema_version=SCHEMA_VERSION, suite=self.record.suite, agent=self._agent)
        if asked.circumstances() == self.record.circumstances():
            return
        self.record = self.record.continued(self._agent, datetime.now(UTC))
        _write_record(self.directory / RUN_FILE, self.record)


def set_aside(directory: Path, names: Sequence[str] = ()) -> Path | None:
    """Give a run directory another name beside it, so that the run can be played anew and no row is lost.

    Args:
        directory: Of the run.
        names: Move only these files, into a new directory beside it; none stands for the directory itself.

    Returns:
        Its new place; None where there was no run.

    Raises:
        RowStoreError: Another process writes to it, or it is the working folder.
        OSError: The system refuses to rename it.
    """
    if not any((directory / name).exists() for name in (RUN_FILE, ROWS_FILE)):
        return None
    if names:
        directory = directory.resolve()
    elif directory.resolve() == Path.cwd():
        raise RowStoreError(f"{directory.resolve()} is the working folder and cannot be renamed; use another --out")
    with _locked(directory):
        stamp = f"{datetime.now():%Y%m%d-%H%M%S}"
        numbers = iter(range(1, 10_000))
        place = directory.with_name(f"{directory.name}.before-{stamp}")
        while place.exists():
            place = directory.with_name(f"{directory.name}.before-{stamp}-{next(numbers)}")
        if not names:
            return directory.rename(place)
        place.mkdir()
        for name in names:
            if (directory / name).exists():
                (directory / name).rename(place / name)
        return place


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    fd = os.open(directory / ROWS_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _lock(fd, directory)
        yield
    finally:
        os.close(fd)


def _lock(fd: int, directory: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RowStoreError(
            f"{directory} is being written by another process; wait for it, or use another --out"
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
            raise
        raise RowStoreError(
            f"{directory} lies on a file system without locks (flock: {error.strerror}), so two writers could mix "
            "their rows there; use an --out on a local disk and copy the run when it is complete"
        ) from error


def _write_record(path: Path, record: RunRecord) -> None:
    write_whole(path, json.dumps(record.model_dump(), indent=2, sort_keys=True) + "\n")


def read_rows(directory: Path | str) -> list[Row]:
    """Rows of a run directory, without taking or needing its lock.

    Of two rows with one key the first stands. A last line without a newline was torn by a kill
    and is not a row.

    Raises:
        RowStoreError: Another line is not a row; the message names file and line.
        FileNotFoundError: There is no such run.
        NotADirectoryError: It is a file.
    """
    path = Path(directory) / ROWS_FILE
    if not path.is_file():
        require_run(directory)
        raise FileNotFoundError(
            f"{path} is not there; restore it from a copy, or play the run again with another --out"
        )
    rows: dict[EpisodeKey, Row] = {}
    for place, row in _read_lines(path):
        try:
            rows.setdefault(row_key(row), row)
        except ValueError as error:
            raise RowStoreError(
                f"{place}: {error}; restore the line from a copy or delete it to have it re-run"
            ) from error
    return list(rows.values())


def read_failures(directory: Path | str) -> list[dict[str, Any]]:
    """Recorded failures, oldest first: ``key``, ``error`` (type name), ``message`` and ``places`` in the sources.

    Raises:
        RowStoreError: A line other than a torn last one is not JSON.
    """
    path = Path(directory) / FAILURES_FILE
    return [failure for _, failure in _read_lines(path)] if path.exists() else []


def row_key(row: Mapping[str, Any]) -> EpisodeKey:
    """Key of a row.

    Raises:
        ValueError: ``row["key"]`` is missing or is not {environment, split, seed, trial}.
    """
    fields = row.get("key")
    types = {"environment": str, "split": str, "seed": int, "trial": int}
    if (
        not isinstance(fields, dict)
        or fields.keys() != types.keys()
        or any(type(fields[name]) is not kind for name, kind in types.items())
    ):
        raise ValueError(f"row has key {fields!r}, expected environment, split (text), seed and trial (whole numbers)")
    return EpisodeKey(**fields)


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False) + "\n"


def _read_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Pairs of place and object; the bytes after the last newline are not looked at."""
    objects = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        place = f"{path}, line {number}"
        try:
            value = json.loads(line)
        except ValueError as error:
            raise RowStoreError(
                f"{place}: not JSON ({error}); restore the line from a copy or delete it to have it re-run"
            ) from error
        if not isinstance(value, dict):
            raise RowStoreError(f"{place}: a JSON {type(value).__name__}, expected an object; was the file edited?")
        objects.append((place, value))
    return objects
