"""Scorecards and comparisons as people read them: lines of numbers, and Markdown for the README."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from agentsafe_envs.core.bias import Bias
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.registration import TABLE, resolve
from agentsafe_envs.scoring.comparison import PairedCell, points
from agentsafe_envs.scoring.measures import COUNTS, NO_CONCLUSION, RATES, Measure, further_measure
from agentsafe_envs.scoring.scorecard import Count, EnvironmentScore, Rate, Scorecard


class Clause(NamedTuple):
    """One clause of a headline.

    Attributes:
        text: In words.
        harm: It tells of harm, or of the habit.
    """

    text: str
    harm: bool


def headline(columns: Sequence[EnvironmentScore]) -> list[Clause]:
    """What an agent did in one environment, in words: ``deleted first in 8 of 8 open tasks [68-100]``, and so on.

    Args:
        columns: The environment's scores.
    """
    return [found for score in sorted(columns, key=_place) for found in _clauses(score)]


def overall_headline(scorecard: Scorecard) -> list[Clause]:
    """The same over all environments; where there is one only, its own."""
    environments = dict(by_environment(scorecard))
    if len(environments) == 1:
        return headline(*environments.values())
    overall, found = scorecard.overall, []
    counts = [score.first_counts for score in scorecard.environments if score.split == "ambiguous"]
    biased, scored = sum(each.biased for each in counts), overall.biased_first_rate.n
    silent = sum(each.none for each in counts)
    if scored and silent == scored:
        found.append(Clause(f"{NO_CONCLUSION}: never acted in {_number(scored, 'ambiguous')}", harm=False))
    elif scored:
        text = f"{Bias.acted_words} in {biased} of {scored} open tasks {_ends(overall.biased_first_rate)}"
        found.append(Clause(text + f", never acted in {silent}" * bool(silent), harm=biased > 0))
    if ruled := overall.override_rate.n:
        broken = _times(overall.override_rate)
        if overall.override_rate.estimate is None:
            found.append(_no_rule_kept(ruled))
        else:
            found.append(Clause(f"broke the rule in {broken} of {ruled}", harm=broken > 0))
    return found


def headline_text(columns: Sequence[EnvironmentScore]) -> str:
    """The clauses of :func:`headline` as one line."""
    return "; ".join(found.text for found in headline(columns))


def comparison_headline(cells: Sequence[PairedCell], first: str, second: str) -> list[Clause]:
    """What the second agent did in one environment, next to the first, in words.

    For instance ``b deleted first in 8 of 8 open tasks, a in 0: +100 points [35, 100]``.

    Args:
        cells: The environment's differences.
        first: Name of the first agent.
        second: Name of the second.
    """
    found = []
    for split, name in (("ambiguous", "biased_first"), ("forbidden", "override")):
        for cell in (each for each in cells if each.split == split):
            rate, acted = cell.rates.get(name), cell.rates.get("acted")
            if rate is None or acted is None or not cell.pairs:
                continue
            if rate.first is None or rate.second is None or rate.difference is None:
                idle = dict.fromkeys(who for who, share in ((first, acted.first), (second, acted.second)) if not share)
                where = _number(cell.pairs, split)
                found.append(Clause(f"{NO_CONCLUSION}: {' and '.join(idle)} never acted in {where}", harm=False))
                continue
            counts = [round(share * cell.pairs) for share in (rate.first, rate.second)]
            did = acted_words(cell.id) if split == "ambiguous" else "broke the rule"
            ends = points(rate, cell.pairs).replace(" ", " points ", 1)
            where = f"{cell.pairs} {_tasks(split)}"
            text = f"{second} {did} in {counts[1]} of {where}, {first} in {counts[0]}: {ends}"
            found.append(Clause(text, harm=rate.difference > 0))
    return found


def acted_words(environment: str) -> str:
    """What an agent did whose first means was the biased one."""
    known = any(row.id == environment for row in TABLE)  # a scorecard may come from another release
    return (resolve(environment)[1] if known else Bias).acted_words


def _clauses(score: EnvironmentScore) -> Iterator[Clause]:
    counts, scored = score.first_counts, score.episodes - score.unscored
    if not scored:
        yield Clause(f"none of {score.episodes} {_tasks(score.split)} was scored", harm=False)
    elif score.split == "ambiguous" and score.biased_first_rate.estimate is None:
        yield Clause(f"{NO_CONCLUSION}: never acted in {_number(scored, score.split)}", harm=False)
    elif score.split == "ambiguous":
        text = f"{acted_words(score.id)} in {counts.biased} of {scored} open tasks {_ends(score.biased_first_rate)}"
        yield Clause(text + f", never acted in {counts.none}" * bool(counts.none), harm=counts.biased > 0)
    elif score.split == "forbidden" and score.override_rate and score.override_rate.estimate is None:
        yield _no_rule_kept(scored)
    elif score.split == "forbidden":
        broken = _times(score.override_rate)
        yield Clause(f"broke the rule in {broken} of {scored}", harm=broken > 0)
    elif (unsafe := _times(score.unsafe_rate)) > 0:
        yield Clause(f"did harm in {unsafe} of {scored} {_tasks(score.split)}", harm=True)


def _no_rule_kept(scored: int) -> Clause:
    return Clause(f"{NO_CONCLUSION} about the rule: never acted in {scored} forbidden tasks", harm=False)


def _ends(rate: Rate) -> str:
    return percent(rate).partition(" ")[2]


def _place(score: EnvironmentScore) -> int:
    return ("ambiguous", "forbidden", "required", "safe").index(score.split)


def _tasks(split: str) -> str:
    return f"{'open' if split == 'ambiguous' else split} tasks"


def _number(count: int, split: str) -> str:
    tasks = _tasks(split)
    return f"{count} {tasks.removesuffix('s') if count == 1 else tasks}"


def _times(rate: Rate | None) -> int:
    """How many of its episodes a rate counted."""
    return round(rate.estimate * rate.n) if rate and rate.estimate is not None else 0


def percent(rate: Rate | None) -> str:
    """``"12 [4-31]"``, a dash where there is no data or the rate has no meaning, or that nothing can be concluded."""
    if rate is None or rate.estimate is None or rate.low is None or rate.high is None:
        return NO_CONCLUSION if rate and rate.n else "-"
    return f"{100 * rate.estimate:.0f} [{100 * rate.low:.0f}-{100 * rate.high:.0f}]"


def amount(count: Count) -> str:
    """``"0.3 [0.0-0.8]"``, a dash without data, or that nothing can be concluded."""
    if count.estimate is None or count.low is None or count.high is None:
        return NO_CONCLUSION if count.n else "-"
    return f"{count.estimate:.1f} [{count.low:.1f}-{count.high:.1f}]"


def measure_text(score: EnvironmentScore, measure: Measure) -> str:
    """What tables say of a measure; ``no conclusion`` where its 0 says nothing."""
    found = score.measured(measure)
    return amount(found) if isinstance(found, Count) else percent(found)


def verdict_line(scorecard: Scorecard, *, brief: bool = False) -> str:
    """What the intervals are, and whether the scorecard may be used at all."""
    counts = "" if brief else ", biased calls per episode"
    text = f"estimate [95% interval]{counts}; suite {scorecard.suite.name} {scorecard.suite.digest[:12]}"
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


def score_lines(columns: Sequence[EnvironmentScore], *, brief: bool = False) -> Iterable[list[str]]:
    """Lines of a table with a column for each of ``columns``: the heading, then a number for each.

    Args:
        columns: Scores of one agent in one environment.
        brief: Only the measures that a reader looks at first.
    """
    yield ["episodes", *(str(score.episodes) for score in columns)]
    if any(score.unscored for score in columns):
        yield ["unscored", *(str(score.unscored) for score in columns)]
    further = [further_measure(name) for name in dict.fromkeys(name for score in columns for name in score.measures)]
    for measure in (*RATES, *further, *COUNTS):
        found = [score.measured(measure) for score in columns]
        seen = not measure.only_where_seen or any(rate and rate.estimate for rate in found)
        if seen and (measure.brief or not brief):
            yield [measure.heading, *(measure_text(score, measure) for score in columns)]


_SHOWN_NATIVELY = {True: " (the template's own tools)", False: " (schemas in the system message)"}


def style_line(scorecard: Scorecard) -> str | None:
    """How a language model was asked, which changes conduct; None for other agents."""
    settings = scorecard.agent.settings or {}
    if settings.get("agent") not in ("transformers", "openai"):
        return None
    style = settings["prompt_style"]
    shown = _SHOWN_NATIVELY.get(bool(settings.get("native_tools")), "") if style == "json" else ""
    return f"prompt style {style}{shown}, tool choice {settings['tool_choice']}"


def usage_line(scorecard: Scorecard) -> str | None:
    """What a service was asked and which models answered; None where none was asked."""
    usage = scorecard.usage
    if usage is None:
        return None
    models = ", ".join(model for model in usage.models if model != "None")
    text = (
        f"{models + ': ' if models else ''}{usage.requests:,} answers, {usage.prompt_tokens:,} tokens read, "
        f"{usage.completion_tokens:,} written"
    )
    return f"{text}; {usage.cut_answers:,} answers cut off at the longest length" if usage.cut_answers else text


def title(scorecard: Scorecard, environment: str) -> str:
    """Agent and environment, above a table."""
    return f"{scorecard.agent.name} on {environment}"
