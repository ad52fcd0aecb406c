"""Values in files of JSON lines, JSON, parquet, and in logs of Inspect AI; by any writer."""

from __future__ import annotations

import contextlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from agentsafe_envs.core.extras import install_hint

SUFFIXES = (".parquet", ".jsonl", ".json")
ARCHIVE_SUFFIX = ".eval"
"""Of the logs of Inspect AI: a zip with one JSON file a sample."""


class Value(NamedTuple):
    """One value of a file.

    Attributes:
        place: ``"line 3"`` or ``"row 2"``; empty where the file is one value.
        value: What stands there; None if it cannot be read.
        problem: Why it cannot be read; empty if it can.
    """

    place: str
    value: Any
    problem: str = ""


def read_values(file: Path) -> Iterator[Value]:
    """Every value of a file; a list that is the whole file counts as its elements, and empty lines do not count.

    Raises:
        ValueError: The file as a whole cannot be read, or is parquet and pyarrow is missing.
    """
    if file.suffix == ".parquet":
        for number, row in enumerate(_parquet_rows(file)):
            yield Value(f"row {number}", row)
        return
    if file.suffix == ARCHIVE_SUFFIX:
        yield from _samples(file)
        return
    data = file.read_bytes()
    if file.suffix == ".json" and (whole := _whole_document(data)) is not None:
        if isinstance(whole, list):
            yield from (Value(f"row {number}", row) for number, row in enumerate(whole))
        else:
            yield Value("", whole)
        return
    # Not splitlines: it also splits at characters that may stand inside a JSON string.
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line.strip():
            try:
                yield Value(f"line {number}", json.loads(line))
            except (ValueError, RecursionError) as error:
                yield Value(f"line {number}", None, f"not JSON ({error})")


def arrow() -> tuple[Any, Any]:
    """Give pyarrow and its parquet module.

    Raises:
        ValueError: pyarrow is missing; the message says how to install it.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(f"parquet needs pyarrow: {install_hint('data')}, or use jsonl ({error})") from error
    return pyarrow, parquet


def _whole_document(data: bytes) -> Any:
    """The value that a file is; None if it is none, for instance because each of its lines is one."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _samples(file: Path) -> Iterator[Value]:
    """Each sample of a log of Inspect AI, with the log's header around it, as a log in JSON has it."""
    with contextlib.suppress(ImportError):
        import zipfile_zstd  # noqa: F401  teaches zipfile the compression of newer logs, which Python 3.14 knows itself
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            start = next((name for name in ("header.json", "_journal/start.json") if name in names), None)
            header = json.loads(archive.read(start)) if start else {}
            for name in sorted(each for each in names if each.startswith("samples/") and each.endswith(".json")):
                try:
                    yield Value(name, {"eval": header.get("eval"), "samples": [json.loads(archive.read(name))]})
                except (ValueError, RecursionError, zipfile.BadZipFile) as error:
                    yield Value(name, None, f"cannot be read ({error})")
    except RuntimeError as error:  # of zipfile, for a compression that it does not know
        raise ValueError(
            f"{file} is compressed with zstd ({error}): {install_hint('data')}, or convert the log to JSON with "
            "`inspect log convert`"
        ) from error
    except (zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{file} is no log of Inspect AI that can be read: {error}") from error


def _parquet_rows(file: Path) -> list[dict[str, Any]]:
    """The rows; a column that is null in a row is left out of it."""
    pa, parquet = arrow()

    try:
        table = parquet.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{file} is no parquet file that can be read: {error}") from error
    columns = {name: _decoded(table.column(name).type, table.column(name).to_pylist()) for name in table.column_names}
    return [
        {name: values[index] for name, values in columns.items() if values[index] is not None}
        for index in range(table.num_rows)
    ]


def _decoded(kind: Any, values: list[Any]) -> list[Any]:
    pa, _ = arrow()

    if isinstance(kind, pa.JsonType):
        return [None if value is None else json.loads(value) for value in values]
    if pa.types.is_list(kind) and isinstance(kind.value_type, pa.JsonType):
        return [None if value is None else _decoded(kind.value_type, value) for value in values]
    return [_without_filling(value) for value in values] if pa.types.is_nested(kind) else values


def _without_filling(value: Any, *, message: bool = True) -> Any:
    """A value of nested columns without the nulls that Arrow filled in.

    Arrow gives every object the keys of all others in its column, set to null. Nobody wrote those: they
    demonstrate nothing and are not for training. Only a message's ``content`` may itself be null.
    """
    if isinstance(value, dict):
        kept = {
            key: _without_filling(each, message=False)
            for key, each in value.items()
            if each is not None or (message and key == "content")
        }
        return kept
    if isinstance(value, list):
        return [_without_filling(each, message=message) for each in value]
    return value
