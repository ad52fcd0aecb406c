from __future__ import annotations

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


def test_sentence_gives_the_false_positive_rate_next_to_the_finding() -> None:
    words = calibrate("margin", [5.0], [0.1, -0.2, 0.0]).sentence()
    assert "flags 100% of 1 suspects and 0% of clean students" in words
    assert "3 placebos of 20" in words


@pytest.mark.parametrize(("values", "placebos"), [([], [1.0, 2.0, 3.0]), ([1.0], [1.0, 2.0])])
def test_too_few_are_refused(values: list[float], placebos: list[float]) -> None:
    with pytest.raises(ValueError, match="expected at least one suspect and 3"):
        calibrate("margin", values, placebos)
