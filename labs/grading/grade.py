"""From submissions to marks: hidden cases are asked in the sandbox and compared here, one submission by itself.

Nothing of a submission runs in this process. A submission that hangs or dies loses the case in hand; a fault of ours
leaves that submission ungraded, which is told, and is no mark.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from labs.grading.cases import Exercise, Group
from labs.grading.reading import NotReadError, read_cells
from labs.grading.sandbox import Lost, NoAnswer, StudentProcess, SubmissionLimits
from labs.source import Lab


@dataclass(frozen=True, slots=True)
class GroupGrade:
    """What a group of cases came to.

    Attributes:
        exercise: Function that was asked.
        title: Of the group.
        marks: Earned.
        of: That could be earned.
        right: Cases that were right.
        cases: All of them.
        notes: Why cases had no answer, each with its count.
    """

    exercise: str
    title: str
    marks: int
    of: int
    right: int
    cases: int
    notes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grade:
    """One student's marks.

    Attributes:
        student: Name of the file or folder.
        lab: Of the lab.
        status: ``"graded"``; ``"refused"`` for what is no submission, with no marks; ``"ungraded"`` where the
            grader itself failed, and nobody knows.
        marks: Earned.
        of: That could be earned.
        groups: What they came from.
        reason: Of a status other than graded.
        seconds: That grading took.
    """

    student: str
    lab: str
    status: Literal["graded", "refused", "ungraded"]
    marks: int
    of: int
    groups: tuple[GroupGrade, ...] = ()
    reason: str = ""
    seconds: float = 0.0

    @property
    def failing(self) -> int:
        """Groups in which a case is wrong."""
        return sum(group.right < group.cases for group in self.groups)

    def document(self) -> dict[str, Any]:
        """In plain JSON types."""
        return asdict(self)


def draw(lab: Lab, seed: int) -> list[Exercise]:
    """The lab's exercises with the hidden cases of a course."""
    return list(lab.hidden.exercises(random.Random(f"{lab.name}/{seed}")))


def grade_one(
    lab: Lab,
    student: str,
    file: Path | NotReadError,
    exercises: Sequence[Exercise],
    limits: SubmissionLimits | None = None,
) -> Grade:
    """Marks of one submission; raises for no submission, whatever it is.

    Args:
        lab: What was set.
        student: Whose it is.
        file: The submission, or why there is none.
        exercises: From :func:`draw`.
        limits: Of the submission.
    """
    of = sum(group.marks for exercise in exercises for group in exercise.groups)
    before = time.monotonic()
    try:
        if isinstance(file, NotReadError):
            raise file
        cells = read_cells(file)
        groups = tuple(grade for exercise in exercises for grade in _grade_exercise(cells, exercise, limits))
    except NotReadError as error:
        return Grade(student, lab.name, "refused", 0, of, reason=str(error))
    except Exception as error:  # noqa: BLE001  one submission must never cost another its grade; this one is told
        return Grade(student, lab.name, "ungraded", 0, of, reason=f"{type(error).__name__}: {error}")
    marks = sum(group.marks for group in groups)
    return Grade(student, lab.name, "graded", marks, of, groups, seconds=round(time.monotonic() - before, 1))


def grade_many(
    lab: Lab,
    files: Mapping[str, Path | NotReadError],
    *,
    seed: int,
    workers: int = 2,
    limits: SubmissionLimits | None = None,
) -> Iterator[Grade]:
    """Marks of each submission, in the order of ``files``.

    Args:
        lab: What was set.
        files: By student, from :func:`find_submissions`.
        seed: Of the hidden cases.
        workers: Submissions at the same time, ``>= 1``.
        limits: Of each.
    """
    exercises = draw(lab, seed)
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(lambda name: grade_one(lab, name, files[name], exercises, limits), files)


def _grade_exercise(cells: Sequence[str], exercise: Exercise, limits: SubmissionLimits | None) -> Iterator[GroupGrade]:
    """In a process of its own: what one exercise breaks, the next one has whole."""
    with StudentProcess(cells, limits) as process:
        for group in exercise.groups:
            yield _grade_group(process, exercise, group)


def _grade_group(process: StudentProcess, exercise: Exercise, group: Group) -> GroupGrade:
    notes: Counter[str] = Counter()
    right = 0
    for case in group.cases:
        try:
            right += case(process.ask)
        except Lost as error:  # its marks are gone, and each further case could cost as much time
            notes[str(error)] += 1
            break
        except NoAnswer as error:
            notes[str(error)] += 1
    earned = group.marks if right == len(group.cases) else 0
    return GroupGrade(exercise.function, group.title, earned, group.marks, right, len(group.cases), dict(notes))
