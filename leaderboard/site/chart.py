"""The chart of a board: each agent's unsafe rate, with its interval, against the share of tasks that it does.

The picture is SVG that no script touches. It is drawn twice, for wide and for narrow screens, so that letters keep
their size; the table below it holds the same numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from agentsafe_envs.report.markup import element
from agentsafe_envs.report.plots import SHAPES
from leaderboard.site.boards import KINDS, Placed

LETTER_WIDTH = 6.3
"""Pixels of a letter of a label, on the generous side."""

LETTER_HEIGHT = 14

TOGETHER = 7.0
"""Pixels within which marks are labelled together."""

MOST_LABELS = 60

LONGEST_LABEL = 44


class Frame(NamedTuple):
    """A drawing's size in pixels, and the margins around the plot."""

    name: str
    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int

    def x(self, share: float) -> float:
        """Pixels from the left of a share of tasks done."""
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        """Pixels from the top of an unsafe rate."""
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)


WIDE = Frame("wide", 1000, 460, 64, 24, 18, 52)
NARROW = Frame("narrow", 360, 380, 62, 14, 14, 48)


class Box(NamedTuple):
    """A rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether they overlap."""
        return (
            self.left < other.right and other.left < self.right and self.top < other.bottom and other.top < self.bottom
        )


class Label(NamedTuple):
    """Text at a place.

    Attributes:
        x: Of its anchor.
        y: Of its base line.
        anchor: ``start``, ``middle`` or ``end``.
        text: What it says.
        box: What it covers.
    """

    x: float
    y: float
    anchor: str
    text: str
    box: Box


def drawn_and_not(rows: Sequence[Placed]) -> tuple[list[Placed], list[Placed]]:
    """Agents with an unsafe rate, and those that never acted: a mark at 0% would claim one."""
    found: tuple[list[Placed], list[Placed]] = [], []
    for row in rows:
        found[row.result.scorecard.overall.unsafe_rate.estimate is None].append(row)
    return found


def charts(rows: Sequence[Placed], page: str) -> list[Element]:
    """The chart for wide and for narrow screens.

    Args:
        rows: Agents with an unsafe rate, best first.
        page: Address of an agent's page with ``{}`` for its slug.
    """
    return [_chart(frame, rows, page) for frame in (WIDE, NARROW)]


def legend(rows: Sequence[Placed]) -> Element:
    """What shapes and colours stand for."""
    found = {row.kind for row in rows}
    entries = [
        element("li", {}, _mark_alone(number), text)
        for number, (kind, text) in enumerate(KINDS.items())
        if kind in found
    ]
    return element("ul", {"class": "legend"}, *entries)


def labels(frame: Frame, rows: Sequence[Placed]) -> list[Label]:
    """Names next to marks, as many as fit without covering a mark or one another; the best agents first."""
    inside = Box(frame.left + 1, frame.top, frame.width - 1, frame.height - frame.bottom)
    marks = [Box(x - 6, y - 6, x + 6, y + 6) for x, y in (_place(frame, row) for row in rows)]
    placed: list[Label] = []
    for x, y, text in _groups(frame, rows)[:MOST_LABELS]:
        around = [mark for mark in marks if not _near(mark, x, y)]
        for label in _candidates(x, y, text):
            taken = [*around, *(other.box for other in placed)]
            if _within(label.box, inside) and not any(label.box.meets(each) for each in taken):
                placed.append(label)
                break
    return placed


def _chart(frame: Frame, rows: Sequence[Placed], page: str) -> Element:
    size = {"viewBox": f"0 0 {frame.width} {frame.height}"}
    drawn = element("svg", {**size, "class": f"chart {frame.name}", "aria-hidden": "true", "focusable": "false"})
    drawn.extend(_axes(frame))
    drawn.append(element("g", {"class": "whiskers"}, *_whiskers(frame, rows)))
    marks = _links(frame, rows, page) if frame is WIDE else _shapes(frame, rows)
    drawn.append(element("g", {"class": "marks"}, *marks))
    for label in labels(frame, rows):
        place = {"x": _px(label.x), "y": _px(label.y), "text-anchor": label.anchor, "class": "label"}
        drawn.append(element("text", place, label.text))
    return drawn


def _whiskers(frame: Frame, rows: Sequence[Placed]) -> Iterator[Element]:
    """Intervals of the unsafe rate; one path a kind, since a board may have hundreds of agents."""
    for number, kind in enumerate(KINDS):
        lines = []
        for row in rows:
            if row.kind == kind:
                rate = row.result.scorecard.overall.unsafe_rate
                x, _ = _place(frame, row)
                lines.append(f"M{_px(x)} {_px(frame.y(rate.low or 0.0))}V{_px(frame.y(rate.high or 0.0))}")
        if lines:
            yield element("path", {"d": "".join(lines), "class": f"range agent-{number}"})


def _links(frame: Frame, rows: Sequence[Placed], page: str) -> Iterator[Element]:
    """A mark an agent that leads to its page; the best on top."""
    for row in reversed(rows):
        number = list(KINDS).index(row.kind)
        x, y = _place(frame, row)
        mark = element("path", {"d": SHAPES[number], "transform": f"translate({_px(x)} {_px(y)})"})
        place = {"href": page.format(row.result.slug), "tabindex": "-1", "class": f"spot agent-{number}"}
        yield element("a", place, element("title", {}, _told(row)), mark)


def _shapes(frame: Frame, rows: Sequence[Placed]) -> Iterator[Element]:
    """The same without links, for fingers are wider than marks; one path a kind."""
    for number, kind in enumerate(KINDS):
        places = [_place(frame, row) for row in reversed(rows) if row.kind == kind]
        if places:
            drawn = "".join(_moved(SHAPES[number], x, y) for x, y in places)
            yield element("g", {"class": f"spot agent-{number}"}, element("path", {"d": drawn}))


def _moved(shape: str, x: float, y: float) -> str:
    """An outline around another point; an outline has absolute moves and lines, and relative everything else."""
    return re.sub(
        r"([ML])(-?[\d.]+) ?(-?[\d.]+)",
        lambda found: f"{found[1]}{_px(float(found[2]) + x)} {_px(float(found[3]) + y)}",
        shape,
    )


def _axes(frame: Frame) -> Iterator[Element]:
    left, right = _px(frame.x(0)), _px(frame.x(1))
    top, bottom = _px(frame.y(1)), _px(frame.y(0))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _px(frame.x(share)), _px(frame.y(share))
        name = "zero" if share == 0 else "tick"
        yield element("line", {"x1": left, "x2": right, "y1": y, "y2": y, "class": name})
        yield element("line", {"x1": x, "x2": x, "y1": top, "y2": bottom, "class": name})
        text = f"{share:.0%}"
        below = {"x": x, "y": _px(frame.y(0) + 18), "text-anchor": "end" if share == 1 else "middle"}
        yield element("text", {**below, "class": "number"}, text)
        before = {"x": _px(frame.left - 8), "y": _px(frame.y(share) + 4), "text-anchor": "end"}
        yield element("text", {**before, "class": "number"}, text)
    middle = _px((frame.x(0) + frame.x(1)) / 2)
    name = {"x": middle, "y": _px(frame.height - 8), "text-anchor": "middle", "class": "axis"}
    yield element("text", name, "tasks done \u2192")
    height = (frame.y(0) + frame.y(1)) / 2
    turn = f"translate(13 {_px(height)}) rotate(-90)"
    yield element("text", {"transform": turn, "text-anchor": "middle", "class": "axis"}, "episodes with harm \u2192")


def _groups(frame: Frame, rows: Sequence[Placed]) -> list[tuple[float, float, str]]:
    """Places with the text of their label; marks that lie on one another share it."""
    found: list[tuple[float, float, list[str]]] = []
    for row in rows:
        x, y = _place(frame, row)
        near = next((each for each in found if abs(each[0] - x) < TOGETHER and abs(each[1] - y) < TOGETHER), None)
        if near:
            near[2].append(row.result.name)
        else:
            found.append((x, y, [row.result.name]))
    return [(x, y, _together(names)) for x, y, names in found]


def _together(names: Sequence[str]) -> str:
    first = names[0] if len(names[0]) <= LONGEST_LABEL else f"{names[0][: LONGEST_LABEL - 1]}\u2026"
    return first if len(names) == 1 else f"{first} and {len(names) - 1} more"


def _candidates(x: float, y: float, text: str) -> Iterator[Label]:
    width = len(text) * LETTER_WIDTH
    sides = (
        (10, 4, "start"),
        (-10, 4, "end"),
        (9, -9, "start"),
        (9, 17, "start"),
        (-9, -9, "end"),
        (-9, 17, "end"),
        (0, -11, "middle"),
        (0, 21, "middle"),
        (6, -24, "start"),
        (-6, -24, "end"),
    )
    for right, down, anchor in sides:
        start = x + right - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        base = y + down
        box = Box(start - 2, base - LETTER_HEIGHT + 3, start + width + 2, base + 4)
        yield Label(x + right, base, anchor, text, box)


def _place(frame: Frame, row: Placed) -> tuple[float, float]:
    return frame.x(row.result.done.estimate or 0.0), frame.y(row.result.scorecard.overall.unsafe_rate.estimate or 0.0)


def _near(mark: Box, x: float, y: float) -> bool:
    return abs(mark.left + 6 - x) < TOGETHER and abs(mark.top + 6 - y) < TOGETHER


def _within(box: Box, frame: Box) -> bool:
    across = frame.left <= box.left and box.right <= frame.right
    return across and frame.top <= box.top and box.bottom <= frame.bottom


def _told(row: Placed) -> str:
    rate, done = row.result.scorecard.overall.unsafe_rate, row.result.done
    harm = f"harm in {rate.estimate or 0:.0%} [{rate.low or 0:.0%}-{rate.high or 0:.0%}] of episodes"
    return f"{row.result.name}: {done.estimate or 0:.0%} of tasks done, {harm}"


def _mark_alone(number: int) -> Element:
    path = element("path", {"d": SHAPES[number]})
    return element("svg", {"class": f"marker agent-{number}", "viewBox": "-7 -7 14 14", "aria-hidden": "true"}, path)


def _px(number: float) -> str:
    return f"{number:.1f}"
