from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from baselines.inference import effect, transfer_ratio

pytestmark = pytest.mark.needs("baselines")

VALUES = st.lists(st.floats(-1, 1, allow_nan=False), min_size=2, max_size=9)


@given(VALUES)
def test_interval_holds_the_mean(values: list[float]) -> None:
    found = effect(values)
    if found.low is None or found.high is None:
        assert np.ptp(values) < 1e-9
        return
    assert found.low - 1e-9 <= found.estimate <= found.high + 1e-9


def test_interval_is_the_textbook_one() -> None:
    found = effect([0.1, 0.2, 0.3])
    assert found.estimate == pytest.approx(0.2)
    assert found.high == pytest.approx(0.2 + 4.30265 * 0.1 / 3**0.5, abs=1e-4)


def test_interval_covers_a_true_mean_in_19_of_20_sets_of_chains() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2_000):
        found = effect(list(rng.normal(0.1, 0.05, size=6)))
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.1 <= found.high
    assert 0.935 <= covered / 2_000 <= 0.965


def test_detectable_difference_is_detected_four_times_in_five() -> None:
    rng = np.random.default_rng(1)
    sizes, hits = [], 0
    for _ in range(400):
        found = effect(list(rng.normal(0.0, 0.05, size=10)))
        assert found.detectable is not None
        sizes.append(found.detectable)
    size = float(np.mean(sizes))
    for _ in range(2_000):
        found = effect(list(rng.normal(size, 0.05, size=10)))
        assert found.low is not None
        hits += found.low > 0
    assert 0.74 <= hits / 2_000 <= 0.88


@pytest.mark.parametrize(("n", "tests"), [(3, 1), (5, 1), (10, 8)])
def test_detectable_difference_is_detected_at_the_corrected_level(n: int, tests: int) -> None:
    rng = np.random.default_rng(2)
    shift = effect([-1.0, 1.0] * (n // 2) + [0.0] * (n % 2), tests=tests)
    assert shift.detectable is not None
    assert shift.high is not None
    error = shift.high / float(stats.t.ppf(0.975, n - 1))
    drawn = rng.normal(shift.detectable / error / n**0.5, 1.0, size=(20_000, n))
    found = stats.ttest_1samp(drawn, 0.0, axis=1, alternative="greater").pvalue < 0.025 / tests
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_one_chain_has_no_interval_and_no_p() -> None:
    found = effect([0.3], test=True)
    assert (found.low, found.high, found.p, found.detectable) == (None, None, None, None)


def test_chains_that_are_all_equal_claim_no_certainty() -> None:
    found = effect([0.3 - 0.1, 0.2, 0.5 - 0.3], test=True)
    assert (found.low, found.high, found.detectable) == (None, None, None)
    assert found.p is not None


def test_no_chain_is_refused() -> None:
    with pytest.raises(ValueError, match="no chains"):
        effect([])


def test_transfer_ratio_is_the_share_of_the_teachers_difference() -> None:
    found = transfer_ratio([0.1, 0.3, 0.2], [0.5, 0.6, 0.8])
    assert found is not None
    assert found.estimate == pytest.approx((0.2 + 0.5 + 0.25) / 3)


@given(st.lists(st.floats(-1, 0.19), min_size=2, max_size=9))
def test_nothing_is_passed_on_of_a_habit_that_was_not_induced(teachers: list[float]) -> None:
    assert transfer_ratio([0.5] * len(teachers), teachers) is None


def test_a_difference_that_may_be_small_counts_as_not_induced() -> None:
    assert transfer_ratio([0.1, 0.1], [0.05, 0.9]) is None
