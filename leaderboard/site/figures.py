"""Small pictures and numbers of the pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from xml.etree.ElementTree import Element, tostring

from markupsafe import Markup, escape

from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.report.markup import element
from agentsafe_envs.report.plots import SHARE, PlotRow, agent_label, first_means, panel
from agentsafe_envs.scoring.measures import MEASURES, NO_CONCLUSION, Measure
from agentsafe_envs.scoring.scorecard import EnvironmentScore, Rate
from leaderboard.site.boards import KINDS, Placed, cells_of, first_shares, short_name
from leaderboard.site.results import Result

BAR_WIDTH = 12
BAR_GAP = 4
BAR_HEIGHT = 26

PROFILED = (
    ("unsafe", (("unsafe_rate", SPLITS),)),
    ("success", (("success_rate", SPLITS),)),
    ("habit and rule", (("biased_first_rate", ("ambiguous",)), ("override_rate", ("forbidden",)))),
)
"""Panels of an agent's profile: a heading, and measures with the splits in which they are shown."""

RANKED_BY = ("biased_first_rate", "unsafe_rate", "override_rate", "safe_success_rate")
"""Measures of an environment's page, each by agent."""

_BY_FIELD = {measure.field: measure for measure in MEASURES}


class Interval(Protocol):
    """A rate with its interval."""

    estimate: float | None
    low: float | None
    high: float | None


def written(drawn: Element) -> Markup:
    """A picture as markup; its text was escaped when it was written."""
    return Markup(tostring(drawn, encoding="unicode", method="html"))


def number(rate: Interval | None) -> Markup:
    """``60 55-65`` in percent, or a dash."""
    if rate is None or rate.estimate is None:
        return Markup(f'<span class="none">{NO_CONCLUSION if getattr(rate, "n", 0) else "-"}</span>')
    ends = ""
    if rate.low is not None and rate.high is not None:
        ends = f" <small>{100 * rate.low:.0f}\u2013{100 * rate.high:.0f}</small>"
    return Markup(f"{100 * rate.estimate:.0f}{ends}")


def size(parameters: int | None) -> str:
    """``135M`` for 134,515,008 weights, or a dash."""
    if parameters is None:
        return "-"
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if parameters >= unit:
            return f"{parameters / unit:.3g}{letter}"
    return str(parameters)


def first_bars(result: Result, environments: Sequence[str]) -> Markup:
    """A bar an environment: how often the biased means came first in open tasks."""
    step = BAR_WIDTH + BAR_GAP
    shares = first_shares(result, environments)
    bars, empty = [], []
    for place, (_, share, text) in enumerate(shares):
        x = place * step + BAR_GAP // 2
        if share is not None:
            height = max(share * BAR_HEIGHT, 1.0)
            bars.append(f"M{x} {BAR_HEIGHT - height:.1f}h{BAR_WIDTH}V{BAR_HEIGHT}h-{BAR_WIDTH}z")
        elif text == NO_CONCLUSION:
            empty.append(f"M{x + BAR_WIDTH // 2 - 2} {BAR_HEIGHT - 4}a2 2 0 1 0 4 0a2 2 0 1 0-4 0z")
    told = "; ".join(f"{short_name(environment)}: {text}" for environment, _, text in shares)
    width = len(shares) * step
    return Markup(
        f'<svg class="bars" role="img" aria-label="{escape(told)}" width="{width}" height="{BAR_HEIGHT + 1}" '
        f'viewBox="0 0 {width} {BAR_HEIGHT + 1}"><title>{escape(told)}</title>'
        f'<path class="floor" d="M0 {BAR_HEIGHT + 0.5}H{width}"/>{_path("bar", bars)}{_path("silent", empty)}</svg>'
    )


def _path(name: str, parts: Sequence[str]) -> str:
    return f'<path class="{name}" d="{"".join(parts)}"/>' if parts else ""


def profile(environment: str, shown: Sequence[Result]) -> list[Markup]:
    """Panels of one environment: what an agent, and its base next to it, did by split."""
    cells = [cells_of(each) for each in shown]
    found = []
    for heading, measures in PROFILED:
        rows = []
        for field, splits in measures:
            for split in (each for each in splits if (environment, each) in cells[0]):
                group = split if len(measures) == 1 else f"{_BY_FIELD[field].heading}, {split}"
                for agent, each in enumerate(shown):
                    if (rate := _rate(cells[agent].get((environment, split)), _BY_FIELD[field])) is not None:
                        rows.append(_row(group, agent, each, rate, alone=len(shown) == 1))
        if rows:
            about = " ".join(_about(_BY_FIELD[field]) for field, _ in measures)
            found.append(written(panel(heading, about, rows, SHARE)))
    return found


def means(environment: str, result: Result) -> Markup | None:
    """What came first in an environment's open tasks."""
    score = cells_of(result).get((environment, "ambiguous"))
    return written(first_means(score.first_counts)) if score else None


def by_agent(environment: str, rows: Sequence[Placed]) -> list[Markup]:
    """Panels of one environment with every agent, best first."""
    found = []
    for measure in map(_BY_FIELD.__getitem__, RANKED_BY):
        split = "forbidden" if measure.split else "ambiguous"
        plotted = []
        for row in rows:
            rate = _rate(cells_of(row.result).get((environment, split)), measure)
            if rate is not None:
                link = element("a", {"href": f"../agents/{row.result.slug}.html"}, row.result.name)
                plotted.append(PlotRow.of("", link, _colour(row), rate))
        if plotted:
            found.append(written(panel(f"{measure.heading}, {split} tasks", _about(measure), plotted, SHARE)))
    return found


def _row(group: str, agent: int, result: Result, rate: Rate, *, alone: bool) -> PlotRow:
    if alone:
        return PlotRow.of("", group, agent, rate)
    return PlotRow.of(group, agent_label(agent, result.name), agent, rate)


def _colour(row: Placed) -> int:
    return list(KINDS).index(row.kind)


def _rate(score: EnvironmentScore | None, measure: Measure) -> Rate | None:
    found = score.measured(measure) if score is not None else None
    return found if isinstance(found, Rate) else None


def _about(measure: Measure) -> str:
    return measure.sentence.partition(";")[0].rstrip(".") + "."
