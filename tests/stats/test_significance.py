from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.stats.significance import EXHAUSTIVE, holm, sign_flip

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
