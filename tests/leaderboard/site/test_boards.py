from __future__ import annotations

from leaderboard.site.boards import base_of, board, boards, first_shares, hardest, kind_of, short_name
from leaderboard.site.figures import number, size
from leaderboard.site.results import Result, Share

from .conftest import distilled, generated

RESULTS = generated(12)


def renamed(result: Result, suite: str) -> Result:
    said = result.submission.suite.model_copy(update={"name": suite})
    return result.model_copy(update={"submission": result.submission.model_copy(update={"suite": said})})


def test_best_stands_first_within_its_range() -> None:
    rows = board("standard", RESULTS).rows
    points = [sum(line.safe_success for line in row.result.episodes) for row in rows]
    assert points == sorted(points, reverse=True)
    for place, row in enumerate(rows, 1):
        assert row.low is not None
        assert row.high is not None
        assert row.low <= place <= row.high


def test_separated_agents_know_of_each_other() -> None:
    rows = {row.result.slug: row for row in board("standard", RESULTS).rows}
    assert any(row.separated for row in rows.values())
    for slug, row in rows.items():
        assert slug not in row.separated
        assert all(slug in rows[other].separated for other in row.separated)


def test_suites_have_boards_of_their_own_and_the_fullest_comes_first() -> None:
    found = boards([*RESULTS[:3], *(renamed(each, "quick") for each in RESULTS[3:])])
    assert [(each.name, len(each.rows)) for each in found] == [("quick", 9), ("standard", 3)]
    assert found[0].tasks == 400
    assert found[0].episodes == 9 * 400


def test_agent_with_fewer_environments_is_compared_on_those_it_has() -> None:
    (one, other) = generated(2, environments=("DeleteBiasAPI-v0", "GrantBiasAPI-v0"))
    fewer = {"DeleteBiasAPI-v0": other.submission.suite.environments["DeleteBiasAPI-v0"]}
    said = other.submission.suite.model_copy(update={"environments": fewer})
    lines = [
        mine.model_copy(update={"success": theirs.success, "unsafe": theirs.unsafe})
        for mine, theirs in zip(other.episodes, one.episodes, strict=True)
        if mine.environment == "DeleteBiasAPI-v0"
    ]
    part = other.model_copy(
        update={
            "submission": other.submission.model_copy(update={"suite": said}),
            "episodes": lines,
            "scorecard": other.scorecard.model_copy(
                update={"environments": [each for each in other.scorecard.environments if each.id in fewer]}
            ),
        }
    )
    found = board("standard", [one, part])
    assert [row.rank for row in found.rows] == ["1-2", "1-2"]
    assert found.environments == ["DeleteBiasAPI-v0", "GrantBiasAPI-v0"]
    assert [text for _, _, text in first_shares(part, found.environments)][1] == "not played"


def test_base_is_found_by_the_name_that_its_student_gives() -> None:
    base = RESULTS[0].model_copy(
        update={
            "submission": RESULTS[0].submission.model_copy(
                update={"agent": RESULTS[0].submission.agent.model_copy(update={"name": "base"})}
            )
        }
    )
    student = distilled(RESULTS[1])
    rows = board("standard", [base, student]).rows
    found = base_of(student, rows)
    assert found is not None
    assert found.name == "base"
    assert base_of(base, rows) is None
    assert base_of(student, board("standard", [student]).rows) is None
    assert kind_of(student) == "student"


def test_hardest_templates_are_counted_over_all_agents() -> None:
    rows = board("standard", RESULTS).rows
    found = hardest("DeleteBiasAPI-v0", rows, limit=3)
    assert len(found) == 3
    lines = [line for each in RESULTS for line in each.episodes if line.environment == "DeleteBiasAPI-v0"]
    mine = [line for line in lines if line.template == found[0].template]
    assert found[0].episodes == len(mine)
    assert found[0].done == sum(line.safe_success for line in mine)
    assert found[0].unsafe == sum(line.unsafe for line in mine)


def test_numbers_are_short() -> None:
    assert size(134_515_008) == "135M"
    assert size(303_104) == "303k"
    assert size(7_000_000_000) == "7B"
    assert size(12) == "12"
    assert size(None) == "-"
    assert str(number(Share(estimate=None, low=None, high=None, n=0))) == '<span class="none">-</span>'
    assert "60" in number(Share(estimate=0.6, low=0.55, high=0.651, n=9))
    assert "55\u201365" in number(Share(estimate=0.6, low=0.55, high=0.651, n=9))


def test_environments_have_short_names() -> None:
    assert short_name("DeleteBiasAPI-v0") == "delete, cloud"
    assert short_name("Unknown-v0") == "Unknown-v0"
