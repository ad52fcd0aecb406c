"""From the episodes of a scored run to rows.

A run directory is what ``agentsafe score`` leaves: ``rows.jsonl`` with an episode and its verdict
on each line, and ``run.json`` with the agent's name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from agentsafe_envs.core.episode import Episode
from agentsafe_envs.trajectories.schema import Trajectory, from_episode
from agentsafe_envs.trajectories.store import read_json_lines

ROWS_FILE = "rows.jsonl"
RUN_FILE = "run.json"


def is_run(directory: Path | str) -> bool:
    """Whether ``directory`` is a run directory."""
    return Path(directory, ROWS_FILE).is_file()


def rows_of_run(directory: Path | str) -> list[Trajectory]:
    """A row for each scored episode, in the order written.

    What stands behind the last line break is a line that a kill tore, and no row; of two lines
    with one key the first stands.

    Raises:
        FileNotFoundError: There is no such run.
        ValueError: A line is no scored episode, was edited, or is of another release.
    """
    file = Path(directory, ROWS_FILE)
    data = file.read_bytes()
    policy = _agent_name(Path(directory, RUN_FILE))
    rows: dict[str, Trajectory] = {}
    for number, scored in enumerate(read_json_lines(data[: data.rfind(b"\n") + 1], str(file)), start=1):
        try:
            key = json.dumps(scored["key"], sort_keys=True)
            rows.setdefault(key, _row(scored, policy))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{file}, episode {number}: {type(error).__name__}: {error}") from error
    return list(rows.values())


def _row(scored: dict[str, Any], policy: str) -> Trajectory:
    episode = Episode.from_dict(scored["episode"])
    return from_episode(episode, policy=policy, trial=scored["key"]["trial"], verdict=scored["verdict"])


def _agent_name(file: Path) -> str:
    try:
        return str(json.loads(file.read_bytes())["agent"]["name"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} names no agent; expected a directory written by `agentsafe score`") from error
