"""Two agents on the same tasks: by how much their rates differ, episode beside episode.

Try it::

    agentsafe score scripted:biased --suite standard --out biased
    agentsafe score scripted:cautious --suite standard --out cautious
    agentsafe compare cautious biased
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from pydantic import Field

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.notebook import html_table
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.runs.rows import AgentRecord, Row, RowStoreError, SuiteRecord
from agentsafe_envs.scoring.document import Document, Share, SignedShare, rounded
from agentsafe_envs.scoring.measures import COMPARED, NO_CONCLUSION, Measure, ScoredEpisode, idle
from agentsafe_envs.scoring.scorecard import UsageTotals, usage_totals
from agentsafe_envs.scoring.shared import SharedRuns, judge_shared
from agentsafe_envs.stats.paired import PairedMethod, difference


class PairedRate(Document):
    """One rate of both agents over the same episodes, and the difference with its interval."""

    first: Share | None = Field(
        description="Share of the first agent's episodes; null without pairs, and of an agent that never acted where "
        "its 0 says nothing."
    )
    second: Share | None = Field(description="Share of the second agent's.")
    difference: SignedShare | None = Field(description="Second minus first; null where either share is.")
    low: SignedShare | None = Field(description="Lower end of the 95% interval of the difference.")
    high: SignedShare | None = Field(description="Upper end of the 95% interval of the difference.")
    method: PairedMethod = Field(description="How the interval was made; see statistics.Difference.")


class PairedCell(Document):
    """One environment and split."""

    id: str = Field(description="Registered id of the environment.")
    split: str = Field(description="safe, ambiguous, required or forbidden.")
    pairs: int = Field(ge=0, description="Episodes that both agents have.")
    unpaired: int = Field(ge=0, description="Episodes that only one of them has.")
    rates: dict[str, PairedRate] = Field(description="By name; override only in the forbidden split.")


class Comparison(Document):
    """Two agents on the same tasks. The intervals stand each by itself: no correction for their number."""

    suite: SuiteRecord = Field(description="Of the first run, with the environments that both have.")
    first: AgentRecord
    second: AgentRecord
    cells: list[PairedCell] = Field(description="One an environment and split, sorted by both.")
    first_usage: UsageTotals | None = Field(
        default=None, description="What the first agent's scored episodes cost; null where no service reported any."
    )
    second_usage: UsageTotals | None = Field(default=None, description="The same of the second agent.")
    left_out: str | None = Field(
        default=None, description="What one of the runs has and the other has not; null where that is nothing."
    )

    def _repr_html_(self) -> str:
        tables = []
        for environment in dict.fromkeys(cell.id for cell in self.cells):
            cells = [cell for cell in self.cells if cell.id == environment]
            told = f"{self.second.name} minus {self.first.name} on {environment}"
            tables.append(html_table(told, ["points", *(cell.split for cell in cells)], comparison_lines(cells)))
        return "".join(tables)


def compare(first: str | PathLike[str], second: str | PathLike[str]) -> Comparison:
    """Compare what two runs share: the second minus the first.

    Args:
        first: A run, its directory, or the scorecard in it.
        second: Another.

    Raises:
        FileNotFoundError: One is no run.
        RowStoreError: They share nothing, have no scored episode in common, or an episode cannot be judged.
    """
    found = compare_with_first(judge_shared([Path(first), Path(second)]))[0]
    if not any(cell.pairs for cell in found.cells):
        raise RowStoreError(
            f"{first} and {second} have no scored episode of the same task; go on with the one that lacks them: "
            "its `agentsafe score` command plays what is missing"
        )
    return found


def compare_with_first(shared: SharedRuns) -> list[Comparison]:
    """Comparisons of every run but the first with the first."""
    found = sorted({key[:2] for key in shared.keys}, key=lambda cell: (cell[0], SPLITS.index(cell[1])))
    first, *others = shared.runs
    return [
        Comparison(
            suite=shared.suite,
            first=first.record.agent,
            second=other.record.agent,
            cells=[
                cell for cell in (_cell(*each, first.rows, other.rows) for each in found) if cell.pairs or cell.unpaired
            ],
            first_usage=usage_totals(first.rows.values()),
            second_usage=usage_totals(other.rows.values()),
            left_out=shared.left_out,
        )
        for other in others
    ]


def _cell(
    environment: str, split: str, first: Mapping[EpisodeKey, Row], second: Mapping[EpisodeKey, Row]
) -> PairedCell:
    keys = [{key for key in rows if key[:2] == (environment, split)} for rows in (first, second)]
    shared = sorted(keys[0] & keys[1])
    outcomes = [[ScoredEpisode.of(rows[key]) for key in shared] for rows in (first, second)]
    return PairedCell(
        id=environment,
        split=split,
        pairs=len(shared),
        unpaired=len(keys[0] ^ keys[1]),
        rates={each.name: _rate(outcomes[0], outcomes[1], each) for each in COMPARED if each.shows_in(split)},
    )


def _rate(first: Sequence[ScoredEpisode], second: Sequence[ScoredEpisode], measure: Measure) -> PairedRate:
    values = [[bool(measure.value(each)) for each in outcomes] for outcomes in (first, second)]
    templates, tasks = [each.template for each in first], [each.key.seed for each in first]
    found = difference(values[0], values[1], templates, tasks)
    numbers: dict[str, Any] = {"difference": found.estimate, "low": found.low, "high": found.high}
    for name, each, outcomes in zip(("first", "second"), values, (first, second), strict=True):
        silent = measure.needs_acting and not any(each) and idle(outcomes)
        numbers[name] = sum(each) / len(each) if each and not silent else None
    if None in (numbers["first"], numbers["second"]):
        return PairedRate(**numbers | dict.fromkeys(("difference", "low", "high")), method="none")
    kept = {name: rounded(number) for name, number in numbers.items()}
    return PairedRate(**kept, method=found.method)


def comparison_lines(cells: Sequence[PairedCell]) -> Iterable[list[str]]:
    """Lines of a table with a column for each of ``cells``: the heading, then a difference for each."""
    yield ["pairs", *(str(cell.pairs) for cell in cells)]
    if any(cell.unpaired for cell in cells):
        yield ["unpaired", *(str(cell.unpaired) for cell in cells)]
    headings = {measure.name: measure.heading for measure in COMPARED}
    for name in dict.fromkeys(name for cell in cells for name in cell.rates):
        shown = (points(cell.rates.get(name), cell.pairs) for cell in cells)
        yield [headings.get(name, name.replace("_", " ")), *shown]


def points(rate: PairedRate | None, pairs: int) -> str:
    """``"+12 [-4, 31]"``, a dash where there is no data or no meaning, or that nothing can be concluded."""
    if rate is None or rate.difference is None or rate.low is None or rate.high is None:
        return NO_CONCLUSION if rate and pairs else "-"
    found, low, high = (round(100 * number) for number in (rate.difference, rate.low, rate.high))
    return f"{found:+d} [{low}, {high}]" if found else f"0 [{low}, {high}]"
