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

from agentsafe_envs.core.extras import install_hint

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


def outlier(value: float, others: Sequence[float]) -> float:
    """Two-sided p of ``value`` coming from where ``others`` came from, by Student's prediction interval.

    Args:
        value: One number.
        others: At least two, independent.

    Returns:
        In [0, 1]; 0 where the others are all equal and ``value`` is not.

    Raises:
        ValueError: scipy is not installed.

    Source: Student's t for one further observation, e.g. Hahn and Meeker (1991), Statistical
    Intervals, section 4.3.
    """
    try:
        from scipy.stats import t
    except ImportError as error:
        raise ValueError(f"comparing with placebos needs scipy: {install_hint('audit')} ({error})") from error
    distance = abs(value - float(np.mean(others)))
    spread = float(np.std(others, ddof=1)) * math.sqrt(1 + 1 / len(others))
    if spread < 1e-12:
        return float(distance < 1e-12)
    return float(2 * t.sf(distance / spread, len(others) - 1))
