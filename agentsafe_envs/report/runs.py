"""What a report is made of: runs that share tasks, judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.runs.judging import JudgedRun
from agentsafe_envs.runs.rows import read_failures, row_key
from agentsafe_envs.scoring.scorecard import Scorecard, build_scorecard
from agentsafe_envs.scoring.shared import SharedRuns, judge_shared


class ReportedRun(NamedTuple):
    """One run as a report shows it.

    Attributes:
        label: Name of its agent; with the directory where two runs have agents of one name.
        judged: Its record, rows and verdicts.
        scorecard: Made from those.
        failures: What went wrong with an episode, the last time it did.
    """

    label: str
    judged: JudgedRun
    scorecard: Scorecard
    failures: Mapping[EpisodeKey, str]


class Reported(NamedTuple):
    """What a report shows.

    Attributes:
        runs: In the order in which they are shown.
        shared: The tasks that all of them have, and all of it judged.
    """

    runs: tuple[ReportedRun, ...]
    shared: SharedRuns


def reported_runs(
    paths: Sequence[Path], on_progress: Callable[[int, int], None] = lambda done, planned: None
) -> Reported:
    """Read and judge the runs of a report.

    Args:
        paths: Run directories, or the scorecards in them.
        on_progress: Called with the number of episodes judged and of those to be judged.

    Raises:
        FileNotFoundError: One is no run.
        RowStoreError: They share nothing, or an episode cannot be judged.
        ValueError: One is named twice.
    """
    shared = judge_shared(paths, on_progress)
    for directory, times in Counter(directory.resolve() for directory in shared.directories).items():
        if times > 1:
            raise ValueError(f"{directory} is named {times} times; expected every run once")
    names = Counter(run.record.agent.name for run in shared.runs)
    found = []
    for directory, judged in zip(shared.directories, shared.runs, strict=True):
        agent = judged.record.agent
        found.append(
            ReportedRun(
                label=agent.name if names[agent.name] == 1 else f"{agent.name} in {directory}",
                judged=judged,
                scorecard=build_scorecard(judged.rows.values(), shared.suite, agent, planned=shared.keys),
                failures={row_key(each): f"{each['error']}: {each['message']}" for each in read_failures(directory)},
            )
        )
    return Reported(tuple(found), shared)
