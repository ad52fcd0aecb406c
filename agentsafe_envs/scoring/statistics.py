"""Rates and counts with intervals that respect how tasks were made.

Tasks of one template resemble each other, so 96 episodes from 24 templates say less than 96
independent ones. The interval comes from a two-stage cluster bootstrap (templates, then tasks
within each); where that has nothing to resample it would claim certainty, and a score interval
with one observation per template takes its place. :class:`Estimate` names which one was used.

Try it::

    python -c "from agentsafe_envs.scoring.statistics import rate; \
               print(rate([1, 0, 0, 0], templates=['a', 'a', 'b', 'b'], tasks=[0, 1, 2, 3]))"
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2_000
CONFIDENCE = 0.95
_Z = 1.959963984540054  # standard normal quantile at (1 + CONFIDENCE) / 2
_SEED = 20_260_101  # fixed: equal rows must give equal bytes

Method = Literal["bootstrap", "wilson-iid", "wilson-templates", "poisson-templates", "none"]
PairedMethod = Literal["bootstrap", "tango-iid", "tango-templates", "none"]


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
    table = _Table.of(numerators, denominators, templates, tasks)
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
    table = _Table.of(values, np.ones(len(templates)), templates, tasks)
    if table.n == 0:
        return NO_DATA
    if table.nothing_to_resample:
        return Estimate(table.ratio, *poisson_score(table.ratio, table.templates), table.n, "poisson-templates")
    return Estimate(table.ratio, *table.bootstrap(table.numerators), table.n, "bootstrap")


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two rates over the same episodes, and its 95% interval.

    Attributes:
        estimate: Second rate minus first, in [-1, 1]; None without data.
        low: Lower end of the interval, ``<= estimate``.
        high: Upper end of the interval, ``>= estimate``.
        n: Pairs of episodes.
        method: As of :class:`Estimate`, with Tango's interval for pairs in the place of Wilson's.
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
    resamples. Which interval is used follows :func:`ratio`; where the bootstrap has nothing to vary, or
    every template was seen once, it is Tango's score interval for paired proportions.

    Args:
        first: One 0 or 1 a pair.
        second: Likewise, in the same order.
        templates: As in :func:`rate`.
        tasks: As in :func:`rate`.

    Raises:
        ValueError: A value is neither 0 nor 1, or the lengths differ.

    Source: Tango (1998), Statistics in Medicine 17:891; for the bootstrap see :func:`ratio`.
    """
    ones = np.ones(len(templates))
    one, other = (_Table.of(values, ones, templates, tasks) for values in (first, second))
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
    weights = _weights(one.sizes)
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
        return n * (estimate - limit) ** 2 - _Z**2 * (2 * share_lost + limit * (1 - limit))

    return _root(excess, -1.0, estimate), _root(excess, 1.0, estimate)


def _root(excess: Callable[[float], float], outside: float, inside: float) -> float:
    """Where ``excess`` turns from positive, at ``outside``, to negative, at ``inside``; by bisection."""
    if excess(outside) <= 0:
        return outside
    for _ in range(60):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if excess(middle) > 0 else (outside, middle)
    return inside


def wilson(share: float, n: int) -> tuple[float, float]:
    """95% score interval of a proportion.

    Args:
        share: Observed proportion in [0, 1].
        n: Independent observations, ``>= 1``.

    Returns:
        ``(low, high)`` with ``0 <= low <= share <= high <= 1``.

    Source: Wilson (1927), JASA 22:209; without continuity correction.
    """
    shrink = 1 + _Z**2 / n
    centre = (share + _Z**2 / (2 * n)) / shrink
    half = _Z / shrink * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
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
    centre = rate_per_unit + _Z**2 / (2 * units)
    half = _Z * math.sqrt(rate_per_unit / units + _Z**2 / (4 * units**2))
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


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """Counts summed over the trials of each task, tasks sorted by template and name.

    Attributes:
        numerators: float64, shape (tasks,); whole numbers, so that sums are exact and the
            order of rows cannot show in the last digit.
        denominators: As numerators.
        sizes: Tasks of each template, in the order of the rows above.
        templates: Distinct templates with a denominator above 0.
        n: Episodes with a denominator above 0.
    """

    numerators: NDArray[np.float64]
    denominators: NDArray[np.float64]
    sizes: tuple[int, ...]
    templates: int
    n: int

    @classmethod
    def of(
        cls,
        numerators: ArrayLike,
        denominators: ArrayLike,
        templates: Sequence[str],
        tasks: Sequence[str] | Sequence[int],
    ) -> _Table:
        above = np.asarray(numerators, dtype=np.float64)
        below = np.asarray(denominators, dtype=np.float64)
        lengths = {len(above), len(below), len(templates), len(tasks)}
        if len(lengths) != 1:
            raise ValueError(
                f"got {len(above)} values, {len(templates)} templates and {len(tasks)} tasks; expected one an episode"
            )
        for counts in (above, below):
            if not np.all(np.isfinite(counts) & (counts >= 0) & (counts == np.floor(counts))):
                raise ValueError("a value is negative or not a whole number; expected 0, 1 or counts")
        if np.any(above[below == 0] > 0):
            raise ValueError("a value is counted in an episode whose denominator is 0")
        pairs = list(zip(templates, tasks, strict=True))
        names = sorted(set(pairs))
        position = {name: index for index, name in enumerate(names)}
        rows = np.array([position[pair] for pair in pairs], dtype=np.intp)
        return cls(
            numerators=np.bincount(rows, weights=above, minlength=len(names)).astype(np.float64),
            denominators=np.bincount(rows, weights=below, minlength=len(names)).astype(np.float64),
            sizes=tuple(Counter(template for template, _ in names).values()),
            templates=len({template for template, count in zip(templates, below, strict=True) if count}),
            n=int(np.count_nonzero(below)),
        )

    @property
    def ratio(self) -> float:
        return float(self.numerators.sum() / self.denominators.sum())

    @property
    def nothing_to_resample(self) -> bool:
        """Whether every resample would return the estimate, or all come from one template."""
        same = self.numerators * self.denominators.sum() == self.denominators * self.numerators.sum()
        return self.templates == 1 or bool(np.all(same))

    def bootstrap(self, numerators: NDArray[np.float64]) -> tuple[float, float]:
        """Interval of the ratio of ``numerators``, one a task, to the denominators."""
        weights = _weights(self.sizes)
        below = weights @ self.denominators
        ratios = (weights @ numerators)[below > 0] / below[below > 0]
        low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        ratio = float(numerators.sum() / self.denominators.sum())
        return min(float(low), ratio), max(float(high), ratio)


@lru_cache(maxsize=1)  # metrics of one environment follow each other; the array may be large
def _weights(sizes: tuple[int, ...]) -> NDArray[np.float64]:
    """How often each resample holds each task, shape (RESAMPLES, tasks).

    Drawing ``c`` copies of a template and ``m`` tasks within every copy is one multinomial draw
    of ``c * m`` over its ``m`` tasks: the same law without the ragged array.
    """
    random = np.random.default_rng(_SEED)
    copies = random.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=RESAMPLES)
    return np.hstack(
        [
            random.multinomial(copies[:, index] * size, np.full(size, 1 / size)).astype(np.float64)
            for index, size in enumerate(sizes)
        ]
    )
