"""What an experiment of a given size could have found.

Try it::

    python -c "from agentsafe_envs.stats.power import detectable; \
               print(detectable([0] * 40, [0] * 40, templates=list(map(str, range(40))), family=2))"   # about 0.22
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

ALPHA = 0.05
POWER = 0.80

_DRAWS = 400
_SEED = 20_260_101  # fixed: equal rows must give equal bytes
_HALVINGS = 8
"""Of the interval that holds the answer: it is found to less than half a point."""


def detectable(first: ArrayLike, second: ArrayLike, templates: Sequence[str], family: int) -> float | None:
    """Smallest true difference that sign flips over templates would find with power 0.8.

    Runs of the same size are drawn. The first agent keeps its rate, and the other's is further from the nearer end of
    [0, 1] by the difference. Tasks of one template are correlated as in the changes seen. A difference is found if its
    two-sided p, times ``family``, is below 0.05. Today's interval is no guide to it: where few pairs disagree now, more
    would if there were a difference.

    Args:
        first: One 0 or 1 an episode, at least one.
        second: Likewise of the other agent, in the same order.
        templates: Template of each episode: the unit whose sign is flipped.
        family: Number of tests that are corrected together, ``>= 1``.

    Returns:
        A difference of rates in (0, 1]; None where not even the largest would be found.

    Source: power by simulation, e.g. Arnold et al. (2011), BMC Med. Res. Methodol. 11:94; the correlation from the
    design effect of Kish (1965), Survey Sampling, section 5.4. With one task a template the test is McNemar's.
    """
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    _, places, sizes = np.unique(np.asarray(templates), return_inverse=True, return_counts=True)
    rate = min(one.mean(), 1 - one.mean())
    draws = _uniform(sizes, _correlation(other - one, places, sizes))
    starts = np.cumsum(sizes) - sizes

    def power(difference: float) -> float:
        changes = (draws[1] < rate + difference).astype(np.int64) - (draws[0] < rate)
        sums = np.add.reduceat(changes, starts, axis=1)
        return float(np.mean((_p_of_signs(sums) * family < ALPHA) & (sums.sum(1) > 0)))

    low, high = 0.0, 1 - float(rate)
    if power(high) < POWER:
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if power(middle) >= POWER else (middle, high)
    return high


def _correlation(changes: NDArray[np.float64], places: NDArray[np.intp], sizes: NDArray[np.intp]) -> float:
    """Of the changes within a template, in [0, 1]: that which gives their design effect, where this is above 1."""
    apart = changes - changes.mean()
    independent = float(np.sum(apart**2))
    most = float(np.sum(sizes**2) / np.sum(sizes))  # the design effect of a correlation of 1
    if independent < 1e-12 or most <= 1:
        return 0.0
    effect = float(np.sum(np.bincount(places, weights=apart) ** 2)) / independent
    return min(max(effect - 1, 0.0) / (most - 1), 1.0)


def _uniform(sizes: NDArray[np.intp], correlation: float) -> NDArray[np.float64]:
    """Uniform numbers of two agents, shape (2, draws, tasks): some are their template's, which correlates its tasks."""
    random = np.random.default_rng(_SEED)
    shape = (2, _DRAWS, int(sizes.sum()))
    own = random.random(shape)
    common = np.repeat(random.random((2, _DRAWS, len(sizes))), sizes, axis=2)
    return np.where(random.random(shape) < correlation**0.5, common, own)


def _p_of_signs(sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """Exact p of :func:`~agentsafe_envs.stats.significance.sign_flip` for each row of whole numbers.

    The distribution of a sum with random signs is the product of those of its terms, so their Fourier transforms,
    which are cosines, multiply.
    """
    heights, total = np.abs(sums), np.abs(sums.sum(1))
    size = 2 * int(heights.sum(1).max()) + 2  # no sum wraps round
    waves = np.ones((len(sums), size // 2 + 1))
    angles = 2 * np.pi * np.arange(size // 2 + 1) / size
    for height in range(1, int(heights.max()) + 1):
        times = np.count_nonzero(heights == height, axis=1)
        waves *= (np.cos(height * angles) ** np.arange(times.max() + 1)[:, None])[times]
    chances = np.fft.irfft(waves, size, axis=1)
    within = 2 * np.cumsum(chances, axis=1) - chances[:, :1]
    nearer = within[np.arange(len(sums)), np.maximum(total - 1, 0)]
    return np.where(total > 0, 1 - nearer, 1.0)
