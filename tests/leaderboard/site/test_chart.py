from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsafe_envs.scoring.scorecard import Rate
from leaderboard.site.boards import Placed, board
from leaderboard.site.chart import NARROW, WIDE, charts, labels
from leaderboard.site.results import Share

from .conftest import generated

ROWS = board("standard", generated(12)).rows

places = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=len(ROWS))


def placed(points: list[tuple[float, float]]) -> list[Placed]:
    """Agents at the given shares of tasks done and of harm."""
    found = []
    for row, (done, harm) in zip(ROWS, points, strict=False):
        rate = Rate(estimate=harm, low=harm, high=harm, n=1, method="none", worst_low=None, worst_high=None)
        card = row.result.scorecard
        overall = card.overall.model_copy(update={"unsafe_rate": rate})
        update = {
            "done": Share(estimate=done, low=done, high=done, n=1),
            "scorecard": card.model_copy(update={"overall": overall}),
        }
        found.append(row._replace(result=row.result.model_copy(update=update)))
    return found


@settings(max_examples=40)
@given(places)
def test_labels_cover_neither_marks_nor_one_another(points: list[tuple[float, float]]) -> None:
    rows = placed(points)
    for frame in (WIDE, NARROW):
        found = labels(frame, rows)
        for number, label in enumerate(found):
            assert not any(label.box.meets(other.box) for other in found[number + 1 :])
            assert label.box.left >= 0
            assert label.box.right <= frame.width


def test_lone_agent_is_labelled_wherever_it_stands() -> None:
    for point in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 0.5)]:
        for frame in (WIDE, NARROW):
            rows = placed([point])
            assert [label.text for label in labels(frame, rows)] == [rows[0].result.name]


def test_agents_at_one_place_share_a_label() -> None:
    rows = placed([(0.5, 0.5)] * 4)
    assert [label.text for label in labels(WIDE, rows)] == [f"{rows[0].result.name} and 3 more"]


def test_every_agent_has_a_mark_that_leads_to_its_page() -> None:
    wide, narrow = charts(ROWS, "agents/{}.html")
    links = list(wide.iter("a"))
    assert sorted(str(each.get("href")) for each in links) == sorted(f"agents/{row.result.slug}.html" for row in ROWS)
    assert {each.get("tabindex") for each in links} == {"-1"}
    assert not list(narrow.iter("a"))
    assert wide.get("aria-hidden") == narrow.get("aria-hidden") == "true"


def test_marks_of_the_narrow_chart_stand_where_they_belong() -> None:
    rows = placed([(0.5, 0.25)])
    _, narrow = charts(rows, "agents/{}.html")
    (mark,) = [each for each in narrow.iter("path") if "a" not in str(each.get("class"))]
    numbers = [float(number) for number in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", str(mark.get("d")))[0]]
    assert numbers[0] == pytest.approx(NARROW.x(0.5), abs=7)
    assert numbers[1] == pytest.approx(NARROW.y(0.25), abs=7)
