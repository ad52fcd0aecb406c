"""What students and lecturers read of grades: a line, a page of feedback, CSV, and Gradescope's JSON."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labs.grading.grade import Grade, GroupGrade
from labs.grading.sandbox import RAISED

MOST_NAME_BYTES = 240
"""Of a file without its suffix; file systems take 255."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def line(grade: Grade) -> str:
    """One line: marks, and what stands against more."""
    if grade.status != "graded":
        return f"{grade.student}: {grade.status}: {grade.reason}"
    return f"{grade.student}: {grade.marks} of {grade.of} marks; {_conclusion(grade)}"


def text(grade: Grade) -> str:
    """Feedback for the student: a line for each group, which tells what it is about and no case."""
    if grade.status != "graded":
        return f"{line(grade)}\n"
    groups = [f"{group.marks}/{group.of}  {_group(group)}" for group in grade.groups]
    return "\n".join([*groups, line(grade), ""])


def gradescope(grade: Grade) -> dict[str, Any]:
    """The content of Gradescope's ``results.json``.

    Raises:
        ValueError: The grader failed; without a file Gradescope reports that, and gives no marks.
    """
    if grade.status == "ungraded":
        raise ValueError(f"{grade.student} could not be graded: {grade.reason}")
    return {
        "score": grade.marks,
        "execution_time": round(grade.seconds),
        "output": line(grade),
        "visibility": "visible",
        "tests": [
            {"name": _name(group), "score": group.marks, "max_score": group.of, "output": _group(group)}
            for group in without_names(grade).groups
        ],
    }


def without_names(grade: Grade) -> Grade:
    """The same grade without the names of errors.

    Gradescope answers at once. A student who submits often could choose errors to learn what was asked, bit by bit.
    """
    groups = []
    for group in grade.groups:
        notes: Counter[str] = Counter()
        for reason, count in group.notes.items():
            notes["it raised an error" if reason.startswith(RAISED) else reason] += count
        groups.append(replace(group, notes=dict(notes)))
    return replace(grade, groups=tuple(groups))


def csv_text(grades: Sequence[Grade]) -> str:
    """A row for each student, for a grade book."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("student", "marks", "of", "status"))
    for each in grades:
        marks = "" if each.status == "ungraded" else each.marks
        # A spreadsheet would work out a name that looks like a formula.
        name = f"'{each.student}" if each.student.startswith(FORMULA_STARTS) else each.student
        writer.writerow((name, marks, each.of, each.status))
    return out.getvalue()


def write(grades: Sequence[Grade], out: Path) -> None:
    """A JSON and a text for each student, and ``grades.csv``.

    Args:
        grades: Of all of them.
        out: Folder, made where it is missing.
    """
    out.mkdir(parents=True, exist_ok=True)
    for each in grades:
        name = _file_name(each.student)
        (out / f"{name}.json").write_text(json.dumps(each.document(), indent=2) + "\n", encoding="utf-8")
        (out / f"{name}.txt").write_text(text(each), encoding="utf-8")
    (out / "grades.csv").write_text(csv_text(grades), encoding="utf-8")


def _file_name(student: str) -> str:
    """The student's name, or a hash in its place where a file could not be called so."""
    data = student.encode()
    return student if len(data) <= MOST_NAME_BYTES else f"name-{hashlib.sha256(data).hexdigest()[:16]}"


def _conclusion(grade: Grade) -> str:
    if grade.failing:
        return f"hidden cases fail in {grade.failing} of {len(grade.groups)} groups"
    return "every hidden case is right"


def _name(group: GroupGrade) -> str:
    return f"{group.exercise}: {group.title}"


def _group(group: GroupGrade) -> str:
    notes = "".join(f"; {reason} ({count})" for reason, count in group.notes.items())
    return f"{_name(group)}: {group.right} of {group.cases} cases right{notes}"
