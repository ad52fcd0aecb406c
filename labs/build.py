"""From a lab's source to its versions: for students, for Colab, and the solution.

In a source, two comments enclose a solution::

    ### BEGIN SOLUTION
    return 1 / n
    ### END SOLUTION

Students get ``raise NotImplementedError`` in its place. A cell with the tag ``solution`` is not theirs at all.
"""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import jupytext
from nbformat import NotebookNode, write
from nbformat.v4 import new_code_cell

from labs.source import BEGIN, END, Lab, all_labs

YOURS = 'raise NotImplementedError("your code")'
TAGS = {"exercise", "solution"}
METADATA = {"tags", "lines_to_next_cell"}
"""What a cell has; jupytext notes the second, and notes a header that it did not understand under another name."""

_REGION = re.compile(rf"^([ \t]*){BEGIN}\n(.*?)^[ \t]*{END}\n?", re.MULTILINE | re.DOTALL)
_MARK = re.compile(rf"^[ \t]*(?:{BEGIN}|{END})\n?", re.MULTILINE)

ON_COLAB = """\
# Colab begins with an empty machine: this fetches the package and what this lab needs.
!mkdir -p agentsafe_envs
!curl --fail --silent --show-error --location {archive} | tar --extract --gzip --directory agentsafe_envs
%cd agentsafe_envs
%pip install --quiet --editable ".[{extras}]"
"""
_EXTRAS = re.compile(r"--editable \"\.\[([\w,]+)\]\"")

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def read_source(lab: Lab) -> NotebookNode:
    """The source as a notebook, solutions included.

    Raises:
        ValueError: A solution that does not end, or ends before it began; or a header of a cell that says anything but
            ``[markdown]`` and known tags. A slip there would hand a solution out.
    """
    text = lab.source
    for cell in (notebook := jupytext.reads(text, fmt="py:percent")).cells:
        if cell.metadata.keys() - METADATA or set(_tags(cell)) - TAGS:
            raise ValueError(
                f"{lab.name}: {dict(cell.metadata)} at the cell {cell.source[:60]!r}; expected `# %%` or "
                f"`# %% [markdown]`, and then nothing or tags of {sorted(TAGS)}, such as `# %% [markdown] "
                'tags=["solution"]`'
            )
        marks = re.findall(rf"{BEGIN}|{END}", cell.source)
        if marks != [BEGIN, END] * (len(marks) // 2):
            raise ValueError(f"{lab.name}: solution marks {marks} in the cell {cell.source[:60]!r}; expected pairs")
    notebook.metadata = NotebookNode(KERNEL)
    return notebook


def student_version(notebook: NotebookNode) -> NotebookNode:
    """Without solutions."""
    found = _copy(notebook, [cell for cell in notebook.cells if "solution" not in _tags(cell)])
    for cell in found.cells:
        cell.source = _REGION.sub(lambda region: f"{region[1]}{YOURS}\n", cell.source + "\n").rstrip("\n")
    return found


def solution_version(notebook: NotebookNode) -> NotebookNode:
    """With solutions and without the marks around them."""
    found = _copy(notebook, notebook.cells)
    for cell in found.cells:
        cell.source = _MARK.sub("", cell.source + "\n").rstrip("\n")
    return found


def colab_version(notebook: NotebookNode, archive: str) -> NotebookNode:
    """The students' version, which first installs the extras that its first cell names.

    Args:
        notebook: The source.
        archive: Address of the package; ``labs/README.md`` says how to make it.

    Raises:
        ValueError: That cell names none.
    """
    student = student_version(notebook)
    named = _EXTRAS.search(student.cells[0].source)
    if named is None:
        first = student.cells[0].source[:60]
        raise ValueError(f'the first cell, {first!r}, names no extras; expected --editable ".[EXTRAS]"')
    install = new_code_cell(ON_COLAB.format(archive=archive, extras=named[1]))
    return _copy(student, [student.cells[0], install, *student.cells[1:]])


def build(out: Path, archive: str = "") -> list[Path]:
    """Write every version of every lab below ``out``; returns the files.

    Args:
        out: Gets the folders ``student`` and ``colab``, to hand out, and ``solution``.
        archive: Address of the package for Colab; without one there is no ``colab``.
    """
    files = []
    for lab in all_labs().values():
        source = read_source(lab)
        student, solution = student_version(source), solution_version(source)
        files += [
            _write(out / "student" / f"{lab.name}.ipynb", student),
            _write(out / "student" / f"{lab.name}.py", student),
            _write(out / "solution" / f"{lab.name}.ipynb", solution),
            _write(out / "solution" / f"{lab.name}.py", solution),
        ]
        if archive:
            files.append(_write(out / "colab" / f"{lab.name}.ipynb", colab_version(source, archive)))
    return files


def script(notebook: NotebookNode) -> str:
    """As a percent script."""
    return jupytext.writes(notebook, fmt="py:percent")


def _write(file: Path, notebook: NotebookNode) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".py":
        file.write_text(script(notebook), encoding="utf-8")
    else:
        write(notebook, file)
    return file


def _copy(notebook: NotebookNode, cells: list[Any]) -> NotebookNode:
    """A notebook of copies of those cells, whose ids are their numbers: equal sources give equal bytes."""
    found = deepcopy(notebook)
    found.cells = [deepcopy(cell) for cell in cells]
    for number, cell in enumerate(found.cells):
        cell["id"] = f"cell-{number}"
    found.nbformat, found.nbformat_minor = 4, 5
    return found


def _tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])
