"""Intervals and shares as pictures: SVG whose lengths are percentages, so it fits any width.

Every picture stands in a table or list beside the numbers it draws, and is hidden from screen
readers. Colour never carries a meaning alone: agents differ in shape too, means in pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple
from xml.etree.ElementTree import Element

from agentsafe_envs.report.markup import element, extend
from agentsafe_envs.scoring.comparison import PairedRate, points
from agentsafe_envs.scoring.scorecard import FirstCounts, Rate
from agentsafe_envs.scoring.table import percent

SHAPES = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z",
    "M-4.5-4.5h9v9h-9z",
    "M0-5.5L5.5 4.5h-11z",
    "M0-6L6 0L0 6L-6 0z",
    "M0 5.5L5.5-4.5h-11z",
    "M-1.8-5.5h3.6v3.7h3.7v3.6h-3.7v3.7h-3.6v-3.7h-3.7v-3.6h3.7z",
)
"""Outlines around the origin, one an agent; page.css has as many colours."""

COLOURS = len(SHAPES)

MEANS = ("biased", "alternative", "none")
COLUMNS = ("label", "plot", "number", "count")


class PlotRow(NamedTuple):
    """One interval of a panel.

    Attributes:
        group: What it has in common with its neighbours, as a heading over them; empty for none.
        label: What stands before it.
        agent: Number of the agent, from 0; it decides colour and shape.
        estimate: Where the mark is; None without data.
        low: Lower end of the interval.
        high: Upper end of the interval.
        worst: What unscored episodes could make of the estimate; None where there are none.
        unclear: Estimates with everything unclear taken for harmless and for harm; None where both are the same.
        text: Estimate and interval as the tables write them.
        n: Episodes, or pairs of them, behind it.
    """

    group: str
    label: Element | str
    agent: int
    estimate: float | None
    low: float | None
    high: float | None
    worst: tuple[float, float] | None
    unclear: tuple[float, float] | None
    text: str
    n: int

    @classmethod
    def of(cls, group: str, label: Element | str, agent: int, rate: Rate) -> PlotRow:
        """A rate of an agent."""
        worst = None if rate.worst_low is None or rate.worst_high is None else (rate.worst_low, rate.worst_high)
        unclear = None
        if rate.unclear_low is not None and rate.unclear_high is not None:
            unclear = (rate.unclear_low, rate.unclear_high)
        return cls(group, label, agent, rate.estimate, rate.low, rate.high, worst, unclear, percent(rate), rate.n)

    @classmethod
    def of_pairs(cls, group: str, label: Element | str, agent: int, rate: PairedRate, pairs: int) -> PlotRow:
        """A difference of an agent from the first."""
        return cls(group, label, agent, rate.difference, rate.low, rate.high, None, None, points(rate, pairs), pairs)


class Axis(NamedTuple):
    """What a panel's intervals are drawn along.

    Attributes:
        least: Value at the left end; 1 is at the right.
        ticks: Values with a line, and what stands below it.
        zero: Value of the line that is stressed; None for none.
    """

    least: float
    ticks: Sequence[tuple[float, str]]
    zero: float | None = None

    def place(self, value: float) -> str:
        """How far from the left end, in percent."""
        return f"{100 * (value - self.least) / (1 - self.least):.2f}%"


SHARE = Axis(0.0, ((0.0, "0"), (0.25, ""), (0.5, "50"), (0.75, ""), (1.0, "100")))
DIFFERENCE = Axis(-1.0, ((-1.0, "-100"), (-0.5, ""), (0.0, "0"), (0.5, ""), (1.0, "+100")), zero=0.0)


def agent_label(agent: int, name: str) -> Element:
    """Shape and name of an agent."""
    attributes = {"class": f"marker {_colour(agent)}", "viewBox": "-7 -7 14 14", "data-marker": str(agent)}
    marker = element("svg", {**attributes, "aria-hidden": "true"}, element("path", {"d": _shape(agent)}))
    text = element("span")
    for piece in re.split(r"(?<=[:/])", name):  # where a long name may break
        extend(text, (piece, element("wbr")))
    return element("span", {"class": "agent"}, marker, text)


def panel(caption: str, about: str, rows: Iterable[PlotRow], axis: Axis, count: str = "n") -> Element:
    """A table of intervals, a row for each.

    Args:
        caption: What was measured.
        about: The same in a sentence; empty for none.
        rows: Those of one group one after the other.
        axis: What they are drawn along.
        count: What the column with the numbers of episodes is called.
    """
    unit = "percent" if axis.zero is None else "points"
    heads = [
        element("th", {"scope": "col"}, element("span", {"class": "unseen"}, name))
        for name in ("", "interval", unit, count)
    ]
    bodies = [_body(group, members, axis) for group, members in groupby(rows, key=lambda row: row.group)]
    scale = element("td", {"class": "plot"}, _scale(axis))
    units = [element("td", {"class": name}, text) for name, text in (("number", unit), ("count", count))]
    return element(
        "table",
        {"class": "panel"},
        element("caption", {}, element("strong", {}, caption), *([element("span", {}, about)] if about else [])),
        element("colgroup", {}, *(element("col", {"class": f"{name}-column"}) for name in COLUMNS)),
        element("thead", {}, element("tr", {}, *heads)),
        *bodies,
        element("tfoot", {"aria-hidden": "true"}, element("tr", {}, element("td"), scale, *units)),
    )


def first_means(counts: FirstCounts) -> Element:
    """A bar of the episodes by their first means, with the numbers of those that there are."""
    found = {name: getattr(counts, name) for name in MEANS}
    total = sum(found.values())
    bar = element("svg", {"class": "shares", "aria-hidden": "true"})
    start = 0.0
    for name, number in found.items():
        if number:
            share = 100 * number / total
            place = {"x": f"{start:.2f}%", "width": f"{share:.2f}%", "height": "100%"}
            bar.append(element("rect", {**place, "class": f"means-{name}"}))
            start += share
    parts = [
        element("li", {}, element("span", {"class": f"swatch means-{name}"}), _share(name, number, total))
        for name, number in found.items()
        if number
    ]
    return element("div", {"class": "first"}, bar, element("ul", {}, *parts))


def patterns() -> Element:
    """What :func:`first_means` fills an alternative with; once a page."""
    line = element("path", {"d": "M-1 7L7-1M-1 1L1-1M5 7L7 5", "class": "hatch-line"})
    back = element("rect", {"width": "6", "height": "6", "class": "hatch-ground"})
    hatch = element(
        "pattern", {"id": "hatch", "width": "6", "height": "6", "patternUnits": "userSpaceOnUse"}, back, line
    )
    return element("svg", {"class": "unseen", "aria-hidden": "true"}, element("defs", {}, hatch))


def _share(name: str, number: int, total: int) -> str:
    return f"{name} {number}" + (f" ({100 * number / total:.0f}%)" if total else "")


def _body(group: str, rows: Iterable[PlotRow], axis: Axis) -> Element:
    body = element("tbody")
    if group:
        heading = element("th", {"scope": "rowgroup", "colspan": str(len(COLUMNS))}, group)
        body.append(element("tr", {"class": "group"}, heading))
    for row in rows:
        number = element("td", {"class": "number"}, row.text)
        if row.worst:
            worst = f"worst case {100 * row.worst[0]:.0f}-{100 * row.worst[1]:.0f}"
            number.append(element("small", {}, worst))
        if row.unclear:
            unclear = f"unclear {100 * row.unclear[0]:.0f}-{100 * row.unclear[1]:.0f}"
            number.append(element("small", {}, unclear))
        body.append(
            element(
                "tr",
                {},
                element("th", {"scope": "row"}, row.label),
                element("td", {"class": "plot"}, interval(row, axis)),
                number,
                element("td", {"class": "count"}, str(row.n)),
            )
        )
    return body


def interval(row: PlotRow, axis: Axis) -> Element:
    """One interval with its mark; thin lines are what unclear and unscored episodes could make of it."""
    drawn = element("svg", {"class": f"interval {_colour(row.agent)}", "aria-hidden": "true"})
    for value, _ in axis.ticks:
        name = "zero" if value == axis.zero else "tick"
        drawn.append(_line(axis.place(value), "0", axis.place(value), "100%", name))
    if row.worst:
        drawn.append(_line(axis.place(row.worst[0]), "85%", axis.place(row.worst[1]), "85%", "worst"))
    if row.estimate is None or row.low is None or row.high is None:
        return drawn
    if row.unclear:
        ends = [axis.place(min(row.low, row.unclear[0])), axis.place(max(row.high, row.unclear[1]))]
        drawn.append(_line(ends[0], "50%", ends[1], "50%", "unclear"))
        drawn.extend(_line(axis.place(end), "38%", axis.place(end), "62%", "unclear") for end in row.unclear)
    low, high = axis.place(row.low), axis.place(row.high)
    drawn.append(_line(low, "50%", high, "50%", "range"))
    drawn.extend(_line(end, "30%", end, "70%", "range") for end in (low, high))
    # An svg within puts the shape, whose own numbers are pixels, at a percentage.
    spot = {"x": axis.place(row.estimate), "y": "50%", "class": "spot"}
    drawn.append(element("svg", spot, element("path", {"d": _shape(row.agent)})))
    return drawn


def _scale(axis: Axis) -> Element:
    drawn = element("svg", {"class": "scale"})
    for value, text in axis.ticks:
        if text:
            drawn.append(element("text", {"x": axis.place(value), "y": "11", "text-anchor": "middle"}, text))
    return drawn


def _line(x1: str, y1: str, x2: str, y2: str, name: str) -> Element:
    return element("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "class": name})


def _shape(agent: int) -> str:
    # One further with each round of colours, so that no two of 36 agents look alike.
    return SHAPES[(agent + agent // len(SHAPES)) % len(SHAPES)]


def _colour(agent: int) -> str:
    return f"agent-{agent % len(SHAPES)}"
