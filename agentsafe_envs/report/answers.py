"""What a report opens with: what each agent did in words, one large rate, and what came first.

Few agents stand side by side; many are the rows of one table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from agentsafe_envs.report.markup import element
from agentsafe_envs.report.plots import COLOURS, SHARE, PlotRow, agent_label, first_means, interval
from agentsafe_envs.report.runs import ReportedRun
from agentsafe_envs.scoring.measures import NO_CONCLUSION
from agentsafe_envs.scoring.scorecard import EnvironmentScore, FirstCounts, Scorecard
from agentsafe_envs.scoring.table import Clause, acted_words, by_environment, headline, overall_headline, percent

MOST_SIDE_BY_SIDE = COLOURS
"""Agents that are drawn; more are listed in tables."""


def answers(runs: Sequence[ReportedRun]) -> Element:
    """A card for each agent: the sentence, the share of open tasks with the habit first, and what came first."""
    return element(
        "ul", {"class": "answers"}, *(_card(agent, run, alone=len(runs) == 1) for agent, run in enumerate(runs))
    )


def environment_answers(labels: Sequence[str], scores: Sequence[Sequence[EnvironmentScore]]) -> Element:
    """A line for each agent in one environment: what came first as a bar, and the sentence."""
    lines = []
    for agent, (label, columns) in enumerate(zip(labels, scores, strict=True)):
        line = element("li", {}, agent_label(agent, label))
        if counts := _first_counts(columns):
            line.append(first_means(counts))
        line.append(sentence(headline(columns)))
        lines.append(line)
    return element("ul", {"class": "firsts"}, *lines)


def sentence(found: Iterable[Clause]) -> Element:
    """The clauses of a headline, with those that tell of harm marked."""
    line = element("p", {"class": "sentence"})
    for number, clause in enumerate(found):
        look = "harm" if clause.harm else "unsure" if clause.text.startswith(NO_CONCLUSION) else "calm"
        if number:
            line[-1].tail = "; "
        line.append(element("span", {"class": look}, clause.text))
    return line


def ranking(runs: Sequence[ReportedRun]) -> Element:
    """All agents as rows of one table, with a column for the habit of each environment."""
    environments = [environment for environment, _ in by_environment(runs[0].scorecard)]
    heads = [acted_words(environment) for environment in environments]
    rows = []
    for run in runs:
        columns = dict(by_environment(run.scorecard))
        overall = run.scorecard.overall
        cells = [_habit(columns[environment]) for environment in environments]
        cells += [_cell(overall.unsafe_rate, harmful=True), _cell(overall.override_rate, harmful=True)]
        rows.append([*cells, _cell(overall.required_success_rate), _cell(overall.safe_success_rate)])
    heads += ["unsafe", "broke the rule", "success when required", "safe success"]
    return sortable("percent of episodes with 95% intervals", [run.label for run in runs], heads, rows)


def environment_ranking(
    environment: str, labels: Sequence[str], scores: Sequence[Sequence[EnvironmentScore]]
) -> Element:
    """The same for one environment: the open tasks, and whether the rule was broken."""
    rows = []
    for columns in scores:
        by_split = {score.split: score for score in columns}
        cells = [_habit(columns)]
        for split, field, harmful in (
            ("ambiguous", "acted_rate", False),
            ("ambiguous", "unsafe_rate", True),
            ("ambiguous", "success_rate", False),
            ("forbidden", "override_rate", True),
        ):
            cells.append(_cell(getattr(by_split.get(split), field, None), harmful=harmful))
        rows.append(cells)
    heads = [acted_words(environment), "acted", "unsafe", "success", "broke the rule"]
    return sortable(f"percent of open tasks on {environment}", labels, heads, rows)


def sortable(caption: str, labels: Sequence[str], heads: Sequence[str], rows: Sequence[Sequence[Element]]) -> Element:
    """A table with a row for each agent, which the page's script lets a reader sort by any column."""
    lines = [
        element("tr", {}, element("th", {"scope": "row"}, agent_label(agent, label)), *cells)
        for agent, (label, cells) in enumerate(zip(labels, rows, strict=True))
    ]
    columns = [element("th", {"scope": "col"}, head) for head in ("agent", *heads)]
    table = element(
        "table",
        {"class": "numbers sortable"},
        element("caption", {}, caption),
        element("thead", {}, element("tr", {}, *columns)),
        element("tbody", {}, *lines),
    )
    return element("div", {"class": "scrolls", "role": "region", "tabindex": "0", "aria-label": caption}, table)


def _card(agent: int, run: ReportedRun, *, alone: bool) -> Element:
    rate = run.scorecard.overall.biased_first_rate
    counts = _overall_counts(run.scorecard)
    card = element("li", {"class": "answer"}, element("h3", {}, agent_label(agent, run.label)))
    if not counts or not rate.n:
        card.append(element("p", {"class": "rate unsure"}, "no open tasks"))
    elif rate.estimate is None:
        card.append(element("p", {"class": "rate unsure"}, NO_CONCLUSION))
    else:
        number, _, ends = percent(rate).partition(" ")
        look = "rate harm" if counts.biased else "rate"
        card.append(element("p", {"class": look}, f"{number}%", element("small", {}, ends)))
        card.append(interval(PlotRow.of("", "", agent, rate), SHARE))
    if not alone:  # the head of the page says it
        card.append(sentence(overall_headline(run.scorecard)))
    if counts:
        card.append(first_means(counts))
    if rate.worst_low is not None and rate.worst_high is not None:
        worst = f"worst case {100 * rate.worst_low:.0f}-{100 * rate.worst_high:.0f}, by unscored episodes"
        card.append(element("p", {"class": "muted"}, worst))
    return card


def _overall_counts(scorecard: Scorecard) -> FirstCounts | None:
    found = [counts for _, columns in by_environment(scorecard) if (counts := _first_counts(columns))]
    if not found:
        return None
    return FirstCounts(
        biased=sum(each.biased for each in found),
        alternative=sum(each.alternative for each in found),
        none=sum(each.none for each in found),
    )


def _first_counts(columns: Iterable[EnvironmentScore]) -> FirstCounts | None:
    return next((score.first_counts for score in columns if score.split == "ambiguous"), None)


def _habit(columns: Iterable[EnvironmentScore]) -> Element:
    score = next((each for each in columns if each.split == "ambiguous"), None)
    return _cell(getattr(score, "biased_first_rate", None), harmful=True)


def _cell(rate: Any, *, harmful: bool = False) -> Element:
    share = rate.estimate if rate and rate.estimate is not None else -2
    if rate and rate.n and share == -2:
        return element("td", {"class": "unsure", "data-value": "-1"}, NO_CONCLUSION)
    attributes = {"data-value": f"{share:.6f}"} | ({"class": "harm"} if harmful and share > 0 else {})
    return element("td", attributes, percent(rate))
