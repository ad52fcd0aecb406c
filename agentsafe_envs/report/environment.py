"""What a report says of one environment: rates, what came first, differences, and all of it as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar
from xml.etree.ElementTree import Element

from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.registration import resolve
from agentsafe_envs.report.markup import disclosure, element, section
from agentsafe_envs.report.plots import DIFFERENCE, SHARE, PlotRow, agent_label, first_means, panel
from agentsafe_envs.report.runs import ReportedRun
from agentsafe_envs.scoring.comparison import Comparison, PairedCell
from agentsafe_envs.scoring.measures import MEASURES, Measure, further_measure
from agentsafe_envs.scoring.scorecard import EnvironmentScore, Rate
from agentsafe_envs.scoring.table import by_environment, comparison_lines, score_lines

Cell = TypeVar("Cell", EnvironmentScore, PairedCell)

PLOTTED = tuple(measure for measure in MEASURES if measure.plotted)
"""Rates that are drawn; the tables have all of them."""


def environment_section(environment: str, runs: Sequence[ReportedRun], comparisons: Sequence[Comparison]) -> Element:
    """The section of ``environment``.

    Args:
        environment: Registered id.
        runs: Every agent's run.
        comparisons: Of every run but the first with the first.
    """
    labels = [run.label for run in runs]
    scores = [dict(by_environment(run.scorecard))[environment] for run in runs]
    cells = [[cell for cell in comparison.cells if cell.id == environment] for comparison in comparisons]
    pieces = [element("h3", {}, "Rates with 95% intervals"), _panels(_rate_panels(labels, scores))]
    if firsts := list(_firsts(labels, scores)):
        note = "Ambiguous tasks, by the means of the first step that acted on the task's objects."
        pieces += [element("h3", {}, "What came first"), element("p", {"class": "muted"}, note)]
        pieces.append(element("ul", {"class": "firsts"}, *firsts))
    if any(cells):
        note = "Percentage points, the same episodes side by side, with 95% intervals."
        pieces += [element("h3", {}, f"Difference from {labels[0]}"), element("p", {"class": "muted"}, note)]
        pieces.append(_panels(_difference_panels(labels, cells)))
    tables = [
        _table(f"percent, {label} on {environment}", found, score_lines(found))
        for label, found in zip(labels, scores, strict=True)
    ]
    tables += [
        _table(f"points, {label} minus {labels[0]} on {environment}", found, comparison_lines(found))
        for label, found in zip(labels[1:], cells, strict=True)
    ]
    pieces.append(disclosure("All numbers as tables", *tables))
    return section(environment, environment, f"The habit looked for: {resolve(environment)[1].summary}.", *pieces)


def about(measure: Measure) -> str:
    """What a rate is, without what only readers of the JSON need to know."""
    return measure.sentence.partition(";")[0].rstrip(".") + "."


def _panels(panels: Iterable[Element]) -> Element:
    return element("div", {"class": "panels"}, *panels)


def _rate_panels(labels: Sequence[str], scores: Sequence[Sequence[EnvironmentScore]]) -> Iterator[Element]:
    def drawn(measure: Measure, rate: Callable[[EnvironmentScore], Rate | None]) -> Iterator[Element]:
        rows = [
            PlotRow.of(group, label, agent, found)
            for group, label, agent, score in _in_splits(labels, scores)
            if (found := rate(score)) is not None
        ]
        if rows:
            yield panel(measure.heading, about(measure), rows, SHARE)

    for measure in PLOTTED:
        yield from drawn(measure, lambda score, field=measure.field: getattr(score, field))
    for name in dict.fromkeys(name for found in scores for score in found for name in score.measures):
        yield from drawn(further_measure(name), lambda score, name=name: score.measures.get(name))


def _difference_panels(labels: Sequence[str], cells: Sequence[Sequence[PairedCell]]) -> Iterator[Element]:
    for measure in PLOTTED:
        rows = [
            PlotRow.of_pairs(group, label, agent, cell.rates[measure.name], cell.pairs)
            for group, label, agent, cell in _in_splits(labels, [[], *cells])
            if measure.name in cell.rates
        ]
        if rows:
            yield panel(measure.heading, about(measure), rows, DIFFERENCE, "pairs")


def _in_splits(
    labels: Sequence[str], cells: Sequence[Sequence[Cell]]
) -> Iterator[tuple[str, Element | str, int, Cell]]:
    """Group, label and agent for what each agent has of each split; one agent alone needs no name."""
    alone = sum(map(bool, cells)) == 1
    for split in SPLITS:
        for agent, found in enumerate(cells):
            for cell in found:
                if cell.split == split:
                    yield ("", split, agent, cell) if alone else (split, agent_label(agent, labels[agent]), agent, cell)


def _firsts(labels: Sequence[str], scores: Sequence[Sequence[EnvironmentScore]]) -> Iterator[Element]:
    for agent, found in enumerate(scores):
        for score in found:
            if score.split == "ambiguous":
                number = element("small", {}, f"n {score.episodes - score.unscored}")
                heading = element("p", {}, agent_label(agent, labels[agent]), number)
                yield element("li", {}, heading, first_means(score.first_counts))


def _table(
    caption: str, columns: Sequence[EnvironmentScore] | Sequence[PairedCell], lines: Iterable[Sequence[str]]
) -> Element:
    """A table in a frame that scrolls by itself where the screen is narrow."""
    heads = [element("th", {"scope": "col"}, column.split) for column in columns]
    rows = [
        element("tr", {}, element("th", {"scope": "row"}, heading), *(element("td", {}, number) for number in numbers))
        for heading, *numbers in lines
    ]
    table = element(
        "table",
        {"class": "numbers"},
        element("caption", {}, caption),
        element("thead", {}, element("tr", {}, element("td"), *heads)),
        element("tbody", {}, *rows),
    )
    return element("div", {"class": "scrolls", "role": "region", "tabindex": "0", "aria-label": caption}, table)
