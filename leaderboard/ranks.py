"""Ranks as ranges of places: which agents differ on the tasks that they share, with Holm over all pairs.

Two agents are compared template by template. If neither were better, each template's difference would be as likely
with the other sign. The p value of that sign-flip test is bounded from above, for all pairs at once, with one
product of matrices: no resampling, and no approximation that fails for few templates or tiny p values.

Try it::

    python -c "import numpy as np; from leaderboard.ranks import rank_agents; \
               print(rank_agents(np.array([[1.] * 40, [0.] * 40]), np.arange(40)))"
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentsafe_envs.stats.significance import holm

LEVEL = 0.05
"""Probability of separating any two agents that do not differ."""

GAUSSIAN_FACTOR = 1 / (4 * 0.5 * math.erfc(1.0))
"""About 3.18: the tail of a sum of random signs is at most this often the normal tail.

Source: Bentkus and Dzindzalieta (2015), Bernoulli 21:1205, whose constant is 1 / (4 P(N > sqrt 2)).
"""

Matrix = NDArray[np.float64]


class Ranks(NamedTuple):
    """Places of agents, in the order in which they were given.

    Attributes:
        low: Best place that an agent may have, from 1: one more than the agents that are better for certain.
        high: Worst place: all places but those of the agents that are worse for certain.
        lead: Mean of the differences from all agents with which tasks are shared, in [-1, 1]; decides the order.
        better: Entry ``[i, j]``: agent i is better than agent j for certain.
    """

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    lead: Matrix
    better: NDArray[np.bool_]


def rank_agents(values: Matrix, templates: NDArray[np.intp]) -> Ranks:
    """Rank agents by the mean of a value over tasks.

    Args:
        values: Shape (agents, tasks), in [0, 1]; NaN where an agent has not played a task.
        templates: Number of the template of each task, from 0; shape (tasks,).

    Returns:
        The ranks. Agents without a shared task are never separated.
    """
    difference, p = compare_pairs(values, templates)
    agents = len(values)
    rows, columns = np.triu_indices(agents, 1)
    shared = ~np.isnan(p[rows, columns])
    rows, columns = rows[shared], columns[shared]
    certain = np.zeros((agents, agents), dtype=bool)
    certain[rows, columns] = np.asarray(holm(p[rows, columns].tolist())) <= LEVEL
    certain |= certain.T
    better = certain & (difference > 0)
    met = ~np.isnan(difference)
    np.fill_diagonal(met, False)
    lead = np.where(met, difference, 0.0).sum(axis=1) / np.maximum(met.sum(axis=1), 1)
    return Ranks(1 + better.sum(axis=0), agents - better.sum(axis=1), lead, better)


def compare_pairs(values: Matrix, templates: NDArray[np.intp]) -> tuple[Matrix, Matrix]:
    """Every agent against every other.

    Args:
        values: As in :func:`rank_agents`.
        templates: As in :func:`rank_agents`.

    Returns:
        Two arrays of shape (agents, agents). The first holds mean differences over shared tasks, row minus column.
        The second holds upper bounds of two-sided sign-flip p values. Both are NaN where no task is shared.
    """
    agents = len(values)
    difference = np.full((agents, agents), np.nan)
    p = np.full((agents, agents), np.nan)
    played, group = np.unique(~np.isnan(values), axis=0, return_inverse=True)
    group = group.reshape(-1)
    for first in range(len(played)):
        for second in range(first, len(played)):
            shared = played[first] & played[second]
            if not shared.any():
                continue
            mine, theirs = np.flatnonzero(group == first), np.flatnonzero(group == second)
            sums = _template_sums(values[:, shared], templates[shared], np.union1d(mine, theirs))
            total, bound = _differences(sums[mine], sums[theirs])
            for one, other, sign, found in ((mine, theirs, 1, bound), (theirs, mine, -1, bound.T)):
                difference[np.ix_(one, other)] = (total if sign == 1 else -total.T) / shared.sum()
                p[np.ix_(one, other)] = found
    return difference, p


def sign_flip_bound(total: Matrix, squares: Matrix) -> Matrix:
    """Upper bound of the two-sided sign-flip p value.

    Args:
        total: Sum of the templates' differences.
        squares: Sum of their squares; 0 only where the total is.

    Returns:
        The smaller of Hoeffding's and the Gaussian bound, at most 1.

    Source: Hoeffding (1963), J. Am. Stat. Assoc. 58:13, and :data:`GAUSSIAN_FACTOR`.
    """
    z = np.abs(total) / np.sqrt(np.maximum(squares, 1e-300))
    hoeffding = 2 * np.exp(-(z**2) / 2)
    gaussian = GAUSSIAN_FACTOR * np.vectorize(math.erfc, otypes=[float])(z / math.sqrt(2))
    return np.minimum(1.0, np.minimum(hoeffding, gaussian))


def _template_sums(values: Matrix, templates: NDArray[np.intp], wanted: NDArray[np.intp]) -> Matrix:
    """Each wanted agent's values summed up by template; other rows are 0."""
    names, place = np.unique(templates, return_inverse=True)
    member = np.zeros((len(place), len(names)))
    member[np.arange(len(place)), place.reshape(-1)] = 1
    sums = np.zeros((len(values), len(names)))
    sums[wanted] = values[wanted] @ member
    return sums


def _differences(mine: Matrix, theirs: Matrix) -> tuple[Matrix, Matrix]:
    """Sums of differences of all pairs of rows, and the bounds of their p values."""
    total = mine.sum(axis=1)[:, None] - theirs.sum(axis=1)[None, :]
    total[np.abs(total) < 1e-9] = 0.0  # thirds of three trials need not cancel to the last bit
    squares = (mine**2).sum(axis=1)[:, None] + (theirs**2).sum(axis=1)[None, :] - 2 * mine @ theirs.T
    # No rounding may make the differences smaller than their sum allows (Cauchy and Schwarz).
    squares = np.maximum(squares, total**2 / mine.shape[1])
    return total, np.where(total == 0, 1.0, sign_flip_bound(total, squares))
