"""What a hidden case is: questions to a submission, and whether its answers are right.

A lab's ``hidden.py`` has a function ``exercises(rng)``. It returns :class:`Exercise` objects whose cases are drawn
from ``rng``, so that a course has cases of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

Ask = Callable[..., Any]
"""``ask(function, *arguments)``: what the submission's function returns, in JSON's types; raises ``NoAnswer``."""

Case = Callable[[Ask], bool]
"""Asks what it wants to know; True where every answer is right."""


class Group(NamedTuple):
    """Cases that earn marks together: all of them, or none.

    Attributes:
        title: What they are about. Students read it, so it tells no case.
        marks: For all of the cases.
        cases: At least one. A constant answer must fail one of them.
    """

    title: str
    marks: int
    cases: Sequence[Case]


class Exercise(NamedTuple):
    """One function that a student writes.

    Attributes:
        function: Its name.
        groups: What it has to be able to do.
    """

    function: str
    groups: Sequence[Group]


def array(values: Any) -> dict[str, Any]:
    """An argument that arrives as a numpy array."""
    return {"$array": values.tolist() if hasattr(values, "tolist") else values}


def record(**fields: Any) -> dict[str, Any]:
    """An argument that arrives as an object with these attributes."""
    return {"$object": fields}


def expects(function: str, arguments: Sequence[Any], expected: Any, tolerance: float | None = None) -> Case:
    """The case that ``function`` returns ``expected``.

    Args:
        function: Name of the student's function.
        arguments: Given to it.
        expected: In JSON's types; tuples count as lists.
        tolerance: By which numbers may differ; None wants the same value of the same kind.
    """

    def case(ask: Ask) -> bool:
        return same(ask(function, *arguments), expected, tolerance)

    return case


def same(answer: Any, expected: Any, tolerance: float | None = None) -> bool:
    """Whether an answer is the expected one; never raises, whatever an answer is."""
    if isinstance(expected, list | tuple):
        return (
            isinstance(answer, list)
            and len(answer) == len(expected)
            and all(same(one, other, tolerance) for one, other in zip(answer, expected, strict=True))
        )
    if isinstance(expected, dict):
        return (
            isinstance(answer, dict)
            and answer.keys() == expected.keys()
            and all(same(answer[key], expected[key], tolerance) for key in expected)
        )
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return type(answer) is type(expected) and answer == expected
    if not is_number(answer):
        return False
    return answer == expected if tolerance is None else abs(answer - expected) <= tolerance


def is_number(answer: Any) -> bool:
    """Whether it is a finite number that a float can hold."""
    if isinstance(answer, bool) or not isinstance(answer, int | float):
        return False
    try:
        return math.isfinite(float(answer))
    except OverflowError:
        return False
