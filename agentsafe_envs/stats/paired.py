"""Differences of two rates over the same episodes, with intervals for pairs.

Try it::

    python -c "from agentsafe_envs.stats.paired import difference; \
               print(difference([0, 0, 1, 0], [1, 1, 1, 0], templates=['a', 'a', 'b', 'b'], tasks=[0, 1, 2, 3]))"
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from agentsafe_envs.stats.clusters import CONFIDENCE, ClusterTable, Z, resample_weights

PairedMethod = Literal["bootstrap", "tango-iid", "tango-templates", "none"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two rates over the same episodes, and its 95% interval.

    Attributes:
        estimate: Second rate minus first, in [-1, 1]; None without data.
        low: Lower end of the interval, ``<= estimate``.
        high: Upper end of the interval, ``>= estimate``.
        n: Pairs of episodes.
        method: As of :class:`~agentsafe_envs.stats.intervals.Estimate`, with Tango's interval for pairs
            instead of Wilson's.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    method: PairedMethod


def difference(
    first: ArrayLike, second: ArrayLike, templates: Sequence[str], tasks: Sequence[str] | Sequence[int]
) -> Difference:
    """How much more often something happened to the second of two agents on the same episodes.

    What both have in common, an easy task or a hard template, cancels: both rates come from the same
    resamples. Which interval is used follows :func:`~agentsafe_envs.stats.intervals.ratio`; where the
    bootstrap has nothing to vary, or every template was seen once, it is Tango's score interval for
    paired proportions.

    Args:
        first: One 0 or 1 a pair.
        second: Likewise, in the same order.
        templates: As in :func:`agentsafe_envs.stats.intervals.rate`.
        tasks: As in :func:`agentsafe_envs.stats.intervals.rate`.

    Raises:
        ValueError: A value is neither 0 nor 1, or the lengths differ.

    Source: Tango (1998), Statistics in Medicine 17:891; for the bootstrap see
    :func:`~agentsafe_envs.stats.intervals.ratio`.
    """
    ones = np.ones(len(templates))
    one, other = (ClusterTable.of(values, ones, templates, tasks) for values in (first, second))
    for table in (one, other):
        if np.any(table.numerators > table.denominators):
            raise ValueError("a value is above 1; expected 0 or 1 a pair")
    if one.n == 0:
        return Difference(None, None, None, 0, "none")
    change = other.numerators - one.numerators
    gained, lost = (float(np.maximum(sign * change, 0).sum()) / one.n for sign in (1, -1))
    estimate = gained - lost
    if one.n == one.templates:
        return Difference(estimate, *tango(gained, lost, one.n), one.n, "tango-iid")
    shares = change / one.denominators
    if one.templates == 1 or np.all(shares == shares[0]):
        return Difference(estimate, *tango(gained, lost, one.templates), one.n, "tango-templates")
    weights = resample_weights(one.sizes)
    low, high = np.quantile(
        weights @ change / (weights @ one.denominators), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    )
    return Difference(estimate, min(float(low), estimate), max(float(high), estimate), one.n, "bootstrap")


def tango(gained: float, lost: float, n: int) -> tuple[float, float]:
    """95% score interval of the difference of two paired proportions.

    Args:
        gained: Share of the pairs in which only the second of the two had the event.
        lost: Share in which only the first had it; ``gained + lost <= 1``.
        n: Independent pairs, ``>= 1``.

    Returns:
        ``(low, high)`` with ``-1 <= low <= gained - lost <= high <= 1``.

    Source: as in :func:`difference`. A limit solves ``(gained - lost - d)**2 n = z**2 v(d)``, where
    ``v(d)`` is the variance at the likeliest share of losses for that ``d``.
    """
    estimate = gained - lost

    def excess(limit: float) -> float:
        linear = (2 - estimate) * limit - gained - lost
        share_lost = (math.sqrt(max(linear**2 + 8 * lost * limit * (1 - limit), 0.0)) - linear) / 4
        return n * (estimate - limit) ** 2 - Z**2 * (2 * share_lost + limit * (1 - limit))

    return _root(excess, -1.0, estimate), _root(excess, 1.0, estimate)


def _root(excess: Callable[[float], float], outside: float, inside: float) -> float:
    """Where ``excess`` turns from positive, at ``outside``, to negative, at ``inside``; by bisection."""
    if excess(outside) <= 0:
        return outside
    for _ in range(60):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if excess(middle) > 0 else (outside, middle)
    return inside
