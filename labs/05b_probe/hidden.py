"""Hidden cases of lab 5b: statistics of a probe, worked out here with numpy."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from labs.grading.cases import Case, Exercise, Group, array, expects


def exercises(rng: random.Random) -> list[Exercise]:
    """The lab's exercises with features drawn from ``rng``."""
    draw = np.random.default_rng(rng.getrandbits(32))
    return [
        Exercise(
            "standardised",
            [Group("units of the reference", 2, [*(_standard(draw) for _ in range(3)), _without_spread(draw)])],
        ),
        Exercise("fit_probe", [Group("ridge weights", 3, [_ridge(draw, penalty) for penalty in (0.1, 1.0, 50.0)])]),
        Exercise(
            "auc",
            [
                Group("scores without ties", 2, [_auc(draw, ties=False) for _ in range(4)]),
                Group("ties", 1, [_auc(draw, ties=True) for _ in range(4)]),
            ],
        ),
        Exercise("latent_gap", [Group("gap and p value", 3, [_gap(draw, scale) for scale in (-2, -0.3, 0.1, 1, 3)])]),
        Exercise(
            "carrier", [Group("entropy, difference, divergence", 3, [_carrier(draw, scale) for scale in (1, 3, 9)])]
        ),
    ]


def _standard(draw: Any) -> Case:
    reference, features = draw.normal(3, 2, size=(6, 4)), draw.normal(1, 5, size=(5, 4))
    expected = (features - reference.mean(0)) / reference.std(0)
    return expects("standardised", [array(reference), array(features)], expected.tolist(), 1e-8)


def _without_spread(draw: Any) -> Case:
    reference, features = draw.normal(size=(6, 3)), draw.normal(size=(5, 3))
    reference[:, 1] = 7.0
    spread = np.array([reference[:, 0].std(), 1.0, reference[:, 2].std()])
    expected = (features - reference.mean(0)) / spread
    return expects("standardised", [array(reference), array(features)], expected.tolist(), 1e-8)


def _ridge(draw: Any, penalty: float) -> Case:
    features, labels = draw.normal(size=(12, 5)), draw.integers(0, 2, size=12)
    wanted = np.where(labels == 1, 1.0, -1.0)
    stacked = np.concatenate([features, np.sqrt(penalty) * np.eye(5)])
    expected = np.linalg.lstsq(stacked, np.concatenate([wanted, np.zeros(5)]), rcond=None)[0]
    return expects("fit_probe", [array(features), array(labels), penalty], expected.tolist(), 1e-7)


def _auc(draw: Any, *, ties: bool) -> Case:
    labels = [1, 0, *draw.integers(0, 2, size=10).tolist()]
    scores = draw.integers(0, 4, size=12).tolist() if ties else draw.normal(size=12).tolist()
    pairs = [
        (one, other)
        for one, yes in zip(scores, labels, strict=True)
        if yes
        for other, no in zip(scores, labels, strict=True)
        if not no
    ]
    expected = sum(1.0 if one > other else 0.5 if one == other else 0.0 for one, other in pairs) / len(pairs)
    return expects("auc", [scores, labels], expected, 1e-9)


def _gap(draw: Any, scale: float) -> Case:
    student, neutral = draw.normal(scale, 0.1, size=8), draw.normal(0, 0.1, size=8)
    null = draw.normal(size=int(draw.integers(5, 30))).tolist()
    gap = float(student.mean() - neutral.mean())
    p = (1 + sum(abs(each) >= abs(gap) for each in null)) / (1 + len(null))
    return expects("latent_gap", [student.tolist(), neutral.tolist(), null], [gap, p], 1e-9)


def _carrier(draw: Any, scale: float) -> Case:
    logits = draw.normal(0, scale, size=(2, 9, 6))
    logits[1, :4] = logits[0, :4] + draw.normal(0, 0.1, size=(4, 6))
    p, q = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    entropy = -np.mean([sum(each * np.log(each) for each in row) for row in p])
    differing = np.mean([row.argmax() != other.argmax() for row, other in zip(p, q, strict=True)])
    divergence = np.mean((p * np.log(p / q)).sum(-1))
    expected = [float(entropy), float(differing), float(divergence)]
    return expects("carrier", [array(np.log(p)), array(np.log(q))], expected, 1e-7)
