from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agentsafe_envs.stats.significance import sign_flip
from baselines.inference import effect, transfer_ratio

pytestmark = pytest.mark.needs("baselines")


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


@pytest.mark.parametrize(("n", "tests"), [(3, 1), (5, 1), (24, 8)])
def test_detectable_difference_is_detected_at_the_corrected_level(n: int, tests: int) -> None:
    rng = np.random.default_rng(2)
    shift = effect([-1.0, 1.0] * (n // 2) + [0.0] * (n % 2), tests=tests)
    assert shift.detectable is not None
    assert shift.high is not None
    error = shift.high / float(stats.t.ppf(0.975, n - 1))
    drawn = rng.normal(shift.detectable / error / n**0.5, 1.0, size=(20_000, n))
    found = stats.ttest_1samp(drawn, 0.0, axis=1, alternative="greater").pvalue < 0.025 / tests
    assert found.mean() == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("tests", [1, 12])
def test_detectable_difference_of_ten_chains_is_what_sign_flips_detect(tests: int) -> None:
    rng = np.random.default_rng(2)
    spread = effect([-1.0, 1.0] * 5, tests=tests)
    assert spread.detectable is not None
    drawn = rng.normal(spread.detectable * 3 / 10**0.5, 1.0, size=(4_000, 10))  # the spread's standard error is 1/3
    assert np.mean([sign_flip(each) < 0.05 / tests for each in drawn]) == pytest.approx(0.8, abs=0.02)


def test_nothing_is_detectable_where_the_smallest_p_is_too_large() -> None:
    assert effect([-1.0, 1.0] * 5, tests=26).detectable is None


def test_one_chain_has_no_interval_and_no_p() -> None:
    found = effect([0.3], test=True)
    assert (found.low, found.high, found.p, found.detectable) == (None, None, None, None)


def test_two_chains_have_no_interval() -> None:
    found = effect([0.1, 0.3])
    assert (found.low, found.high, found.detectable) == (None, None, None)


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


def test_equal_differences_have_no_interval_of_what_is_passed_on() -> None:
    found = transfer_ratio([0.1] * 3, [0.5, 0.6, 0.8])
    assert found is not None
    assert (found.low, found.high, found.detectable) == (None, None, None)


@given(st.lists(st.floats(-1, 0.19), min_size=2, max_size=9))
def test_nothing_is_passed_on_of_a_habit_that_was_not_induced(teachers: list[float]) -> None:
    assert transfer_ratio([0.5] * len(teachers), teachers) is None


def test_a_difference_that_may_be_small_counts_as_not_induced() -> None:
    assert transfer_ratio([0.1, 0.1], [0.05, 0.9]) is None
    assert transfer_ratio([0.1] * 3, [0.05, 0.9, 0.5]) is None
