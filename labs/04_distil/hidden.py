"""Hidden cases of lab 4: linear algebra and distributions, worked out here with numpy."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from labs.grading.cases import Case, Exercise, Group, array, expects


def exercises(rng: random.Random) -> list[Exercise]:
    """The lab's exercises with matrices drawn from ``rng``."""
    draw = np.random.default_rng(rng.getrandbits(32))
    return [
        Exercise("student_step", [Group("the step of line 6", 3, [_step(draw) for _ in range(5)])]),
        Exercise(
            "alignment",
            [
                Group("cosines", 2, [_alignment(draw) for _ in range(5)]),
                Group("vectors without length", 1, [_nothing(draw), _no_error(draw), _alignment(draw)]),
            ],
        ),
        Exercise("room", [Group("entropy of large and small logits", 3, [_room(draw, s) for s in (1, 5, 50, 1_000)])]),
        Exercise(
            "masked_kl",
            [
                Group("without barred tokens", 1, [_kl(draw, barred=0) for _ in range(3)]),
                Group("with barred tokens", 3, [_kl(draw, barred=each) for each in (1, 2, 3)]),
                Group("large logits", 1, [_kl(draw, barred=1, scale=600.0) for _ in range(3)]),
            ],
        ),
    ]


def _step(draw: Any) -> Case:
    rows, width = int(draw.integers(2, 9)), int(draw.integers(2, 12))
    jacobian, delta, rate = draw.normal(size=(rows, width)), draw.normal(size=width), float(draw.uniform(0.01, 2))
    expected = rate * jacobian.T @ jacobian @ delta / rows
    return expects("student_step", [array(jacobian), array(delta), rate], expected.tolist(), 1e-8)


def _alignment(draw: Any) -> Case:
    jacobian, delta, error = draw.normal(size=(6, 9)), draw.normal(size=9), draw.normal(size=6)
    step = jacobian.T @ error
    expected = float(step @ delta / np.linalg.norm(step) / np.linalg.norm(delta))
    return expects("alignment", [array(jacobian), array(delta), array(error)], expected, 1e-8)


def _nothing(draw: Any) -> Case:
    return expects("alignment", [array(np.zeros((3, 4))), array(draw.normal(size=4)), array(np.ones(3))], 0.0, 1e-12)


def _no_error(draw: Any) -> Case:
    arguments = [array(draw.normal(size=(3, 4))), array(draw.normal(size=4)), array(np.zeros(3))]
    return expects("alignment", arguments, 0.0, 1e-12)


def _room(draw: Any, scale: float) -> Case:
    logits = scale * draw.normal(size=(5, 6))
    logs = _log_softmax(logits)
    return expects("room", [array(logits)], (-(np.exp(logs) * logs).sum(-1)).tolist(), 1e-8)


def _kl(draw: Any, *, barred: int, scale: float = 1.0) -> Case:
    teacher, student = scale * draw.normal(size=(4, 7)), scale * draw.normal(size=(4, 7))
    out = np.zeros((4, 7), bool)
    for row in out:
        row[draw.choice(7, size=barred, replace=False)] = True
    teacher[out] += 30 * scale  # what the teacher would like to say, and may not
    total = 0.0
    for p_row, q_row, gone in zip(teacher, student, out, strict=True):
        p, q = _log_softmax(p_row[~gone]), _log_softmax(q_row[~gone])
        total += float((np.exp(p) * (p - q)).sum())
    return expects("masked_kl", [array(teacher), array(student), array(out)], total / 4, 1e-6 * scale)


def _log_softmax(logits: Any) -> Any:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
