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

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentsafe_envs.core.episode import EpisodeKey

SCHEMA_VERSION = 1
"""Of ``run.json`` and of the rows; bumped when an older directory can no longer be continued."""

RUN_FILE = "run.json"
ROWS_FILE = "rows.jsonl"
FAILURES_FILE = "failures.jsonl"

Row = dict[str, Any]


class RowStoreError(RuntimeError):
    """A run directory that cannot be used: of another run, in use, or damaged."""


class SuiteRecord(BaseModel):
    """Which tasks were scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name of the suite.", min_length=1)
    digest: str = Field(description="Digest of the suite's content.", min_length=1)
    environments: dict[str, str] = Field(
        default_factory=dict,
        description="Digest of each environment's tasks and of how they are played, by its registered id; "
        "empty in runs from before it was recorded.",
    )


class AgentRecord(BaseModel):
    """Which agent acted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Specification that loads the agent again.", min_length=1)
    settings: dict[str, Any] = Field(description="What the agent's describe() returned: model, prompt style, seed.")


class RunRecord(BaseModel):
    """Content of ``run.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = Field(description="Layout of the run directory.")
    suite: SuiteRecord
    agent: AgentRecord
    plan: dict[str, Any] | None = Field(
        default=None, description="What the suite consists of; none in runs of before it was recorded."
    )


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

    Raises:
        RowStoreError: The directory belongs to another suite or agent, another process writes
            to it, or a line of it cannot be read.
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
        try:
            self._lock()
            self._claim(RunRecord(schema_version=SCHEMA_VERSION, suite=suite, agent=agent, plan=plan), environments_of)
            _cut_torn_tail(self.directory / ROWS_FILE)
            _cut_torn_tail(self.directory / FAILURES_FILE)
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
        _append(self._rows_fd, list(fresh.values()))
        self._keys.update(fresh)

    def append_failures(self, keys: Iterable[EpisodeKey], error: BaseException) -> None:
        """Record why ``keys`` stay unscored; it takes nothing away from :meth:`missing`.

        Raises:
            OSError: The disk refused; nothing is kept.
        """
        lines = [_line({"key": key._asdict(), "error": type(error).__name__, "message": str(error)}) for key in keys]
        fd = os.open(self.directory / FAILURES_FILE, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            _append(fd, lines)
        finally:
            os.close(fd)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._rows_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RowStoreError(
                f"{self.directory} is being written by another process; wait for it, or use another --out"
            ) from error

    def _claim(self, record: RunRecord, environments_of: Callable[[RunRecord], Mapping[str, str]]) -> None:
        # Through JSON, because a tuple in describe() comes back from disk as a list.
        asked = json.loads(_line(record.model_dump()))
        path = self.directory / RUN_FILE
        if path.exists():
            found = read_run(self.directory)
            there = {} if found.suite.digest == record.suite.digest else environments_of(found)
            differing = [
                part
                for part, same in (
                    ("suite", continues(record.suite, found.suite, there)),
                    ("agent", found.model_dump()["agent"] == asked["agent"]),
                )
                if not same
            ]
            if differing:
                _refuse_another_run(self.directory, found.model_dump(), asked, differing)
            if record.suite.environments.keys() <= there.keys() or not there:
                return
        elif os.fstat(self._rows_fd).st_size:
            raise RowStoreError(
                f"{self.directory} has rows but no {RUN_FILE}, so their agent is unknown; use another --out"
            )
        _write_whole(path, json.dumps(asked, indent=2, sort_keys=True) + "\n")


def continues(asked: SuiteRecord, found: SuiteRecord, environments: Mapping[str, str]) -> bool:
    """Whether a run of suite ``found`` is a run of ``asked``, or of a part of its environments.

    Args:
        asked: The suite to be played.
        found: The suite of the run.
        environments: Digest of each environment of ``found``; empty where only the whole digest is known.
    """
    parts = bool(environments) and environments.items() <= asked.environments.items()
    return asked.name == found.name and (asked.digest == found.digest or parts)


def read_rows(directory: Path | str) -> list[Row]:
    """Rows of a run directory, without taking or needing its lock.

    Of two rows with one key the first stands. A last line without a newline was torn by a kill
    and is not a row.

    Raises:
        RowStoreError: Another line is not a row; the message names file and line.
        FileNotFoundError: There is no such run.
    """
    path = Path(directory) / ROWS_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; expected the directory of a run of `agentsafe score`")
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
    """Recorded failures, oldest first: ``key``, ``error`` (type name) and ``message``.

    Raises:
        RowStoreError: A line other than a torn last one is not JSON.
    """
    path = Path(directory) / FAILURES_FILE
    return [failure for _, failure in _read_lines(path)] if path.exists() else []


def read_run(directory: Path | str) -> RunRecord:
    """Suite and agent of a run directory.

    Raises:
        RowStoreError: ``run.json`` is not one of ours.
        FileNotFoundError: There is no such run.
    """
    path = Path(directory) / RUN_FILE
    try:
        record = RunRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        wrong = "; ".join(": ".join([*map(str, each["loc"]), each["msg"]]) for each in error.errors())
        raise RowStoreError(
            f"{path} is not a run record: {wrong}; restore it from a copy, or use another --out"
        ) from error
    if record.schema_version != SCHEMA_VERSION:
        raise RowStoreError(
            f"{path} has schema_version {record.schema_version}, expected {SCHEMA_VERSION}; "
            "continue it with the release that wrote it, or use another --out"
        )
    return record


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


def _refuse_another_run(
    directory: Path, found: dict[str, Any], asked: dict[str, Any], differing: Sequence[str]
) -> NoReturn:
    lines = [f"{directory} holds another run:"]
    for part in differing:
        lines += [f"  {part} there: {_line(found[part]).strip()}", f"  {part} asked: {_line(asked[part]).strip()}"]
    raise RowStoreError("\n".join([*lines, "Scores of two runs are never mixed; use another --out."]))


def _line(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False) + "\n"


def _append(fd: int, lines: Sequence[str]) -> None:
    data = "".join(lines).encode()
    size = os.fstat(fd).st_size
    try:
        written = os.write(fd, data)
        if written != len(data):
            raise OSError(f"wrote {written} of {len(data)} bytes; is the disk full?")
        os.fsync(fd)
    except OSError:
        os.ftruncate(fd, size)
        raise


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


def _cut_torn_tail(path: Path) -> None:
    if not path.exists():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())


def _write_whole(path: Path, text: str) -> None:
    """Write so that a kill leaves the old state or the new one, and both names are on disk."""
    beside = path.with_suffix(".tmp")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
