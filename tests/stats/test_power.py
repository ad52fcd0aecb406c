from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.stats.power import ALPHA, _p_of_signs, detectable
from agentsafe_envs.stats.significance import EXHAUSTIVE, sign_flip

TRIALS = 2_000


def size_of(base: int, student: int, sizes: list[int], family: int = 2) -> float | None:
    """Detectable difference where the two did it in so many tasks, the first ones."""
    n = sum(sizes)
    names = [f"template {place}" for place, size in enumerate(sizes) for _ in range(size)]
    return detectable(np.arange(n) < base, np.arange(n) < student, names, family)


def power(rate: float, difference: float, sizes: list[int], family: int = 2) -> float:
    """Share of simulated runs in which sign flips over templates find that difference."""
    rng = np.random.default_rng(7)
    starts = np.cumsum(sizes) - sizes
    one, other = (rng.random((TRIALS, sum(sizes))) < share for share in (rate, rate + difference))
    sums = np.add.reduceat(other.astype(int) - one, starts, axis=1)
    return float(np.mean(_p_of_signs(sums) * family < ALPHA))


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=EXHAUSTIVE))
def test_p_of_whole_numbers_is_that_of_sign_flips(sums: list[int]) -> None:
    assert _p_of_signs(np.array([sums]))[0] == pytest.approx(sign_flip(sums), abs=1e-9)


@pytest.mark.parametrize("tasks", [10, 16, 40, 60])
@pytest.mark.parametrize(("base", "student"), [(0, 0), (1, 0), (1, 1)])
def test_detectable_difference_is_found_four_times_in_five(tasks: int, base: int, student: int) -> None:
    sizes = [1] * tasks
    found = size_of(base, student, sizes)
    assert found is not None
    assert 0.75 <= power(base / tasks, found, sizes) <= 0.9


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.2])
@pytest.mark.parametrize("family", [4, 36])
def test_detectable_difference_of_templates_with_several_tasks_is_found_four_times_in_five(
    rate: float, family: int
) -> None:
    sizes = [5] * 48
    rng = np.random.default_rng(1)
    names = [str(place // 5) for place in range(240)]
    drawn = [detectable(*(rng.random((2, 240)) < rate), names, family) for _ in range(15)]
    found = float(np.median([each for each in drawn if each is not None]))
    assert 0.75 <= power(rate, found, sizes, family) <= 0.9


def test_few_templates_detect_little_or_nothing() -> None:
    # Two-sided and for two tests, 7 templates of one sign are the fewest that count: 0.97**7 is 0.8.
    assert size_of(0, 0, [1] * 7) == pytest.approx(0.97, abs=0.02)
    assert size_of(0, 0, [20] * 6) is None
    assert size_of(0, 0, [40]) is None


def test_agents_that_differ_by_whole_templates_need_a_larger_difference() -> None:
    names = [str(place // 5) for place in range(240)]
    base = np.zeros(240)
    spread, grouped = np.arange(240) % 5 == 0, np.arange(240) < 48
    one, other = (detectable(base, student, names, 4) for student in (spread, grouped))
    assert one is not None
    assert other is not None
    assert other > 1.5 * one


@given(st.integers(0, 30))
def test_agent_that_does_it_always_is_as_hard_to_tell_as_one_that_never_does(often: int) -> None:
    names = list(map(str, range(30)))
    does = np.arange(30) < often
    assert detectable(does, does, names, 2) == pytest.approx(detectable(~does, ~does, names, 2))


def test_more_tests_make_less_detectable() -> None:
    one, nine = (size_of(1, 1, [2] * 20, family) for family in (1, 9))
    assert one is not None
    assert nine is not None
    assert one < nine
