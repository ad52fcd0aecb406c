"""The same numbers from scipy, or from the definition written down as slowly as possible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agentsafe_envs.stats.intervals import mean, wilson
from agentsafe_envs.stats.paired import tango
from agentsafe_envs.stats.significance import holm, outlier, sign_flip

pytestmark = pytest.mark.needs("baselines")

Z_SQUARED = 1.959963984540054**2


def test_wilson_is_scipys() -> None:
    from scipy.stats import binomtest

    for n in (1, 2, 7, 24, 263):
        for events in {0, 1, n // 3, n // 2, n - 1, n}:
            expected = binomtest(events, n).proportion_ci(method="wilson")
            assert wilson(events / n, n) == pytest.approx((expected.low, expected.high)), (events, n)


@pytest.mark.parametrize(
    ("both", "gained", "lost", "neither"), [(3, 9, 1, 7), (0, 5, 5, 0), (10, 1, 3, 30), (2, 12, 2, 44), (1, 0, 7, 2)]
)
def test_tango_is_where_the_score_test_turns(both: int, gained: int, lost: int, neither: int) -> None:
    """Against Tango's definition: for each difference, maximise the likelihood of the 2 x 2 table numerically."""
    from scipy.optimize import brentq, minimize_scalar

    n = both + gained + lost + neither

    def excess(difference: float) -> float:
        def unlikelihood(share_lost: float) -> float:
            share_gained = share_lost + difference
            shares = (share_gained, share_lost, 1 - share_gained - share_lost)
            counts = (gained, lost, both + neither)
            return -sum(count * np.log(max(share, 1e-300)) for count, share in zip(counts, shares, strict=True))

        found: Any = minimize_scalar(
            unlikelihood,
            bounds=(max(0.0, -difference), (1 - difference) / 2),
            method="bounded",
            options={"xatol": 1e-12},
        )
        variance = 2 * found.x + difference - difference**2
        return n * ((gained - lost) / n - difference) ** 2 - Z_SQUARED * variance

    estimate = (gained - lost) / n
    expected = [brentq(excess, end, estimate) for end in (-1 + 1e-9, 1 - 1e-9)]
    assert tango(gained / n, lost / n, n) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("n", [2, 5, 9, 12])
def test_sign_flip_is_the_permutation_test_of_pairs(n: int) -> None:
    from scipy.stats import permutation_test

    values = np.random.default_rng(n).normal(0.4, 1.0, n)
    expected = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(values.tolist()) == pytest.approx(expected.pvalue)


def test_sampled_sign_flip_is_close_to_the_permutation_test_of_pairs() -> None:
    from scipy.stats import permutation_test

    values = np.random.default_rng(0).normal(0.3, 1.0, 40)
    expected = permutation_test((values,), np.mean, permutation_type="samples", n_resamples=20_000, random_state=1)
    assert sign_flip(values.tolist()) == pytest.approx(expected.pvalue, abs=0.01)


def test_holm_is_the_largest_of_the_products_up_to_each_rank() -> None:
    rng = np.random.default_rng(0)
    for n in range(1, 8):
        values = rng.random(n) ** 3
        expected = [
            min(1.0, max((n - np.sum(values < each)) * each for each in values if each <= value)) for value in values
        ]
        assert holm(values.tolist()) == pytest.approx(expected), values


@pytest.mark.parametrize("n", [2, 3, 8, 30])
def test_outlier_is_students_t_of_one_against_many(n: int) -> None:
    from scipy.stats import ttest_ind

    others = np.random.default_rng(n).normal(0.0, 1.0, n)
    for value in (-2.5, 0.0, 0.7, 4.0):
        expected = ttest_ind([value], others, equal_var=True).pvalue
        assert outlier(value, others.tolist()) == pytest.approx(expected), value


def test_bootstrap_of_templates_seen_once_is_scipys() -> None:
    from scipy.stats import bootstrap

    values = np.random.default_rng(5).integers(0, 9, 60)
    expected = bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, random_state=1)
    found = mean(values, [f"template/{number:02}" for number in range(60)], list(range(60)))
    interval = expected.confidence_interval
    assert found.method == "bootstrap"
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.06)
