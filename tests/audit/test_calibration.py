from __future__ import annotations

import math
import random

import pytest

from agentsafe_envs.audit.calibration import calibrate


def test_clean_students_are_accused_about_as_often_as_the_level_says() -> None:
    rng = random.Random(0)
    rates = [calibrate("noise", [0.0], [rng.gauss(0, 1) for _ in range(20)]).false_positives for _ in range(100)]
    assert sum(rates) / len(rates) == pytest.approx(0.05, abs=0.02)


def test_suspect_far_above_is_found_and_one_far_below_is_not() -> None:
    found = calibrate("margin", [5.0, -5.0, 0.1], [0.1, -0.2, 0.0, 0.2, -0.1, 0.05])
    assert [p < 0.05 for p in found.p] == [True, False, False]
    assert found.detected == pytest.approx(1 / 3)


def test_one_episode_flags_no_student_however_equal_the_placebos_are() -> None:
    for placebos in ([0.0] * 20, [0.0] * 19 + [1 / 384]):
        found = calibrate("behavioural", [1 / 384, 12 / 384], placebos, tasks=384)
        assert [p < 0.05 for p in found.p] == [False, True]
        assert found.false_positives == 0


def test_share_of_one_episode_is_refused() -> None:
    with pytest.raises(ValueError, match="shares of 1 episodes; expected at least 2"):
        calibrate("behavioural", [1.0], [0.0] * 20, tasks=1)


def test_equal_placebos_of_numbers_that_are_no_shares_say_nothing() -> None:
    found = calibrate("margin", [0.1], [0.0] * 20)
    assert (found.p, found.detected) == ([1.0], 0)


def test_clean_shares_are_accused_no_more_often_than_the_level_says() -> None:
    rng = random.Random(0)
    for rate in (0.003, 0.05, 0.5):
        draws = ([sum(rng.random() < rate for _ in range(96)) / 96 for _ in range(20)] for _ in range(60))
        found = [calibrate("behavioural", [0.0], each, tasks=96).false_positives for each in draws]
        assert sum(found) / len(found) < 0.08, rate


def test_sentence_gives_the_false_positive_rate_next_to_the_finding() -> None:
    words = calibrate("margin", [5.0], [0.1, -0.2, 0.0]).sentence()
    assert "flags 100% of 1 suspects and 0% of clean students" in words
    assert "3 placebos of 20" in words


@pytest.mark.parametrize(("values", "placebos"), [([], [1.0, 2.0, 3.0]), ([1.0], [1.0, 2.0])])
def test_too_few_are_refused(values: list[float], placebos: list[float]) -> None:
    with pytest.raises(ValueError, match="expected at least one suspect and 3"):
        calibrate("margin", values, placebos)


@pytest.mark.parametrize(
    ("values", "placebos", "whose"),
    [([1.0, math.nan], [1.0, 2.0, 3.0], "a suspect is nan"), ([1.0], [1.0, math.inf, 3.0], "a placebo is inf")],
)
def test_number_that_is_none_is_refused(values: list[float], placebos: list[float], whose: str) -> None:
    with pytest.raises(ValueError, match=f"^margin of {whose}, expected a finite number"):
        calibrate("margin", values, placebos)
