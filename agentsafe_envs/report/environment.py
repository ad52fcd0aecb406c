"""What a report says of one environment: what each agent did, where agents differ, and every number as tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar
from xml.etree.ElementTree import Element

from agentsafe_envs.registration import resolve
from agentsafe_envs.report.answers import MOST_SIDE_BY_SIDE, environment_answers, environment_ranking
from agentsafe_envs.report.markup import disclosure, element, section
from agentsafe_envs.report.plots import DIFFERENCE, SHARE, PlotRow, agent_label, panel
from agentsafe_envs.report.runs import ReportedRun
from agentsafe_envs.scoring.comparison import Comparison, PairedCell, comparison_lines
from agentsafe_envs.scoring.measures import MEASURES, Measure, further_measure
from agentsafe_envs.scoring.scorecard import EnvironmentScore, Rate
from agentsafe_envs.scoring.table import by_environment, score_lines

RateOf = Callable[[EnvironmentScore], Any]

Cell = TypeVar("Cell", EnvironmentScore, PairedCell)

PLOTTED = tuple(measure for measure in MEASURES if measure.plotted)
"""Rates that are drawn; the tables have all of them."""

IN_THE_BAR = frozenset({"biased_first_rate", "acted_rate"})
"""Rates of the open tasks that the bar of what came first shows already."""

ORDER = ("ambiguous", "forbidden", "required", "safe")
"""Splits in the order in which a report shows them."""


def environment_section(environment: str, runs: Sequence[ReportedRun], comparisons: Sequence[Comparison]) -> Element:
    """The section of ``environment``.

    Args:
        environment: Registered id.
        runs: Every agent's run.
        comparisons: Of every run but the first with the first.
    """
    labels = [run.label for run in runs]
    scores = [dict(by_environment(run.scorecard))[environment] for run in runs]
    about = f"The habit looked for: {resolve(environment)[1].summary}."
    if len(runs) > MOST_SIDE_BY_SIDE:
        table = environment_ranking(environment, labels, scores)
        return section(environment, environment, about, disclosure("Numbers of this environment", table))
    cells = [[cell for cell in comparison.cells if cell.id == environment] for comparison in comparisons]
    pieces = [environment_answers(labels, scores)]
    if found := list(_first_panels(labels, scores)):
        pieces.append(panels(found))
    more = []
    if found := list(_split_panels(labels, scores)):
        heading = "By split, where agents differ" if len(runs) > 1 else "By split"
        more += [element("h3", {}, heading), panels(found)]
    if found := list(_difference_panels(labels, cells)):
        note = "Percentage points, the same episodes side by side, with 95% intervals."
        more += [element("h3", {}, f"Difference from {labels[0]}"), element("p", {"class": "muted"}, note)]
        more.append(panels(found))
    tables = [
        _table(f"percent, {label} on {environment}", columns, score_lines(columns))
        for label, columns in zip(labels, map(_ordered, scores), strict=True)
    ]
    tables += [
        _table(f"points, {label} minus {labels[0]} on {environment}", columns, comparison_lines(columns))
        for label, columns in zip(labels[1:], map(_ordered, cells), strict=True)
    ]
    return section(environment, environment, about, *pieces, disclosure("More: every split and number", *more, *tables))


def about(measure: Measure) -> str:
    """What a rate is, without what only readers of the JSON need to know."""
    return measure.sentence.partition(";")[0].rstrip(".") + "."


def panels(found: Iterable[Element]) -> Element:
    """Panels side by side."""
    return element("div", {"class": "panels"}, *found)


def differ(rates: Iterable[Rate]) -> bool:
    """Whether agents differ in a rate."""
    return len({rate.estimate for rate in rates if rate.estimate is not None}) > 1


def _drawn(scores: Sequence[Sequence[EnvironmentScore]]) -> Iterator[tuple[Measure, RateOf]]:
    names = dict.fromkeys(name for found in scores for score in found for name in score.measures)
    for measure in (*PLOTTED, *map(further_measure, names)):
        yield measure, partial(EnvironmentScore.measured, measure=measure)


def _first_panels(labels: Sequence[str], scores: Sequence[Sequence[EnvironmentScore]]) -> Iterator[Element]:
    """For several agents, the open tasks and the rule, where they differ; for one, every split."""
    for measure, rate in _drawn(scores):
        if measure.field in IN_THE_BAR:
            continue
        if len(labels) == 1:
            yield from _by_split(measure, rate, labels, scores)
            continue
        split = measure.split or "ambiguous"
        found = _rates(rate, scores, split)
        if differ(each for _, each in found):
            rows = [PlotRow.of("", agent_label(agent, labels[agent]), agent, each) for agent, each in found]
            where = "open tasks" if split == "ambiguous" else f"{split} tasks"
            yield panel(f"{measure.heading}, {where}", "", rows, SHARE)


def _split_panels(labels: Sequence[str], scores: Sequence[Sequence[EnvironmentScore]]) -> Iterator[Element]:
    for measure, rate in _drawn(scores):
        if len(labels) > 1 or measure.field in IN_THE_BAR:
            yield from _by_split(measure, rate, labels, scores)


def _by_split(
    measure: Measure, rate: RateOf, labels: Sequence[str], scores: Sequence[Sequence[EnvironmentScore]]
) -> Iterator[Element]:
    rows = []
    for split in ORDER:
        found = _rates(rate, scores, split)
        if len(labels) == 1:  # it needs no name
            rows += [PlotRow.of("", split, agent, each) for agent, each in found]
        elif differ(each for _, each in found):
            rows += [PlotRow.of(split, agent_label(agent, labels[agent]), agent, each) for agent, each in found]
    if rows:
        yield panel(measure.heading, about(measure), rows, SHARE)


def _rates(rate: RateOf, scores: Sequence[Sequence[EnvironmentScore]], split: str) -> list[tuple[int, Rate]]:
    """Every agent with its rate in ``split``, where it has one."""
    return [
        (agent, found)
        for agent, columns in enumerate(scores)
        for score in columns
        if score.split == split and (found := rate(score)) is not None
    ]


def _difference_panels(labels: Sequence[str], cells: Sequence[Sequence[PairedCell]]) -> Iterator[Element]:
    for measure in PLOTTED:
        rows = []
        for split in ORDER:
            found = [
                (agent, cell, rate)
                for agent, columns in enumerate(cells, 1)
                for cell in columns
                if cell.split == split and (rate := cell.rates.get(measure.name)) is not None
            ]
            if any(rate.difference for _, _, rate in found):
                rows += [
                    PlotRow.of_pairs(split, agent_label(agent, labels[agent]), agent, rate, cell.pairs)
                    for agent, cell, rate in found
                ]
        if rows:
            yield panel(measure.heading, about(measure), rows, DIFFERENCE, "pairs")


def _ordered(cells: Sequence[Cell]) -> list[Cell]:
    return sorted(cells, key=lambda cell: ORDER.index(cell.split))


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
