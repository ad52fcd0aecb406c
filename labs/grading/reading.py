"""Submissions as they come: a script or a notebook each, in a folder of files or of folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from labs.source import Lab

SUFFIXES = (".ipynb", ".py")
MOST_BYTES = 8 << 20
"""Of a submission; notebooks hold pictures."""


class NotReadError(ValueError):
    """A file that is no submission; the message says why."""


def find_submissions(path: Path, lab: Lab) -> dict[str, Path]:
    """File of each student by name.

    A single file is one submission. In a folder each file is one, named after it; a folder in it is that of one
    student, and holds one script or notebook, or several of which one has the lab's name.

    Raises:
        FileNotFoundError: ``path`` is not there.
        ValueError: There is no submission in it, or a student has two.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; expected a submission or a folder of them")
    if not path.is_dir():
        return {path.stem: path}
    found: dict[str, Path] = {}
    for each in sorted(path.iterdir()):
        if each.name.startswith("."):
            continue
        if each.is_dir() and not each.is_symlink():
            file = _only(each, lab)
        elif each.suffix in SUFFIXES:
            file = each
        else:
            continue
        name = each.name if file != each else each.stem
        if name in found:
            raise ValueError(f"{path} has {found[name].name} and {file.name} of one student; leave one of them")
        found[name] = file
    if not found:
        raise ValueError(f"{path} holds no submission; expected files that end in {' or '.join(SUFFIXES)}")
    return found


def read_cells(file: Path) -> list[str]:
    """Code of a submission, cell by cell, without what only notebooks understand.

    Raises:
        NotReadError: It is missing, a link, too large, or neither a script nor a notebook.
    """
    if file.is_symlink() or not file.is_file():
        raise NotReadError("it is no plain file; a link could lead to somebody else's")
    if file.stat().st_size > MOST_BYTES:
        raise NotReadError(f"it is larger than {MOST_BYTES >> 20} MB")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise NotReadError("it is no text in UTF-8") from error
    if file.suffix != ".ipynb":
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


def _only(folder: Path, lab: Lab) -> Path:
    files = sorted(each for each in folder.iterdir() if each.suffix in SUFFIXES)
    named = [each for each in files if each.stem == lab.name]
    chosen = named if len(files) > 1 else files
    return chosen[0] if len(chosen) == 1 else folder / f"{lab.name}.ipynb"
