"""Foreign trajectories become rows of ours; what cannot be converted is kept with the reason.

Every file of ``formats/`` is a format. Without a name each value is taken for the first format that
recognises it, so that a folder may hold several.

Try it::

    agentsafe data import results.json --out data/theirs --license cc-by-4.0
"""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from agentsafe_envs.trajectories import formats
from agentsafe_envs.trajectories.conversion import Format
from agentsafe_envs.trajectories.reading import ARCHIVE_SUFFIX, SUFFIXES, Value, read_values
from agentsafe_envs.trajectories.schema import Trajectory, check_row
from agentsafe_envs.trajectories.shapes import MESSAGE_COLUMNS

AUTO = "auto"
REJECTED_FILE = "rejected.jsonl"


class Rejection(NamedTuple):
    """A trajectory that was not converted.

    Attributes:
        file: Where it is.
        place: Line, row or number within the file; empty where the file is one trajectory.
        reason: What was wrong, and what was expected.
        value: The trajectory as it came; None if it could not be read.
    """

    file: str
    place: str
    reason: str
    value: Any

    def __str__(self) -> str:
        return f"{self.file}, {self.place}: {self.reason}" if self.place else f"{self.file}: {self.reason}"


class Imported(NamedTuple):
    """What became of the trajectories of some files.

    Attributes:
        rows: Converted ones, in the order read.
        rejected: The others.
    """

    rows: list[Trajectory]
    rejected: list[Rejection]


@cache
def known_formats() -> Mapping[str, Format]:
    """Every format by its name; those with many trajectories in one value come first, as the more particular ones."""
    names = sorted(module.name for module in pkgutil.iter_modules(formats.__path__))
    found: dict[str, Format] = {name: importlib.import_module(f"{formats.__name__}.{name}").FORMAT for name in names}
    one_each = Format._field_defaults["split"]
    return dict(sorted(found.items(), key=lambda item: item[1].split is one_each))


def import_trajectories(source: Path | str, form: str = AUTO) -> Imported:
    """Convert the trajectories of a file, or of all files of a folder.

    Args:
        source: A file of JSON lines, JSON or parquet, an Inspect log, or a folder of such files.
        form: One of :func:`known_formats`, or ``"auto"``.

    Raises:
        FileNotFoundError: There is no such file, or a folder without any.
        ValueError: An unknown format, or a file that cannot be read at all.
    """
    if form != AUTO and form not in known_formats():
        raise ValueError(f"format is {form!r}, expected one of {', '.join((AUTO, *sorted(known_formats())))}")
    imported = Imported([], [])
    files = _files(Path(source))
    for file in files:
        for found in read_values(file):
            for part in _converted(str(file), found, form):
                (imported.rejected if isinstance(part, Rejection) else imported.rows).append(part)  # type: ignore[arg-type]
    return imported


def write_rejected(rejected: Sequence[Rejection], folder: Path | str) -> Path:
    """Keep what was not converted, one JSON object a line, in a data set's folder."""
    file = Path(folder, REJECTED_FILE)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(each._asdict()) + "\n" for each in rejected), encoding="utf-8")
    return file


def _files(source: Path) -> list[Path]:
    if not source.exists():
        raise FileNotFoundError(f"no file or folder {source}")
    suffixes = (*SUFFIXES, ARCHIVE_SUFFIX)
    if source.is_file():
        if source.suffix not in suffixes:
            raise ValueError(f"{source} ends with {source.suffix or 'nothing'}, expected one of {', '.join(suffixes)}")
        return [source]
    inside = (path for path in source.rglob("*") if not any(part.startswith(".") for part in path.parts))
    found = sorted(path for path in inside if path.suffix in suffixes and path.is_file())
    if not found:
        raise FileNotFoundError(f"{source} holds no file that ends with {', '.join(suffixes)}")
    return found


def _converted(file: str, found: Value, wanted: str) -> Iterator[Trajectory | Rejection]:
    if found.problem:
        yield Rejection(file, found.place, found.problem, None)
        return
    value = _undone_pandas(found.value)
    name = wanted if wanted != AUTO else _recognised(value)
    if name is None:
        forms = "; ".join(f"{name}: {each.expected}" for name, each in sorted(known_formats().items()))
        yield Rejection(file, found.place, f"of no known format; expected one of {forms}", found.value)
        return
    form = known_formats()[name]
    parts = list(form.split(value))
    if not parts and wanted != AUTO:
        yield Rejection(file, found.place, f"{name}: holds no trajectory; expected {form.expected}", found.value)
    for number, part in enumerate(parts):
        places = (found.place, f"trajectory {number}" if len(parts) > 1 else "")
        try:
            yield check_row(form.convert(part))
        except ValueError as error:
            reason = f"{name}: {error}"
        except (TypeError, AttributeError, LookupError) as error:  # a value of another type than the format has there
            reason = f"{name}: of another shape ({type(error).__name__}: {error}); expected {form.expected}"
        else:
            continue
        yield Rejection(file, ", ".join(filter(None, places)), reason, part[0] if isinstance(part, tuple) else part)


def _undone_pandas(value: Any) -> Any:
    """``value`` with messages and tools decoded that are JSON text one by one, as pandas leaves columns of JSON."""
    if not isinstance(value, dict):
        return value
    listed = {name: value[name] for name in (*MESSAGE_COLUMNS, "tools") if isinstance(value.get(name), list)}
    texts = {name for name, each in listed.items() if each and all(isinstance(text, str) for text in each)}
    try:
        return value | {name: [json.loads(text) for text in listed[name]] for name in texts}
    except (ValueError, RecursionError):
        return value


def _recognised(value: Any) -> str | None:
    return next((name for name, form in known_formats().items() if form.recognises(value)), None)
