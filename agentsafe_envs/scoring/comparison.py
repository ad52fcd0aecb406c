"""Two agents on the same tasks: by how much their rates differ, episode beside episode.

Try it::

    agentsafe score scripted:biased --suite standard --out biased
    agentsafe score scripted:cautious --suite standard --out cautious
    agentsafe compare cautious biased
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.runs.rows import (
    RUN_FILE,
    AgentRecord,
    Row,
    RowStoreError,
    RunRecord,
    SuiteRecord,
    read_run,
    row_key,
)
from agentsafe_envs.scoring.document import Document, Share, SignedShare, rounded
from agentsafe_envs.scoring.measures import ScoredEpisode
from agentsafe_envs.scoring.rollout import SCORECARD_FILE, judged_rows
from agentsafe_envs.stats.paired import PairedMethod, difference

MEASURES = ("biased_first", "acted", "unsafe", "success", "safe_success", "override", "asked")
"""Properties of an outcome that are compared, named like the scorecard's rates."""


class PairedRate(Document):
    """One rate of both agents over the same episodes, and the difference with its interval."""

    first: Share | None = Field(description="Share of the first agent's episodes; null without pairs.")
    second: Share | None = Field(description="Share of the second agent's.")
    difference: SignedShare | None = Field(description="Second minus first.")
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
    """Two agents on one suite. The intervals stand each by itself: no correction for their number."""

    suite: SuiteRecord
    first: AgentRecord
    second: AgentRecord
    cells: list[PairedCell] = Field(description="One an environment and split, sorted by both.")


class JudgedRun(NamedTuple):
    """What a run says of itself, and its rows with the verdicts that this release's detectors give."""

    record: RunRecord
    rows: Mapping[EpisodeKey, Row]


def compare(first: Path, second: Path) -> Comparison:
    """Compare two runs of one suite; every episode of both is judged anew.

    Args:
        first: A run directory, or the scorecard in it.
        second: Another.

    Raises:
        FileNotFoundError: One is no run.
        RowStoreError: They are runs of different suites, or an episode cannot be judged.
    """
    return compare_judged(*judge_runs([first, second]))


def judge_runs(paths: Sequence[Path]) -> list[JudgedRun]:
    """Runs of one suite with every episode judged anew.

    Raises:
        FileNotFoundError: One is no run.
        RowStoreError: They are runs of different suites, or an episode cannot be judged.
    """
    return [JudgedRun(record, {row_key(row): row for row in judged_rows(run)}) for run, record in read_runs(paths)]


def compare_judged(first: JudgedRun, second: JudgedRun) -> Comparison:
    """:func:`compare` runs of one suite that are judged already."""
    cells = sorted(
        {key[:2] for run in (first, second) for key in run.rows}, key=lambda cell: (cell[0], SPLITS.index(cell[1]))
    )
    return Comparison(
        suite=first.record.suite,
        first=first.record.agent,
        second=second.record.agent,
        cells=[_cell(*cell, first.rows, second.rows) for cell in cells],
    )


def read_runs(paths: Sequence[Path]) -> list[tuple[Path, RunRecord]]:
    """Directories of runs that compare, with what each says of itself.

    Args:
        paths: Run directories, or the scorecards in them.

    Raises:
        FileNotFoundError: One is no run.
        RowStoreError: They are runs of different suites.
    """
    runs = [path.parent if path.name == SCORECARD_FILE else path for path in paths]
    for run in runs:
        if not (run / RUN_FILE).exists():
            raise FileNotFoundError(
                f"{run} is no run: there is no {run / RUN_FILE}; `agentsafe score AGENT --out {run}` makes one"
            )
    records = [read_run(run) for run in runs]
    for run, record in zip(runs, records, strict=True):
        if record.suite != records[0].suite:
            one, other = (f"{each.name} {each.digest[:12]}" for each in (records[0].suite, record.suite))
            raise RowStoreError(
                f"{runs[0]} played suite {one}, {run} suite {other}; "
                "only runs of the same tasks compare, so play one of them again"
            )
    return list(zip(runs, records, strict=True))


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
        rates={
            name: _rate(outcomes[0], outcomes[1], name)
            for name in MEASURES
            if name != "override" or split == "forbidden"
        },
    )


def _rate(first: Sequence[ScoredEpisode], second: Sequence[ScoredEpisode], measure: str) -> PairedRate:
    values = [[getattr(each, measure) for each in outcomes] for outcomes in (first, second)]
    templates, tasks = [each.template for each in first], [each.key.seed for each in first]
    found = difference(values[0], values[1], templates, tasks)
    numbers: dict[str, Any] = {"difference": found.estimate, "low": found.low, "high": found.high}
    for name, each in zip(("first", "second"), values, strict=True):
        numbers[name] = sum(each) / len(each) if each else None
    kept = {name: rounded(number) for name, number in numbers.items()}
    return PairedRate(**kept, method=found.method)
