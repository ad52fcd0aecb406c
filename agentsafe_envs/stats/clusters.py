"""Episodes grouped by template and task, and the two-stage bootstrap over both.

Tasks of one template resemble each other, so they are resampled together: templates first, then
tasks within each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2_000
CONFIDENCE = 0.95
Z = 1.959963984540054
"""Standard normal quantile at (1 + CONFIDENCE) / 2."""

_SEED = 20_260_101  # fixed: equal rows must give equal bytes


@dataclass(frozen=True, slots=True, eq=False)
class ClusterTable:
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
    ) -> ClusterTable:
        """Sum up one value an episode; raises ValueError for values that are no counts."""
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
        """Sum of numerators over sum of denominators."""
        return float(self.numerators.sum() / self.denominators.sum())

    @property
    def nothing_to_resample(self) -> bool:
        """Whether every resample would return the estimate, or all come from one template."""
        same = self.numerators * self.denominators.sum() == self.denominators * self.numerators.sum()
        return self.templates == 1 or bool(np.all(same))

    def bootstrap(self, numerators: NDArray[np.float64]) -> tuple[float, float]:
        """Interval of the ratio of ``numerators``, one a task, to the denominators."""
        weights = resample_weights(self.sizes)
        below = weights @ self.denominators
        ratios = (weights @ numerators)[below > 0] / below[below > 0]
        low, high = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        ratio = float(numerators.sum() / self.denominators.sum())
        return min(float(low), ratio), max(float(high), ratio)


@lru_cache(maxsize=1)  # metrics of one environment follow each other; the array may be large
def resample_weights(sizes: tuple[int, ...]) -> NDArray[np.float64]:
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
