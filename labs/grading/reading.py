"""Submissions as they come: a script or a notebook each, in a folder of files or of folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentsafe_envs.cli.terminal import printable
from labs.source import Lab

SUFFIXES = (".ipynb", ".py")
_EXPECTED = " or ".join(SUFFIXES)
_NO_FILE = "it is no plain file; a link could lead to somebody else's"
MOST_BYTES = 8 << 20
"""Of a submission; notebooks hold pictures."""


class NotReadError(ValueError):
    """A file that is no submission; the message says why."""


def find_submissions(path: Path, lab: Lab) -> dict[str, Path | NotReadError]:
    """File of each student by name, or why there is none.

    A single file is one submission. In a folder each file is one, named after it; a folder in it is that of one
    student, and holds one script or notebook, or several of which one has the lab's name. What begins with a dot is
    left out. What is wrong with the files of one student costs no other.

    Raises:
        FileNotFoundError: ``path`` is not there.
        ValueError: There is nothing in it.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; expected a submission or a folder of them")
    if not path.is_dir():
        return {_student(path.stem): _readable(path)}
    files: dict[str, list[Path]] = {}
    for each in _shown(path):
        files.setdefault(_student(each.name if each.is_dir() else each.stem), []).append(each)
    if not files:
        raise ValueError(f"{path} holds no submission; expected files that end in {_EXPECTED}")
    return {name: _one(found, lab) for name, found in files.items()}


def _student(name: str) -> str:
    """A file's name as it can be printed and written on one line, whatever bytes it has."""
    return printable(name).replace("\n", r"\n").replace("\t", r"\t")


def _one(files: list[Path], lab: Lab) -> Path | NotReadError:
    """The submission among the files and folders of one name."""
    if len(files) > 1:
        files = [each for each in files if each.is_dir() or _is_submission(each)] or files[:1]
    if len(files) > 1:
        return NotReadError(f"{_listed(files)} are of one student; leave one of them")
    (found,) = files
    if found.is_symlink():
        return NotReadError(_NO_FILE)
    return _in_folder(found, lab) if found.is_dir() else _readable(found)


def _in_folder(folder: Path, lab: Lab) -> Path | NotReadError:
    """The submission in one student's folder."""
    try:
        shown = _shown(folder)
    except OSError as error:
        return NotReadError(f"its folder cannot be read: {error.strerror}")
    files = [each for each in shown if _is_submission(each)]
    if not files:
        return NotReadError(f"its folder holds no file that ends in {_EXPECTED}")
    if len(files) == 1:
        return files[0]
    named = [each for each in files if each.stem == lab.name]
    if len(named) == 1:
        return named[0]
    return NotReadError(f"its folder holds {_listed(files)}; leave one of them, or call one {lab.name}")


def _shown(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if not each.name.startswith("."))


def _is_submission(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def _readable(file: Path) -> Path | NotReadError:
    if _is_submission(file):
        return file
    return NotReadError(f"it ends in {_student(file.suffix) or 'nothing'}; expected {_EXPECTED}")


def _listed(files: list[Path]) -> str:
    return " and ".join(_student(each.name) for each in files)


def read_cells(file: Path) -> list[str]:
    """Code of a submission, cell by cell, without what only notebooks understand.

    Raises:
        NotReadError: It is missing, a link, too large, or neither a script nor a notebook.
    """
    if file.is_symlink() or not file.is_file():
        raise NotReadError(_NO_FILE)
    if file.stat().st_size > MOST_BYTES:
        raise NotReadError(f"it is larger than {MOST_BYTES >> 20} MB")
    try:
        text = file.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark of its encoding
    except UnicodeDecodeError as error:
        raise NotReadError("it is no text in UTF-8") from error
    if file.suffix.lower() != ".ipynb":
        return [text]
    try:
        cells = json.loads(text)["cells"]
        return [_code(cell) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotReadError("it is no notebook") from error


def _code(cell: Any) -> str:
    source = cell["source"]
    lines = (source if isinstance(source, str) else "".join(source)).splitlines()
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)
