from __future__ import annotations

from xml.etree.ElementTree import Element

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.report.plots import DIFFERENCE, SHAPES, SHARE, PlotRow, agent_label, first_means, panel
from agentsafe_envs.scoring.scorecard import FirstCounts, Rate


def row(group: str = "", agent: int = 0, worst: tuple[float, float] | None = None) -> PlotRow:
    found = Rate(
        estimate=0.25,
        low=0.1,
        high=0.5,
        n=9,
        method="bootstrap",
        worst_low=worst[0] if worst else None,
        worst_high=worst[1] if worst else None,
    )
    return PlotRow.of(group, "mine", agent, found)


def lines(drawn: Element, name: str) -> list[tuple[str | None, str | None]]:
    return [(each.get("x1"), each.get("x2")) for each in drawn.iter("line") if each.get("class") == name]


def texts(drawn: Element, tag: str) -> list[str]:
    return ["".join(each.itertext()) for each in drawn.iter(tag)]


def spots(drawn: Element) -> list[str | None]:
    return [each.get("x") for each in drawn.iter("svg") if each.get("class") == "spot"]


def test_interval_is_drawn_where_its_numbers_are() -> None:
    drawn = panel("caption", "about", [row()], SHARE)
    assert lines(drawn, "range") == [("10.00%", "50.00%"), ("10.00%", "10.00%"), ("50.00%", "50.00%")]
    assert spots(drawn) == ["25.00%"]
    assert texts(drawn, "caption") == ["captionabout"]
    assert texts(drawn, "td")[1:3] == ["25 [10-50]", "9"]


def test_axis_of_differences_has_its_zero_in_the_middle() -> None:
    drawn = panel("caption", "about", [row()], DIFFERENCE, "pairs")
    assert spots(drawn) == ["62.50%"]
    assert lines(drawn, "zero") == [("50.00%", "50.00%")]
    assert texts(drawn, "text") == ["-100", "0", "+100"]
    assert texts(drawn, "th")[3] == "pairs"


def test_without_data_there_is_a_dash_and_no_mark() -> None:
    nothing = Rate(estimate=None, low=None, high=None, n=0, method="none", worst_low=None, worst_high=None)
    drawn = panel("caption", "about", [PlotRow.of("", "mine", 0, nothing)], SHARE)
    assert (spots(drawn), lines(drawn, "range")) == ([], [])
    assert texts(drawn, "td")[1:3] == ["-", "0"]


def test_worst_case_of_unscored_episodes_is_drawn_and_written() -> None:
    drawn = panel("caption", "about", [row(worst=(0.2, 0.6))], SHARE)
    assert lines(drawn, "worst") == [("20.00%", "60.00%")]
    assert "worst case 20-60" in texts(drawn, "td")[1]
    assert lines(panel("caption", "about", [row()], SHARE), "worst") == []


def test_unclear_bounds_extend_the_interval_by_a_thin_line() -> None:
    found = Rate(
        estimate=0.25,
        low=0.1,
        high=0.5,
        n=9,
        method="bootstrap",
        worst_low=None,
        worst_high=None,
        unclear_low=0.25,
        unclear_high=0.75,
    )
    drawn = panel("caption", "", [PlotRow.of("", "mine", 0, found)], SHARE)
    assert lines(drawn, "unclear") == [("10.00%", "75.00%"), ("25.00%", "25.00%"), ("75.00%", "75.00%")]
    assert lines(drawn, "range")[0] == ("10.00%", "50.00%")
    assert "unclear 25-75" in texts(drawn, "td")[1]
    assert texts(drawn, "caption") == ["caption"]


def test_neighbours_of_one_group_share_a_heading() -> None:
    drawn = panel("caption", "about", [row("safe"), row("safe", 1), row("ambiguous")], SHARE)
    assert [texts(body, "th")[0] for body in drawn.iter("tbody")] == ["safe", "ambiguous"]
    assert [len(list(body)) for body in drawn.iter("tbody")] == [3, 2]


def looks(agent: int) -> tuple[str | None, str | None]:
    drawn = agent_label(agent, "a")
    return next(drawn.iter("svg")).get("class"), next(drawn.iter("path")).get("d")


def test_agents_differ_in_shape_and_not_only_in_colour() -> None:
    assert len({looks(agent)[1] for agent in range(len(SHAPES))}) == len(SHAPES)
    assert len({looks(agent) for agent in range(36)}) == 36


def test_long_name_may_break_and_stays_the_same_text() -> None:
    label = agent_label(0, "hf:some/folder/model")
    assert "".join(label.itertext()) == "hf:some/folder/model"
    assert len(list(label.iter("wbr"))) == 4


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 300))
def test_shares_fill_the_bar_and_name_every_number(biased: int, alternative: int, none: int) -> None:
    drawn = first_means(FirstCounts(biased=biased, alternative=alternative, none=none))
    total = biased + alternative + none
    widths = [float((each.get("width") or "").removesuffix("%")) for each in drawn.iter("rect")]
    assert sum(widths) == pytest.approx(100 if total else 0, abs=0.02)
    assert len(widths) == sum(number > 0 for number in (biased, alternative, none))
    shown = texts(drawn, "li")
    numbers = {"biased": biased, "alternative": alternative, "none": none}
    assert [text.split(" (")[0] for text in shown] == [f"{name} {number}" for name, number in numbers.items() if number]
