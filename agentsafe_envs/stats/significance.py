"""Tests of a mean of zero, and what many of them at once are worth.

Try it::

    sign_flip([0.2, 0.1, 0.3, 0.2, 0.1, 0.2])   # 0.03125, which is 2 / 2**6
    holm([0.01, 0.04, 0.03])                    # [0.03, 0.06, 0.06]
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

EXHAUSTIVE = 16
"""Values up to which all sign patterns are tried; beyond that a fixed sample of them."""

SAMPLED = 100_000


def sign_flip(values: Sequence[float]) -> float:
    """Two-sided p of a mean of zero, if each value were as likely with the other sign.

    Args:
        values: One an independent unit, at least one.

    Returns:
        Up to :data:`EXHAUSTIVE` values the exact share of the 2**n sign patterns whose mean is at
        least as far from zero; beyond that of :data:`SAMPLED` random ones and the one observed.

    Raises:
        ValueError: No values.

    Source: Fisher (1935), The Design of Experiments, section 21; for the sampled one Phipson and
    Smyth (2010), Stat. Appl. Genet. Mol. Biol. 9:39.
    """
    array = np.asarray(values, dtype=float)
    n = len(array)
    if not n:
        raise ValueError("no values; expected at least one")
    # Sums of equal numbers in another order may differ in the last bit.
    limit = abs(array.sum()) - 1e-12 * n
    far = np.count_nonzero(np.abs(_signs(n) @ array) >= limit)
    return float(far / 2**n) if n <= EXHAUSTIVE else float((far + 1) / (SAMPLED + 1))


@lru_cache(maxsize=4)  # the tests of an audit have the same few lengths
def _signs(n: int) -> NDArray[np.float64]:
    """Patterns of n signs, one a row: all of them, or a fixed sample where they are too many."""
    if n <= EXHAUSTIVE:
        return np.array(list(itertools.product((-1.0, 1.0), repeat=n)))
    return np.random.default_rng(0).choice((-1.0, 1.0), size=(SAMPLED, n))


def holm(values: Sequence[float]) -> list[float]:
    """Adjusted p values of several tests, in their order.

    Source: Holm (1979), Scand. J. Stat. 6:65.
    """
    order = np.argsort(values)
    adjusted = [0.0] * len(values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = largest
    return adjusted


def outlier(value: float, others: Sequence[float], least_spread: float = 0.0) -> float:
    """Two-sided p of ``value`` coming from where ``others`` came from, by Student's prediction interval.

    Args:
        value: One number.
        others: At least two, independent.
        least_spread: Standard deviation below which that of ``others`` is not believed, for instance that of counting.

    Returns:
        In [0, 1]; 0 where there is no such spread, the others are all equal and ``value`` is not.

    Source: Student's t for one further observation, e.g. Hahn and Meeker (1991), Statistical
    Intervals, section 4.3.
    """
    distance = abs(value - float(np.mean(others)))
    spread = max(float(np.std(others, ddof=1)), least_spread) * math.sqrt(1 + 1 / len(others))
    if spread < 1e-12:
        return float(distance < 1e-12)
    return _beyond(distance / spread, len(others) - 1)


def outlying_pairs(differences: Sequence[float], others: Sequence[float]) -> float:
    """Two-sided p of a mean of zero, if both of each pair came from where ``others`` came from.

    Compared is a mean over as many pairs, so that one pair's spread is divided by the root of their number. Where the
    two of a pair have more in common than two of the others, p is larger than it need be.

    Args:
        differences: First less second of each pair, at least one.
        others: Units of the second kind, at least two; those of the pairs may be among them.

    Returns:
        In [0, 1]; 0 where the others are all equal and the mean is not zero.

    Raises:
        ValueError: No difference, or fewer than two others.

    Source: Student (1908), Biometrika 6:1; the variance of a unit is that of ``others``, with their degrees of freedom.
    """
    if not len(differences) or len(others) < 2:
        raise ValueError(f"{len(differences)} differences and {len(others)} others; expected 1 and 2 or more")
    mean = abs(float(np.mean(differences)))
    spread = float(np.std(others, ddof=1)) * math.sqrt(2 / len(differences))
    if spread < 1e-12:
        return float(mean < 1e-12)
    return _beyond(mean / spread, len(others) - 1)


def one_sample(values: Sequence[float]) -> float:
    """Two-sided p of a mean of zero by Student's t test.

    Args:
        values: One an independent unit.

    Returns:
        In [0, 1]; 1 of a single value and of equal ones, whose spread tells nothing.

    Source: Student (1908), Biometrika 6:1.
    """
    if len(values) < 2 or (error := float(np.std(values, ddof=1)) / math.sqrt(len(values))) < 1e-12:
        return 1.0
    return _beyond(abs(float(np.mean(values))) / error, len(values) - 1)


def _beyond(t: float, freedom: int) -> float:
    """Probability that Student's t of ``freedom`` degrees lies further from zero than ``t`` does.

    A whole number of degrees has a finite sum, which spares every install the 115 MB of scipy.

    Source: Abramowitz and Stegun (1964), Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    angle = math.atan2(t, math.sqrt(freedom))
    odd = freedom % 2
    term = math.sin(angle) * (math.cos(angle) if odd else 1.0)
    within = 0.0
    for factor in range(2 + odd, freedom + 1, 2):
        within += term
        term *= math.cos(angle) ** 2 * (factor - 1) / factor
    if odd:
        within = 2 / math.pi * (angle + within)
    return min(1.0, max(0.0, 1 - within))
