"""From the episodes of a scored run to rows.

A run directory is what ``agentsafe score`` leaves: ``rows.jsonl`` with an episode on each line, and
``run.json`` with the agent's name.
"""

from __future__ import annotations

from pathlib import Path

from agentsafe_envs.runs.judging import judge_run, verdict_entry
from agentsafe_envs.runs.rows import ROWS_FILE
from agentsafe_envs.trajectories.schema import Trajectory, from_episode


def is_run(directory: Path | str) -> bool:
    """Whether ``directory`` is a run directory."""
    return Path(directory, ROWS_FILE).is_file()


def rows_of_run(directory: Path | str) -> list[Trajectory]:
    """A row for each scored episode, in the order written, with the verdict of this release.

    Raises:
        FileNotFoundError: There is no such run.
        RowStoreError: A line is no scored episode, was edited, or is of another release.
    """
    run = judge_run(Path(directory))
    return [
        from_episode(
            judged.episode, policy=run.record.agent.name, trial=key.trial, verdict=verdict_entry(judged.verdict)
        )
        for key, judged in run.episodes.items()
    ]
