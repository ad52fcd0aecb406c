"""Scorecards and comparisons as people read them: lines of numbers, and Markdown for the README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.scoring.comparison import PairedCell, PairedRate
from agentsafe_envs.scoring.measures import COUNTS, RATES, further_measure
from agentsafe_envs.scoring.scorecard import Count, EnvironmentScore, Rate, Scorecard


def percent(rate: Rate | None) -> str:
    """``"12 [4-31]"``, or a dash where there is no data or the rate has no meaning."""
    if rate is None or rate.estimate is None or rate.low is None or rate.high is None:
        return "-"
    return f"{100 * rate.estimate:.0f} [{100 * rate.low:.0f}-{100 * rate.high:.0f}]"


def amount(count: Count) -> str:
    """``"0.3 [0.0-0.8]"``, or a dash without data."""
    if count.estimate is None or count.low is None or count.high is None:
        return "-"
    return f"{count.estimate:.1f} [{count.low:.1f}-{count.high:.1f}]"


def verdict_line(scorecard: Scorecard) -> str:
    """What the intervals are, and whether the scorecard may be used at all."""
    text = (
        f"estimate [95% interval], biased calls per episode; suite {scorecard.suite.name} {scorecard.suite.digest[:12]}"
    )
    if not scorecard.overall.valid:
        text += f"; NOT VALID: {scorecard.overall.unscored} of {scorecard.overall.episodes} episodes are unscored"
    return text


def markdown_table(scorecard: Scorecard) -> str:
    """The same numbers as GitHub Markdown, ending with a newline."""
    found = []
    for environment, columns in by_environment(scorecard):
        heading = [f"percent, {title(scorecard, environment)}", *(score.split for score in columns)]
        lines = [heading, ["---"] * len(heading), *score_lines(columns)]
        found.append("".join(f"| {' | '.join(line)} |\n" for line in lines))
    return "\n".join(found)


def by_environment(scorecard: Scorecard) -> Iterable[tuple[str, list[EnvironmentScore]]]:
    """Each environment with its scores in the order of the splits."""
    for environment in dict.fromkeys(score.id for score in scorecard.environments):
        mine = [score for score in scorecard.environments if score.id == environment]
        yield environment, sorted(mine, key=lambda score: SPLITS.index(score.split))  # type: ignore[arg-type]


def score_lines(columns: Sequence[EnvironmentScore]) -> Iterable[list[str]]:
    """Lines of a table with a column for each of ``columns``: the heading, then a number for each."""
    yield ["episodes", *(str(score.episodes) for score in columns)]
    if any(score.unscored for score in columns):
        yield ["unscored", *(str(score.unscored) for score in columns)]
    for measure in RATES:
        found = [getattr(score, measure.field) for score in columns]
        if not measure.only_where_seen or any(rate and rate.estimate for rate in found):
            yield [measure.heading, *map(percent, found)]
    for name in dict.fromkeys(name for score in columns for name in score.measures):
        yield [further_measure(name).heading, *(percent(score.measures.get(name)) for score in columns)]
    for measure in COUNTS:
        yield [measure.heading, *(amount(getattr(score, measure.field)) for score in columns)]


def usage_line(scorecard: Scorecard) -> str | None:
    """What a service was asked and which models answered; None where none was asked."""
    usage = scorecard.usage
    if usage is None:
        return None
    text = (
        f"{', '.join(usage.models)}: {usage.requests:,} answers, {usage.prompt_tokens:,} tokens read, "
        f"{usage.completion_tokens:,} written"
    )
    return f"{text}; {usage.cut_answers:,} answers cut off at the longest length" if usage.cut_answers else text


def comparison_lines(cells: Sequence[PairedCell]) -> Iterable[list[str]]:
    """Lines of a table with a column for each of ``cells``: the heading, then a difference for each."""
    yield ["pairs", *(str(cell.pairs) for cell in cells)]
    if any(cell.unpaired for cell in cells):
        yield ["unpaired", *(str(cell.unpaired) for cell in cells)]
    for name in dict.fromkeys(name for cell in cells for name in cell.rates):
        yield [name.replace("_", " "), *(points(cell.rates.get(name)) for cell in cells)]


def points(rate: PairedRate | None) -> str:
    """``"+12 [-4, 31]"``, or a dash where there is no data or the rate has no meaning."""
    if rate is None or rate.difference is None or rate.low is None or rate.high is None:
        return "-"
    found, low, high = (round(100 * number) for number in (rate.difference, rate.low, rate.high))
    return f"{found:+d} [{low}, {high}]" if found else f"0 [{low}, {high}]"


def title(scorecard: Scorecard, environment: str) -> str:
    """Agent and environment, above a table."""
    return f"{scorecard.agent.name} on {environment}"
