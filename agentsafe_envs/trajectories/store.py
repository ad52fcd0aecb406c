"""Data sets on disk: a folder with the rows and the card that says what they are.

=========================  =====================================================================
``trajectories.parquet``   the rows (or ``trajectories.jsonl``, one JSON object a line)
``README.md``              the card, as model hubs show it; its front matter is read back
=========================  =====================================================================

Messages, tools, and whatever else is not plain text, number or truth value are columns of JSON
values, which ``datasets`` (4.7 or later) decodes to exactly the dicts that went in. As nested
columns, Arrow would give every call the arguments of all the others, set to null.

Try it::

    python -c "from datasets import load_dataset; print(load_dataset('data/filtered', split='train')[0])"
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentsafe_envs.trajectories.card import Facts, read_facts, render_card, state_facts
from agentsafe_envs.trajectories.reading import SUFFIXES, arrow, read_values
from agentsafe_envs.trajectories.schema import LONE_SURROGATE, Trajectory, check_row
from agentsafe_envs.trajectories.shapes import TRAINED_ON

FORMATS = ("parquet", "jsonl")
ROWS_FILES = {form: f"trajectories.{form}" for form in FORMATS}
CARD_FILE = "README.md"

LEVEL = 15
"""Of zstd: a fifth smaller than by default, and a data set is written once."""


def save(
    rows: Sequence[Trajectory],
    folder: Path | str,
    *,
    form: str = "parquet",
    filters: Sequence[Mapping[str, Any]] = (),
    command: str = "",
    selection: str = "",
    license: str = "",
) -> Facts:
    r"""Write ``rows`` and their card; equal rows give equal bytes with one version of pyarrow.

    Half of a surrogate pair, which no reader of JSON takes, is written as its escape in letters: ``\ud83d``.

    Args:
        rows: At least one.
        folder: Created if missing; a data set that is there is replaced.
        form: One of :data:`FORMATS`.
        filters: Records of the filters that ``rows`` went through; each claim is proved first.
        command: How to make the data set again.
        selection: How the rows were chosen from those that the filters left.
        license: Identifier for the card; without it rows of other origin get none.

    Raises:
        ValueError: No rows, a row that is none, an unknown format, a licence that is no identifier, or a leak.
        OSError: The folder cannot be written.
    """
    if form not in FORMATS:
        raise ValueError(f"format is {form!r}, expected one of {', '.join(FORMATS)}")
    if not rows:
        raise ValueError("no row is left to be saved; expected at least one")
    rows = [_loadable(check_row(row, f"row {number}")) for number, row in enumerate(rows)]
    facts = state_facts(rows, filters=filters, command=command, selection=selection, license=license)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ROWS_FILES[form]
    beside = file.with_suffix(".tmp")
    (_write_parquet if form == "parquet" else _write_jsonl)(rows, beside)
    for name in ROWS_FILES.values():
        (folder / name).unlink(missing_ok=True)
    (folder / CARD_FILE).write_text(render_card(facts, folder.resolve().name, file.name), encoding="utf-8")
    beside.replace(file)
    return facts


def load(source: Path | str) -> list[Trajectory]:
    """The rows of a data set, or of any file of parquet, JSON lines or JSON with a column ``messages``.

    Rows of other origin come as they are, in any shape of :mod:`agentsafe_envs.trajectories.shapes`. A column
    that is null in a row of parquet is left out of that row.

    Raises:
        FileNotFoundError: There is no such file, or a folder without rows.
        ValueError: The file cannot be read, or holds something other than rows; or it is parquet and pyarrow is
            missing.
    """
    file = rows_file(source)
    rows = []
    for number, found in enumerate(read_values(file)):
        if found.problem:
            raise ValueError(f"{file}, {found.place}: {found.problem}")
        rows.append(check_row(found.value, f"{file}, row {number}"))
    return rows


def load_facts(source: Path | str) -> Facts | None:
    """What the card says, or None if there is no card of ours.

    Raises:
        FileNotFoundError: There are no rows.
        ValueError: The card's facts cannot be read.
    """
    file = rows_file(source)
    card = file.with_name(CARD_FILE)
    if file.name not in ROWS_FILES.values() or not card.is_file():
        return None
    return read_facts(card.read_text(encoding="utf-8"), str(card))


def rows_file(source: Path | str) -> Path:
    """The file that holds the rows of ``source``, a file itself or a data set's folder.

    Raises:
        FileNotFoundError: There is none.
        ValueError: A file of another format.
    """
    path = Path(source)
    if path.is_dir():
        found = [path / name for name in ROWS_FILES.values() if (path / name).is_file()]
        if not found:
            raise FileNotFoundError(f"{path} holds no {' or '.join(ROWS_FILES.values())}; see `agentsafe data list`")
        return found[0]
    if not path.is_file():
        raise FileNotFoundError(f"no data set at {path}; expected its folder, or a parquet, jsonl or json file")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} ends with {path.suffix or 'nothing'}, expected one of {', '.join(SUFFIXES)}")
    return path


def find_data_sets(folder: Path | str) -> Iterator[Path]:
    """Folders of data sets in ``folder``, itself included, in order; hidden folders are passed over.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"no folder {folder}; expected one that holds data sets")
    for here, inner, files in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if not set(ROWS_FILES.values()).isdisjoint(files):
            yield Path(here)


def _write_parquet(rows: Sequence[Trajectory], file: Path) -> None:
    pa, parquet = arrow()

    there = dict.fromkeys(name for row in rows for name in row)
    names = dict.fromkeys([*(name for name in TRAINED_ON if name in there), *there])
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    parquet.write_table(pa.table(columns), file, compression="zstd", compression_level=LEVEL)


def _column(values: list[Any]) -> Any:
    """An Arrow array: of lists of JSON values, of text, integers, numbers or truth values, else of JSON values."""
    pa, _ = arrow()

    kinds = {type(value) for value in values if value is not None}
    if kinds == {list}:
        ends = [0]
        for value in values:
            ends.append(ends[-1] + len(value or ()))
        offsets = [None if value is None else end for value, end in zip(values, ends[:-1], strict=True)]
        flat = [each for value in values for each in value or ()]
        return pa.ListArray.from_arrays(pa.array([*offsets, ends[-1]], pa.int32()), _json_array(flat))
    plain = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    if len(kinds) == 1 and (kind := kinds.pop()) in plain:
        try:
            return pa.array(values, plain[kind])
        except (OverflowError, pa.ArrowInvalid):
            pass  # an integer of more than 64 bits: JSON holds it
    return _json_array(values)


def _json_array(values: list[Any]) -> Any:
    pa, _ = arrow()

    texts = [None if value is None else json.dumps(value) for value in values]
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts, pa.string()))


def _write_jsonl(rows: Sequence[Trajectory], file: Path) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _loadable(value: Any) -> Any:
    """``value`` with halves of surrogate pairs as letters, and itself where there is none, as nearly always."""
    if "\\ud" not in json.dumps(value):
        return value
    if isinstance(value, dict):
        return {_loadable(key): _loadable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_loadable(each) for each in value]
    if not isinstance(value, str):
        return value
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return LONE_SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", whole)
