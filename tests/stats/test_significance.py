from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.stats.significance import EXHAUSTIVE, holm, one_sample, outlier, outlying_pairs, sign_flip

THOUSANDTHS = st.lists(st.integers(-1_000, 1_000), min_size=1, max_size=9)
"""Whole numbers, of which it is exactly known whether two sums are equal."""


@given(THOUSANDTHS)
def test_sign_flip_is_the_share_of_patterns_that_far_from_zero(values: list[int]) -> None:
    flips = list(itertools.product((-1, 1), repeat=len(values)))
    far = sum(abs(sum(map(operator.mul, signs, values))) >= abs(sum(values)) for signs in flips)
    assert sign_flip([value / 1_000 for value in values]) == far / len(flips)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_never_lowers_a_p_and_keeps_their_order(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(new >= old for new, old in zip(adjusted, values, strict=True))
    assert max(adjusted) <= 1
    order = sorted(range(len(values)), key=values.__getitem__)
    assert [adjusted[index] for index in order] == sorted(adjusted)


def test_holm_is_the_textbook_one() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_sampled_sign_flip_is_close_to_the_exact_one() -> None:
    values = list(np.random.default_rng(3).normal(0.15, 0.4, size=EXHAUSTIVE))
    exact = sign_flip(values)
    assert 0.02 < exact < 0.9
    # A further value of almost nothing asks for samples and changes nothing else.
    assert sign_flip([*values, 1e-9]) == pytest.approx(exact, abs=0.005)


def test_sampled_sign_flip_is_never_zero() -> None:
    assert 0 < sign_flip([1.0] * 40) < 1e-4


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        sign_flip([])


@pytest.mark.parametrize(("pairs", "others"), [(2, 7), (4, 16), (10, 20)])
def test_pairs_of_equals_pass_for_outliers_in_1_of_20_cases_and_shifted_ones_often(pairs: int, others: int) -> None:
    rng = np.random.default_rng(pairs)
    units = rng.normal(size=(2_000, pairs + others))
    # The second of each pair is one of the others, as a neutral student of a chain is a placebo.
    found = [(row[:pairs] - row[pairs : 2 * pairs], row[pairs:]) for row in units[:, : pairs + others]]
    null = [outlying_pairs(list(own), list(rest)) < 0.05 for own, rest in found]
    assert np.mean(null) == pytest.approx(0.05, abs=0.02)
    shifted = [outlying_pairs(list(own + 2.8 * pairs**-0.5 * 2**0.5), list(rest)) < 0.05 for own, rest in found]
    assert np.mean(shifted) > 0.6, "2.8 standard errors, which a normal test would see in 80%"


def test_one_pair_is_judged_by_the_spread_of_a_difference() -> None:
    others = [0.1, 0.2, 0.3]
    apart = 4.302653 * 0.1 * 2**0.5
    assert outlying_pairs([apart], others) == pytest.approx(0.05, abs=1e-6)
    assert outlying_pairs([apart] * 2, others) < 0.05
    assert outlying_pairs([0.0], [0.2, 0.2]) == 1
    with pytest.raises(ValueError, match="expected 1 and 2 or more"):
        outlying_pairs([], others)


def test_spread_of_others_is_not_believed_below_the_least_one() -> None:
    assert outlier(0.01, [0.0] * 20) == 0
    assert outlier(0.01, [0.0] * 20, least_spread=0.01) > 0.3
    assert outlier(0.5, [0.0, 0.1, 0.2], least_spread=0.01) == outlier(0.5, [0.0, 0.1, 0.2])


def test_one_sample_is_students_t_test_of_a_mean_of_zero() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    for n in range(2, 12):
        values = list(rng.normal(0.5, 1, n))
        assert one_sample(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=1e-9)
        assert one_sample([-value for value in values]) == pytest.approx(one_sample(values))
    assert one_sample([]) == one_sample([0.3]) == one_sample([0.3, 0.3]) == 1
