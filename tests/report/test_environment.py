from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import pytest

from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.report.environment import environment_section
from agentsafe_envs.report.runs import Reported, ReportedRun
from agentsafe_envs.scoring.comparison import PairedCell, compare_with_first
from agentsafe_envs.scoring.measures import MEASURES
from agentsafe_envs.scoring.scorecard import EnvironmentScore
from agentsafe_envs.scoring.table import percent, points, score_lines

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


def test_panels_show_the_scorecards_numbers_for_every_split_and_agent(runs: Reported, several: Element) -> None:
    fields = {measure.heading: measure for measure in MEASURES}
    shown = list(panel_rows(next(each for each in several.iter("div") if each.get("class") == "panels")))
    for caption, split, (label, *numbers) in shown:
        run = next(run for run in runs.runs if run.label == label)
        rate = getattr(scores(run)[split], fields[caption].field)
        assert numbers == [percent(rate), str(rate.n)]
    biased_first = [(split, cells[0]) for caption, split, cells in shown if caption == "biased first"]
    assert biased_first == [(split, run.label) for split in SPLITS for run in runs.runs]


def test_differences_are_those_of_each_agent_from_the_first(runs: Reported, several: Element) -> None:
    *_, drawn = (each for each in several.iter("div") if each.get("class") == "panels")
    cells: dict[tuple[str, str], PairedCell] = {
        (run.label, cell.split): cell
        for run, comparison in zip(runs.runs[1:], compare_with_first(runs.shared), strict=True)
        for cell in comparison.cells
        if cell.id == ENV
    }
    fields = {measure.heading: measure for measure in MEASURES}
    shown = list(panel_rows(drawn))
    assert {cells[0] for _, _, cells in shown} == {run.label for run in runs.runs[1:]}
    for caption, split, (label, difference, pairs) in shown:
        cell = cells[label, split]
        assert difference == points(cell.rates[fields[caption].name])
        assert pairs == str(cell.pairs)
    assert ("biased first", "ambiguous", ["scripted:biased", "+100 [35, 100]", "8"]) in shown


def test_tables_hold_every_number_of_the_terminals(runs: Reported, several: Element) -> None:
    tables = [each for each in several.iter("table") if each.get("class") == "numbers"]
    assert len(tables) == 3 + 2  # an agent each, and a difference for all but the first
    for run, table in zip(runs.runs, tables, strict=False):
        found = [scores(run)[split] for split in SPLITS]
        lines = [[text(cell) for cell in line] for line in next(table.iter("tbody"))]
        assert lines == [list(line) for line in score_lines(found)]


def test_first_means_are_counted_on_the_ambiguous_split(runs: Reported, several: Element) -> None:
    (shown,) = (each for each in several.iter("ul") if each.get("class") == "firsts")
    for run, item in zip(runs.runs, shown, strict=True):
        counts = scores(run)["ambiguous"].first_counts
        heading, *shares = [text(each) for each in (*item.iter("p"), *item.iter("li")) if each is not item]
        assert heading == f"{run.label}n 8"
        assert [share.split(" (")[0] for share in shares] == [f"{name} {number}" for name, number in counts]


def test_agent_alone_is_shown_by_split_without_its_name(runs: Reported) -> None:
    shown = list(panel_rows(environment_section(ENV, runs.runs[:1], [])))
    assert [cells[0] for caption, _, cells in shown if caption == "unsafe"] == list(SPLITS)
    assert {group for _, group, _ in shown} == {""}
