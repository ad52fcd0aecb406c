from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import pytest

from agentsafe_envs.report.environment import ORDER, environment_section
from agentsafe_envs.report.runs import Reported, ReportedRun
from agentsafe_envs.scoring.comparison import PairedCell, compare_with_first, points
from agentsafe_envs.scoring.measures import MEASURES
from agentsafe_envs.scoring.scorecard import EnvironmentScore
from agentsafe_envs.scoring.table import headline_text, percent, score_lines

from .conftest import SUITE

ENV = SUITE.environments[0]


def text(found: Element) -> str:
    return "".join(found.itertext())


def panel_rows(drawn: Element) -> Iterator[tuple[str, str, list[str]]]:
    """Caption, heading of the group, and label with numbers, of every row of every panel."""
    for table in drawn.iter("table"):
        if table.get("class") != "panel":
            continue
        caption = text(next(table.iter("strong")))
        for body in table.iter("tbody"):
            group = ""
            for line in body:
                if line.get("class") == "group":
                    group = text(line)
                else:
                    yield caption, group, [text(cell) for cell in line if cell.get("class") != "plot"]


def scores(run: ReportedRun) -> dict[str, EnvironmentScore]:
    return {score.split: score for score in run.scorecard.environments if score.id == ENV}


@pytest.fixture(scope="module")
def several(runs: Reported) -> Element:
    return environment_section(ENV, runs.runs, compare_with_first(runs.shared))


def shown_panels(section: Element) -> list[list[tuple[str, str, list[str]]]]:
    """Of every group of panels its rows."""
    return [list(panel_rows(each)) for each in section.iter("div") if each.get("class") == "panels"]


def test_first_panels_show_open_tasks_and_the_rule_where_agents_differ(runs: Reported, several: Element) -> None:
    first, *_ = shown_panels(several)
    fields = {measure.heading: measure for measure in MEASURES}
    assert [caption for caption, _, cells in first if cells[0] == "scripted:biased"] == [
        "unsafe, open tasks",
        "safe success, open tasks",
        "broke the rule, forbidden tasks",
    ]
    for caption, group, (label, *numbers) in first:
        heading, _, where = caption.partition(", ")
        run = next(run for run in runs.runs if run.label == label)
        split = "ambiguous" if where == "open tasks" else "forbidden"
        rate = scores(run)[split].measured(fields[heading])
        assert (group, numbers) == ("", [percent(rate), str(rate.n)])


def test_further_panels_show_every_split_in_which_agents_differ_open_tasks_first(
    runs: Reported, several: Element
) -> None:
    _, shown, _ = shown_panels(several)
    fields = {measure.heading: measure for measure in MEASURES}
    for caption, split, (label, *numbers) in shown:
        run = next(run for run in runs.runs if run.label == label)
        rate = scores(run)[split].measured(fields[caption])
        assert numbers == [percent(rate), str(rate.n)]
    biased_first = [(split, cells[0]) for caption, split, cells in shown if caption == "biased first"]
    differing = ["ambiguous", "forbidden"]  # of required tasks the two agents that act do all by the biased means
    assert biased_first == [(split, run.label) for split in differing for run in runs.runs]


def test_agents_that_do_not_differ_have_no_panels(runs: Reported) -> None:
    twice = (runs.runs[0], runs.runs[0])
    same = runs.shared._replace(runs=(runs.shared.runs[0],) * 2)
    assert shown_panels(environment_section(ENV, twice, compare_with_first(same))) == []


def test_more_agents_than_can_be_drawn_are_the_rows_of_a_table(runs: Reported) -> None:
    many = runs.runs * 3
    section = environment_section(ENV, many, [])
    assert shown_panels(section) == []
    (table,) = section.iter("table")
    assert table.get("class") == "numbers sortable"
    rows = [[text(cell) for cell in line] for line in next(table.iter("tbody"))]
    assert [row[0] for row in rows] == [run.label for run in many]
    assert [row[1] for row in rows[:3]] == ["0 [0-32]", "no conclusion", "100 [68-100]"]


def test_differences_are_those_of_each_agent_from_the_first(runs: Reported, several: Element) -> None:
    *_, shown = shown_panels(several)
    cells: dict[tuple[str, str], PairedCell] = {
        (run.label, cell.split): cell
        for run, comparison in zip(runs.runs[1:], compare_with_first(runs.shared), strict=True)
        for cell in comparison.cells
        if cell.id == ENV
    }
    fields = {measure.heading: measure for measure in MEASURES}
    assert {cells[0] for _, _, cells in shown} == {run.label for run in runs.runs[1:]}
    for caption, split, (label, difference, pairs) in shown:
        cell = cells[label, split]
        assert difference == points(cell.rates.get(fields[caption].name), cell.pairs)
        assert pairs == str(cell.pairs)
    assert ("biased first", "ambiguous", ["scripted:biased", "+100 [35, 100]", "8"]) in shown


def test_tables_hold_every_number_of_the_terminals(runs: Reported, several: Element) -> None:
    tables = [each for each in several.iter("table") if each.get("class") == "numbers"]
    assert len(tables) == 3 + 2  # an agent each, and a difference for all but the first
    for run, table in zip(runs.runs, tables, strict=False):
        found = [scores(run)[split] for split in ORDER]
        lines = [[text(cell) for cell in line] for line in next(table.iter("tbody"))]
        assert lines == [list(line) for line in score_lines(found)]


def test_each_agent_has_a_bar_of_what_came_first_and_a_sentence(runs: Reported, several: Element) -> None:
    (shown,) = (each for each in several.iter("ul") if each.get("class") == "firsts")
    for run, item in zip(runs.runs, shown, strict=True):
        counts = scores(run)["ambiguous"].first_counts
        shares = [text(each).split(" (")[0] for each in item.iter("li") if each is not item]
        assert shares == [f"{name} {number}" for name, number in counts if number]
        (said,) = (text(each) for each in item.iter("p"))
        assert said == headline_text(list(scores(run).values()))


def test_agent_alone_is_shown_by_split_without_its_name(runs: Reported) -> None:
    shown = list(panel_rows(environment_section(ENV, runs.runs[:1], [])))
    assert [cells[0] for caption, _, cells in shown if caption == "unsafe"] == list(ORDER)
    assert {group for _, group, _ in shown} == {""}
