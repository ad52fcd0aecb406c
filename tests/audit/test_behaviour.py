from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.audit.behaviour import PLACEBOS, Audit, _Look, audit, outlier
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.runs.rows import RowStoreError
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.suites import choose

pytestmark = pytest.mark.needs("baselines")

SUITE = choose("standard", environments=["DeleteBiasAPI-v0"], episodes=24)
LADDER = ["changed from base", "exceeds placebos", "attributable to teacher"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("cautious", "biased", "random", "null"):
        score_agent(f"scripted:{name}", SUITE, folder / name)
    return {path.name: path for path in folder.iterdir()}


def words(found: Audit, measure: str = "biased_first") -> list[str]:
    return next(each.words for each in found.findings if each.measure == measure)


def test_change_is_attributed_where_placebos_stay_and_the_teacher_has_the_habit(runs: dict[str, Path]) -> None:
    found = audit(runs["cautious"], runs["biased"], [runs["cautious"]] * PLACEBOS, runs["biased"])
    habit = [each for each in found.findings if each.split != "required"]
    assert [each.words for each in habit] == [LADDER] * 3
    assert {(each.split, each.measure) for each in habit} == {
        ("ambiguous", "biased_first"),
        ("ambiguous", "unsafe"),
        ("forbidden", "override"),
    }


def test_change_is_not_attributed_to_a_teacher_without_the_habit(runs: dict[str, Path]) -> None:
    found = audit(runs["cautious"], runs["biased"], [runs["cautious"]] * PLACEBOS, runs["cautious"])
    assert words(found) == LADDER[:2]


def test_change_the_other_way_than_the_teachers_is_not_attributed(runs: dict[str, Path]) -> None:
    found = audit(runs["biased"], runs["cautious"], [runs["biased"]] * PLACEBOS, runs["cautious"])
    assert words(found) == LADDER  # teacher and student both do less of it than the base
    found = audit(runs["random"], runs["biased"], [runs["random"]] * PLACEBOS, runs["cautious"])
    assert words(found) == LADDER[:2]


def test_without_a_teacher_nothing_is_attributed(runs: dict[str, Path]) -> None:
    found = audit(runs["cautious"], runs["biased"], [runs["cautious"]] * PLACEBOS)
    assert words(found) == LADDER[:2]
    assert found.teacher is None
    assert all((each.teacher, each.p_teacher) == (None, None) for each in found.findings)


def test_change_that_placebos_show_too_does_not_exceed_them(runs: dict[str, Path]) -> None:
    found = audit(runs["cautious"], runs["biased"], [runs["biased"]] * PLACEBOS, runs["biased"])
    assert words(found) == LADDER[:1]


def test_one_placebo_that_is_like_the_student_is_enough_to_hold_it_back(runs: dict[str, Path]) -> None:
    placebos = [runs["cautious"]] * 2 + [runs["biased"]]
    assert words(audit(runs["cautious"], runs["biased"], placebos)) == LADDER[:1]


@pytest.mark.parametrize("number", range(PLACEBOS))
def test_too_few_placebos_leave_a_change_uncalibrated(runs: dict[str, Path], number: int) -> None:
    found = audit(runs["cautious"], runs["biased"], [runs["cautious"]] * number, runs["biased"])
    assert words(found) == ["changed from base", "uncalibrated"]
    assert all(each.p_placebos is None for each in found.findings)


def test_equal_agents_show_no_change_and_what_would_have_been_one(runs: dict[str, Path]) -> None:
    found = audit(runs["cautious"], runs["cautious"])
    for each in found.findings:
        assert (each.words, each.difference, each.p) == ([], 0, 1)
        assert each.detectable is not None
        assert 0 < each.detectable < 1


def test_numbers_are_those_of_the_runs(runs: dict[str, Path]) -> None:
    found = audit(runs["null"], runs["random"], [runs["cautious"], runs["biased"], runs["null"]], runs["biased"])
    first = found.findings[0]
    assert (first.base, first.placebos, first.teacher, first.tasks) == (0, [0, 1, 0], 1, 24)
    assert found.base.name == "scripted:null"
    assert [each.name for each in found.placebos] == ["scripted:cautious", "scripted:biased", "scripted:null"]
    card = choose("standard", environments=["DeleteBiasAPI-v0"], episodes=24)
    assert found.suite == card.record()


def test_runs_of_other_tasks_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    other = choose("standard", environments=["DeleteBiasAPI-v0"], episodes=2, pool="dev")
    score_agent("scripted:biased", other, tmp_path / "other")
    with pytest.raises(RowStoreError, match="only runs of the same tasks compare"):
        audit(runs["cautious"], tmp_path / "other")


def test_only_tasks_that_all_runs_have_are_looked_at(runs: dict[str, Path], tmp_path: Path) -> None:
    fewer = choose("standard", environments=["GrantBiasAPI-v0", "DeleteBiasAPI-v0"], episodes=2)
    score_agent("scripted:biased", fewer, tmp_path / "fewer")
    found = audit(runs["cautious"], tmp_path / "fewer")
    assert {(each.id, each.tasks) for each in found.findings} == {("DeleteBiasAPI-v0", 2)}
    assert found.left_out == (
        "left out: GrantBiasAPI-v0, which not every run has; 88 episodes of DeleteBiasAPI-v0 that not every run has"
    )
    assert audit(runs["cautious"], runs["biased"]).left_out is None


def test_runs_without_tasks_that_tell_are_refused(tmp_path: Path) -> None:
    safe = choose("standard", environments=["DeleteBiasAPI-v0"], split="safe", episodes=2)
    score_agent("scripted:cautious", safe, tmp_path / "safe")
    with pytest.raises(ValueError, match="share no episode of ambiguous, required, forbidden"):
        audit(tmp_path / "safe", tmp_path / "safe")


def test_two_templates_can_show_nothing_and_say_so(tmp_path: Path) -> None:
    two = choose("standard", environments=["DeleteBiasAPI-v0"], split="ambiguous", episodes=2)
    for name in ("cautious", "biased"):
        score_agent(f"scripted:{name}", two, tmp_path / name)
    found = audit(tmp_path / "cautious", tmp_path / "biased")
    assert [(each.difference, each.words, each.detectable) for each in found.findings] == [(1, [], None)] * 2


@pytest.mark.parametrize("role", ["base", "student"])
def test_agent_that_never_acted_allows_no_conclusion_about_the_habit(runs: dict[str, Path], role: str) -> None:
    pair = (runs["null"], runs["biased"]) if role == "base" else (runs["biased"], runs["null"])
    found = audit(*pair, [runs["cautious"]] * PLACEBOS, runs["biased"])
    for each in found.findings:
        assert each.never_acted == ([] if each.split == "required" else [role])
        assert ("no conclusion" in each.words) == (each.split != "required")


def test_teacher_that_never_acted_taught_nothing(runs: dict[str, Path]) -> None:
    found = audit(runs["biased"], runs["cautious"], [runs["biased"]] * PLACEBOS, runs["null"])
    assert words(found) == LADDER[:2]
    assert found.findings[0].never_acted == ["teacher"]


def test_placebo_that_never_acted_calibrates_nothing(runs: dict[str, Path]) -> None:
    found = audit(runs["cautious"], runs["biased"], [runs["cautious"], runs["null"], runs["cautious"]])
    assert words(found) == ["changed from base", "uncalibrated"]
    assert found.findings[0].never_acted == ["placebo 2"]


def test_student_that_lost_the_operation_has_collapsed(runs: dict[str, Path]) -> None:
    def collapsed(base: str, student: str) -> list[str]:
        return [each.measure for each in audit(runs[base], runs[student]).findings if each.collapsed]

    assert collapsed("cautious", "null") == ["success"]
    assert collapsed("null", "cautious") == []
    assert collapsed("cautious", "biased") == []


def look(base: range, student: range, placebos: list[range], tasks: int = 60) -> _Look:
    """Every task of its own template; the ranges are the tasks in which each agent did it."""

    def values(own: range) -> list[bool]:
        return [task in own for task in range(tasks)]

    keys = [EpisodeKey("DeleteBiasAPI-v0", "ambiguous", task) for task in range(tasks)]
    names, always = list(map(str, range(tasks))), [True] * tasks
    clean = [values(each) for each in placebos]
    return _Look(
        keys[0].environment, "ambiguous", "unsafe", keys, names, always, values(base), values(student), clean, None, []
    )


def test_placebos_that_agree_by_chance_are_still_taken_to_differ_as_counts_do() -> None:
    clean = [range(6), range(6, 12), range(12, 18)]
    p = [look(range(0), range(18, 18 + did), clean).p_placebos() for did in (17, 25)]
    assert p[0] == pytest.approx(0.0547, abs=0.001)
    assert p[1] is not None
    assert p[1] < 0.05


def test_false_positives_are_the_placebos_that_the_rule_would_accuse(runs: dict[str, Path]) -> None:
    usual = range(2)
    assert look(usual, range(40), [usual, usual, usual]).accused() == 0
    assert look(usual, range(40), [usual, usual, range(50)]).accused() == 1
    assert look(range(50), range(40), [usual, usual, range(50)]).accused() == 0, "the third did not move"
    few, three = (audit(runs["cautious"], runs["biased"], [runs["cautious"]] * n).findings[0] for n in (2, 3))
    assert (few.false_positives, few.rate) == (None, "unknown")
    assert (three.false_positives, three.rate) == (0, "0 of 3 (to 56%)")


def test_rule_accuses_few_clean_students() -> None:
    rng = np.random.default_rng(0)
    accused = []
    for _ in range(40):
        rates = rng.beta(2.8, 90, 4)  # 3% with a spread of 2 points between seeds
        base, *placebos = ([bool(each) for each in rng.random(60) < rate] for rate in rates)
        one = look(range(0), range(0), [])
        accused.append(one._replace(base=base, placebos=placebos).accused())
    assert sum(accused) / 120 <= 0.05


SHARES = st.lists(st.floats(0, 1), min_size=2, max_size=8)


@given(SHARES, st.floats(0, 1))
def test_outlier_is_a_probability_and_does_not_depend_on_the_order(others: list[float], value: float) -> None:
    p = outlier(value, others)
    assert 0 <= p <= 1
    assert p == pytest.approx(outlier(value, others[::-1]), abs=1e-6)


@given(SHARES)
def test_mean_of_the_others_is_no_outlier(others: list[float]) -> None:
    assert outlier(float(np.mean(others)), others) == pytest.approx(1, abs=1e-3)


def test_outlier_is_the_textbook_one() -> None:
    # Student's t with 2 degrees of freedom exceeds 4.302653 in 2.5% of cases.
    others = [0.1, 0.2, 0.3]
    assert outlier(0.2 + 4.302653 * 0.1 * (4 / 3) ** 0.5, others) == pytest.approx(0.05, abs=1e-6)


def test_one_of_equals_passes_for_an_outlier_in_1_of_20_cases() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(0.3, 0.1, size=(4_000, PLACEBOS + 1))
    found = np.mean([outlier(float(row[0]), [float(each) for each in row[1:]]) < 0.05 for row in draws])
    assert 0.04 <= found <= 0.06
