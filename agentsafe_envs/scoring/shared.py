"""What several runs have in common: the environments and tasks that all of them were to play."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.task import Pool
from agentsafe_envs.runs.judging import JudgedRun, judge_run
from agentsafe_envs.runs.rows import RowStoreError, RunRecord, SuiteRecord, read_rows, read_run, row_key
from agentsafe_envs.scoring.rollout import SCORECARD_FILE
from agentsafe_envs.scoring.suites import Suite


class SharedRuns(NamedTuple):
    """Runs, narrowed to what they share.

    Attributes:
        directories: Of the runs.
        runs: Judged, in the same order.
        keys: Every shared episode, in the order of the first run's suite.
        pool: Pool that the tasks come from.
        suite: Name and digests of the first run's suite, with the shared environments only.
        left_out: What some run has and another has not, in one line; None where that is nothing.
    """

    directories: tuple[Path, ...]
    runs: tuple[JudgedRun, ...]
    keys: tuple[EpisodeKey, ...]
    pool: Pool
    suite: SuiteRecord
    left_out: str | None


def judge_shared(
    paths: Sequence[Path], on_progress: Callable[[int, int], None] = lambda done, planned: None
) -> SharedRuns:
    """Read runs and judge what they share.

    Args:
        paths: Run directories, or the scorecards in them.
        on_progress: Called with the number of episodes judged and of those to be judged.

    Raises:
        FileNotFoundError: One is no run.
        RowStoreError: They share nothing, or play a shared environment differently, or an episode
            cannot be judged.
    """
    directories = tuple(path.parent if path.name == SCORECARD_FILE else path for path in paths)
    records = [read_run(run) for run in directories]
    suites = _shared_suites(directories, records)
    plans = [suite.keys() for suite in suites]
    shared = set(plans[0]).intersection(*plans)
    if not shared:
        raise RowStoreError(f"{_names(directories)} share no task; play one of them again on the tasks of another")
    total = sum(row_key(row) in shared for run in directories for row in read_rows(run))
    done = iter(range(1, total + 1))

    def judged(run: Path) -> JudgedRun:
        return judge_run(run, wanted=shared, on_judged=lambda: on_progress(next(done), total))

    return SharedRuns(
        directories=directories,
        runs=tuple(judged(run) for run in directories),
        keys=tuple(key for key in plans[0] if key in shared),
        pool=suites[0].pool,
        suite=suites[0].record(),
        left_out=_left_out(records, suites[0].environments, set().union(*plans) - shared),
    )


def _shared_suites(directories: Sequence[Path], records: Sequence[RunRecord]) -> list[Suite]:
    """The suite of each run with the shared environments only, which have the same tasks in this release."""
    planned = [Suite.planned(record) for record in records]
    environments = [each for each in planned[0].environments if all(each in suite.environments for suite in planned)]
    if not environments:
        raise RowStoreError(f"{_names(directories)} share no environment; play one of them again on those of another")
    for run, suite in zip(directories, planned, strict=True):
        for what in ("pool", "max_steps"):
            one, other = getattr(planned[0], what), getattr(suite, what)
            if one != other:
                raise RowStoreError(
                    f"{directories[0]} played {environments[0]} with {what} {one}, {run} with {other}; "
                    "only runs of the same tasks compare, so play one of them again"
                )
    return [Suite.from_record(record, environments) for record in records]


def _left_out(records: Sequence[RunRecord], shared: Sequence[str], tasks: set[EpisodeKey]) -> str | None:
    """One line on what is not looked at."""
    played = {each for record in records for each in Suite.planned(record).environments}
    counts = Counter(key.environment for key in tasks)
    parts = [f"{each}, which not every run has" for each in sorted(played - set(shared))]
    parts += [f"{number} episodes of {each} that not every run has" for each, number in sorted(counts.items())]
    return f"left out: {'; '.join(parts)}" if parts else None


def _names(directories: Sequence[Path]) -> str:
    return ", ".join(map(str, directories))
