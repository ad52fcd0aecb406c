"""Rates and counts with intervals that respect how tasks were made.

Tasks of one template resemble each other, so 96 episodes from 24 templates say less than 96
independent ones. The interval comes from a two-stage cluster bootstrap (templates, then tasks
within each); where that has nothing to resample it would claim certainty, and a score interval
with one observation per template takes its place. :class:`Estimate` names which one was used.

Try it::

    python -c "from agentsafe_envs.stats.intervals import rate; \
               print(rate([1, 0, 0, 0], templates=['a', 'a', 'b', 'b'], tasks=[0, 1, 2, 3]))"
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from agentsafe_envs.stats.clusters import ClusterTable, Z

Method = Literal["bootstrap", "wilson-iid", "wilson-templates", "poisson-templates", "none"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A point estimate and its 95% interval.

    Attributes:
        estimate: Rate in [0, 1] or mean count per episode, ``>= 0``; None without data.
        low: Lower end of the interval, ``<= estimate``.
        high: Upper end of the interval, ``>= estimate``.
        n: Episodes that the estimate rests on; for a ratio those with a denominator above 0.
        method: ``bootstrap``: templates, then tasks within each. ``wilson-iid``: every
            template was seen once. ``wilson-templates`` and ``poisson-templates``: the
            bootstrap had nothing to vary, each distinct template counts as one observation.
            ``none``: no data.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    method: Method


NO_DATA = Estimate(None, None, None, 0, "none")


def rate(values: ArrayLike, templates: Sequence[str], tasks: Sequence[str] | Sequence[int]) -> Estimate:
    """Share of episodes in which something happened.

    Args:
        values: One 0 or 1 an episode.
        templates: Template of each episode: the cluster that is resampled.
        tasks: Task of each episode, unique within its template. Episodes of one task are
            trials; they stay together, so that repeating a task adds no false precision.

    Returns:
        Estimate in [0, 1] with an interval as in :func:`ratio`.

    Raises:
        ValueError: A value is neither 0 nor 1, or the lengths differ.
    """
    return ratio(values, np.ones(len(templates)), templates, tasks)


def ratio(
    numerators: ArrayLike, denominators: ArrayLike, templates: Sequence[str], tasks: Sequence[str] | Sequence[int]
) -> Estimate:
    """Sum of numerators over sum of denominators, a share of what the denominators count.

    Covers conditional rates (biased first among the episodes that acted) and shares of actions
    (invalid ones among all). Numerator and denominator come from the same resamples; resamples
    whose denominator is 0 are left out.

    * Denominators 0 or 1 and every template with a denominator seen once: Wilson's score
      interval, ``wilson-iid``.
    * One template, or every task with the same ratio (all 0, all 1): the bootstrap would
      return a width of zero, so Wilson with n = templates that have a denominator,
      ``wilson-templates``. It answers "what rate would a new template show" as if tasks within
      a template were copies: an upper limit on what clustering can cost.
    * Else the percentile interval of ``RESAMPLES`` two-stage cluster bootstrap resamples,
      widened to include the estimate where a skewed ratio would leave it outside.

    Args:
        numerators: One count an episode, from 0 to its denominator.
        denominators: One count an episode, ``>= 0``.
        templates: As in :func:`rate`.
        tasks: As in :func:`rate`.

    Returns:
        Estimate in [0, 1]; :data:`NO_DATA` where every denominator is 0.

    Raises:
        ValueError: A count is negative, broken or out of range, or the lengths differ.

    Source: Wilson (1927), JASA 22:209; Davison and Hinkley (1997), Bootstrap Methods and their
    Application, section 3.8; Cameron, Gelbach and Miller (2008), Rev. Econ. Stat. 90:414.
    """
    table = ClusterTable.of(numerators, denominators, templates, tasks)
    if np.any(table.numerators > table.denominators):
        raise ValueError("a numerator exceeds its denominator; expected a share, so use mean() for counts per episode")
    if table.n == 0:
        return NO_DATA
    if table.n == table.templates and table.denominators.max() <= 1:
        return Estimate(table.ratio, *wilson(table.ratio, table.n), table.n, "wilson-iid")
    if table.nothing_to_resample:
        return Estimate(table.ratio, *wilson(table.ratio, table.templates), table.n, "wilson-templates")
    return Estimate(table.ratio, *table.bootstrap(table.numerators), table.n, "bootstrap")


def mean(values: ArrayLike, templates: Sequence[str], tasks: Sequence[str] | Sequence[int]) -> Estimate:
    """Mean count per episode, for instance biased calls.

    The interval is the bootstrap of :func:`ratio`; where every template occurs once that is the
    plain bootstrap over templates. With one template, or where every task has the same mean, it
    would have a width of zero. Counts have no ceiling, so Wilson cannot stand in; the score
    interval of a Poisson mean observed once per distinct template does (``poisson-templates``).
    It is Wilson's construction with the Poisson variance: 24 templates without a single call
    give [0, 0.16], and are not proof that no template ever provokes one.

    Args:
        values: One count an episode, ``>= 0``.
        templates: As in :func:`rate`.
        tasks: As in :func:`rate`.

    Returns:
        Estimate ``>= 0``, in counts per episode.

    Raises:
        ValueError: A count is negative or broken, or the lengths differ.

    Source: Rao's score test inverted for a Poisson mean; see Barker (2002), Am. Stat. 56:85.
    """
    table = ClusterTable.of(values, np.ones(len(templates)), templates, tasks)
    if table.n == 0:
        return NO_DATA
    if table.nothing_to_resample:
        return Estimate(table.ratio, *poisson_score(table.ratio, table.templates), table.n, "poisson-templates")
    return Estimate(table.ratio, *table.bootstrap(table.numerators), table.n, "bootstrap")


def wilson(share: float, n: int) -> tuple[float, float]:
    """95% score interval of a proportion.

    Args:
        share: Observed proportion in [0, 1].
        n: Independent observations, ``>= 1``.

    Returns:
        ``(low, high)`` with ``0 <= low <= share <= high <= 1``.

    Source: Wilson (1927), JASA 22:209; without continuity correction.
    """
    shrink = 1 + Z**2 / n
    centre = (share + Z**2 / (2 * n)) / shrink
    half = Z / shrink * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    # At 0 and 1 the limits are exact in algebra and off by an ulp in floats.
    return min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)


def poisson_score(rate_per_unit: float, units: int) -> tuple[float, float]:
    """95% score interval of a Poisson mean.

    Args:
        rate_per_unit: Observed events per unit, ``>= 0``.
        units: Independent units observed, ``>= 1``.

    Returns:
        ``(low, high)`` in events per unit, ``0 <= low <= rate_per_unit <= high``.

    Source: as in :func:`mean`.
    """
    centre = rate_per_unit + Z**2 / (2 * units)
    half = Z * math.sqrt(rate_per_unit / units + Z**2 / (4 * units**2))
    return min(max(0.0, centre - half), rate_per_unit), centre + half  # as in wilson()


def worst_case(estimate: Estimate, unscored: int) -> tuple[float, float]:
    """Limits of a rate if every unscored episode had gone one way.

    They bound the point estimate, whatever made the episodes fail, and need no assumption about
    it. For a conditional rate the widest case is that every unscored episode met the condition.

    Args:
        estimate: Result of :func:`rate`, or of :func:`ratio` with denominators 0 or 1.
        unscored: Episodes without a verdict, ``>= 0``.

    Returns:
        ``(low, high)`` in [0, 1]: all unscored counted 0, all counted 1. ``(0, 1)`` where
        nothing was scored.

    Source: Manski (1990), Am. Econ. Rev. 80:319.
    """
    total = estimate.n + unscored
    if estimate.estimate is None or total == 0:
        return 0.0, 1.0
    happened = estimate.estimate * estimate.n
    return happened / total, (happened + unscored) / total
