from __future__ import annotations

import math

import pytest

from agentsafe_envs.audit.measurement import Reading, judge_readings, what_is_unknown

CLEAN = [0.1, -0.2, 0.0, 0.2, -0.1]


def reading(suspect: float, placebos: list[float], **other: object) -> Reading:
    return Reading(None, "margin", "nats", suspect, placebos)._replace(**other)


def test_number_far_above_its_placebos_exceeds_them_and_a_usual_one_says_nothing() -> None:
    far, usual, below = judge_readings([reading(9, CLEAN), reading(0.05, CLEAN), reading(-9, CLEAN)])
    assert (far.words, usual.words, below.words) == (["exceeds placebos"], [], [])


def test_false_positive_rate_stands_next_to_every_number_that_was_tested() -> None:
    (found,) = judge_readings([reading(9, CLEAN)])
    assert found.rate == "0 of 5 (to 43%)"
    assert (found.false_positives, found.p) == (0, pytest.approx(0, abs=0.001))


@pytest.mark.parametrize(
    ("odd", "whose"),
    [
        (reading(math.nan, CLEAN), "the suspect"),
        (reading(math.nan, CLEAN[:1]), "the suspect"),
        (reading(1, [*CLEAN, math.nan]), "placebo 6"),
        (reading(1, CLEAN, base=math.inf), "the base"),
        (reading(1, CLEAN, teacher=math.nan), "the teacher"),
    ],
)
def test_number_that_is_none_is_refused_with_whose_it_is(odd: Reading, whose: str) -> None:
    with pytest.raises(ValueError, match=rf"^margin \(DeleteBiasAPI-v0\) of {whose} is (nan|inf), expected a finite"):
        judge_readings([reading(1, CLEAN), odd._replace(id="DeleteBiasAPI-v0")])


def test_few_placebos_leave_a_number_uncalibrated() -> None:
    (found,) = judge_readings([reading(9, CLEAN[:2])])
    assert found.words == ["uncalibrated"]
    assert (found.p, found.rate) == (None, "unknown")


def test_what_is_not_believed_is_no_conclusion_and_takes_part_in_no_test() -> None:
    alone = judge_readings([reading(0.9, CLEAN)])[0].p
    doubted, tested = judge_readings([reading(9, CLEAN, believed=False, remark="a bad probe"), reading(0.9, CLEAN)])
    assert doubted.words == ["no conclusion"]
    assert doubted.remark == "a bad probe"
    assert tested.p == alone
    assert judge_readings([reading(0.9, CLEAN)] * 2)[0].p == pytest.approx(2 * alone)


@pytest.mark.parametrize(("placebos", "words"), [(2, "2 of at least 3"), (3, "from 20 on"), (20, None)])
def test_what_is_unknown_depends_on_how_many_placebos_there_are(placebos: int, words: str | None) -> None:
    said = what_is_unknown(placebos, "placebos")
    assert said is None if words is None else said is not None and words in said
