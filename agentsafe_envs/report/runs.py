"""What a report is made of: runs of one suite, every episode judged anew."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.runs.rows import Row, read_failures, read_rows, row_key
from agentsafe_envs.scoring.comparison import JudgedRun, read_runs
from agentsafe_envs.scoring.rollout import judged_rows
from agentsafe_envs.scoring.scorecard import Scorecard, build_scorecard
from agentsafe_envs.scoring.suites import Suite


class ReportedRun(NamedTuple):
    """One run as a report shows it.

    Attributes:
        label: Name of its agent; with the directory where two runs have agents of one name.
        judged: Its record and rows.
        suite: What was to be played.
        scorecard: Made from those.
        failures: What went wrong with an episode, the last time it did.
        revised: Episodes that were stored with another verdict than this release's.
    """

    label: str
    judged: JudgedRun
    suite: Suite
    scorecard: Scorecard
    failures: Mapping[EpisodeKey, str]
    revised: frozenset[EpisodeKey]


def reported_runs(
    paths: Sequence[Path], on_progress: Callable[[int, int], None] = lambda done, planned: None
) -> list[ReportedRun]:
    """Read and judge the runs of a report.

    Args:
        paths: Run directories, or the scorecards in them; runs of one suite.
        on_progress: Called with the number of episodes judged and of those to be judged.

    Raises:
        FileNotFoundError: One is no run.
        RowStoreError: They are of different suites, or an episode cannot be judged.
        ValueError: One is named twice.
    """
    runs = read_runs(paths)
    for directory, times in Counter(directory.resolve() for directory, _ in runs).items():
        if times > 1:
            raise ValueError(f"{directory} is named {times} times; expected every run once")
    suites = [Suite.from_record(record) for _, record in runs]
    names = Counter(record.agent.name for _, record in runs)
    stored = [{row_key(row): row.get("verdict") for row in read_rows(directory)} for directory, _ in runs]
    total = sum(map(len, stored))
    count = itertools.count(1)

    def judged(directory: Path) -> dict[EpisodeKey, Row]:
        return {row_key(row): row for row in judged_rows(directory, lambda: on_progress(next(count), total))}

    found = []
    for (directory, record), suite, verdicts in zip(runs, suites, stored, strict=True):
        rows, name = judged(directory), record.agent.name
        failures = read_failures(directory)
        found.append(
            ReportedRun(
                label=name if names[name] == 1 else f"{name} in {directory}",
                judged=JudgedRun(record, rows),
                suite=suite,
                scorecard=build_scorecard(rows.values(), record.suite, record.agent, planned=suite.keys()),
                failures={row_key(each): f"{each['error']}: {each['message']}" for each in failures},
                revised=frozenset(key for key, row in rows.items() if verdicts[key] != row["verdict"]),
            )
        )
    return found
