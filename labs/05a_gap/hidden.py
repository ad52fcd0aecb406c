"""Hidden cases of lab 5a, by the rules of its page."""

from __future__ import annotations

import random
from statistics import NormalDist
from typing import Any

import numpy as np

from labs.grading.cases import Case, Exercise, Group, expects


def exercises(rng: random.Random) -> list[Exercise]:
    """The lab's exercises with numbers drawn from ``rng``."""
    return [
        Exercise("transfer_ratio", [Group("ratios, and none", 2, [_ratio(rng, induced=i % 2 == 0) for i in range(6)])]),
        Exercise(
            "placebo_interval",
            [Group("one more placebo", 3, [_interval(rng, n) for n in (3, 4, 8, 20)]), Group("too few", 1, _few(rng))],
        ),
        Exercise(
            "words",
            [
                Group("idle, unchanged, uncalibrated", 2, [_words(each) for each in _first(rng)]),
                Group("placebos and their side", 2, [_words(each) for each in _placebos(rng)]),
                Group("the teacher and its side", 2, [_words(each) for each in _teacher(rng)]),
            ],
        ),
        Exercise("detectable", [Group("power", 2, [_power(rng) for _ in range(5)])]),
    ]


def _ratio(rng: random.Random, *, induced: bool) -> Case:
    student, neutral, neutral_teacher = (rng.uniform(0, 0.3) for _ in range(3))
    teacher = neutral_teacher + rng.uniform(0.3, 0.6)
    low = rng.uniform(0.20, 0.28) if induced else rng.uniform(-0.1, 0.19)
    expected = (student - neutral) / (teacher - neutral_teacher) if induced else None
    return expects("transfer_ratio", [student, neutral, teacher, neutral_teacher, low], expected, 1e-9)


def _interval(rng: random.Random, n: int) -> Case:
    placebos, t = [rng.uniform(0, 0.2) for _ in range(n)], rng.uniform(2, 4.5)
    half = t * float(np.std(placebos, ddof=1)) * (1 + 1 / n) ** 0.5
    centre = float(np.mean(placebos))
    return expects("placebo_interval", [placebos, t], [centre - half, centre + half], 1e-9)


def _few(rng: random.Random) -> list[Case]:
    return [
        expects("placebo_interval", [[], 4.3], None),
        expects("placebo_interval", [[rng.random() for _ in range(2)], 4.3], None),
        _interval(rng, 3),
    ]


def _finding(rng: random.Random, **changed: Any) -> dict[str, Any]:
    base = rng.uniform(0.05, 0.10)
    found = {
        "base": base,
        "student": base + rng.uniform(0.1, 0.2),
        "teacher": base + rng.uniform(0.5, 0.8),
        "placebos": [base + rng.uniform(-0.02, 0.02) for _ in range(4)],
        "idle": False,
        "p": rng.uniform(0, 0.04),
        "p_placebos": rng.uniform(0, 0.04),
        "p_teacher": rng.uniform(0, 0.04),
    }
    return found | changed


def _first(rng: random.Random) -> list[dict[str, Any]]:
    return [
        _finding(rng, idle=True),
        _finding(rng, idle=True, p=0.5),
        _finding(rng, p=0.05),
        _finding(rng, p=0.3),
        _finding(rng, placebos=[0.05, 0.06], p_placebos=None),
        _finding(rng, placebos=[], p_placebos=None),
        _finding(rng),
    ]


def _placebos(rng: random.Random) -> list[dict[str, Any]]:
    high = [0.6, 0.61, 0.62]  # placebos that moved further than the student: distilling alone does that
    return [
        _finding(rng, p_placebos=0.05, p_teacher=None),
        _finding(rng, p_placebos=0.2),
        _finding(rng, placebos=high),
        _finding(rng, base=0.5, student=0.3, teacher=0.1, placebos=[0.49, 0.5, 0.52]),
        _finding(rng, base=0.5, student=0.3, teacher=0.1, placebos=[0.1, 0.11, 0.12]),
        _finding(rng, teacher=None, p_teacher=None),
    ]


def _teacher(rng: random.Random) -> list[dict[str, Any]]:
    return [
        _finding(rng),
        _finding(rng, p_teacher=0.06),
        _finding(rng, teacher=0.0),
        _finding(rng, teacher=None, p_teacher=None),
        _finding(rng, p_teacher=None),
    ]


def _words(finding: dict[str, Any]) -> Case:
    return expects("words", [finding], expected_words(finding))


def expected_words(finding: dict[str, Any]) -> list[str]:
    """The rule of docs/audit.md."""
    if finding["idle"]:
        return ["no conclusion"]
    if finding["p"] >= 0.05:
        return []
    if len(finding["placebos"]) < 3:
        return ["changed from base", "uncalibrated"]
    moved = finding["student"] - finding["base"]
    beyond = finding["student"] - float(np.mean(finding["placebos"]))
    if finding["p_placebos"] >= 0.05 or beyond * moved <= 0:
        return ["changed from base"]
    teacher, p = finding["teacher"], finding["p_teacher"]
    attributed = None not in (teacher, p) and p < 0.05 and (teacher - finding["base"]) * moved > 0
    return ["changed from base", "exceeds placebos", *(["attributable to teacher"] if attributed else [])]


def _power(rng: random.Random) -> Case:
    low, width, tests = rng.uniform(-0.2, 0.1), rng.uniform(0.02, 0.3), rng.randrange(1, 9)
    z = NormalDist().inv_cdf
    expected = width / 2 / z(0.975) * (z(1 - 0.05 / 2 / tests) + z(0.8))
    return expects("detectable", [low, low + width, tests], expected, 1e-8)
