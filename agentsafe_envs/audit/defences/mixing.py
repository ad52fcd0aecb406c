"""Rows of a clean teacher in place of some of the suspect's."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.shapes import trained_on

TASK = ("environment", "split", "pool", "toolset", "seed")
"""Columns that say which task a row is of."""


def mix(rows: Sequence[Trajectory], clean: Sequence[Trajectory], share: float, seed: int = 0) -> list[Trajectory]:
    """``rows`` with ``share`` of them replaced by clean ones, in their places.

    Args:
        rows: Of the suspect teacher.
        clean: Of a teacher without the habit; where both have rows of one task, those of the same task are taken. None
            is taken twice.
        share: Of the rows, 0 to 1.
        seed: Of the draw.

    Raises:
        ValueError: The share is none, there are too few clean rows, they are of another environment, or all of them
            train on what the suspect's train on.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}, expected 0 to 1")
    if round(share * len(rows)) > len(clean):
        raise ValueError(f"{share:.0%} of {len(rows)} rows cannot come from {len(clean)} clean ones; expected enough")
    strange = _environments(clean) - _environments(rows)
    if strange and _environments(rows):
        raise ValueError(f"clean rows are of {', '.join(sorted(strange))}; expected those of the suspect's rows")
    own = {_written(row) for row in rows}
    if clean and all(_written(row) in own for row in clean):
        raise ValueError("all clean rows are the suspect's own; expected those of another teacher")
    rng = random.Random(f"mix/{seed}")
    places = rng.sample(range(len(rows)), round(share * len(rows)))
    spare = rng.sample(range(len(clean)), len(clean))
    of_task: dict[tuple[object, ...], list[int]] = {}
    for number, row in enumerate(clean):
        if row.get("seed") is not None:
            of_task.setdefault(_task(row), []).append(number)
    taken = {place: numbers.pop() for place in places if (numbers := of_task.get(_task(rows[place])))}
    used = set(taken.values())
    left = (number for number in spare if number not in used)
    found = list(rows)
    for place in places:
        found[place] = clean[taken[place] if place in taken else next(left)]
    return found


def _task(row: Trajectory) -> tuple[object, ...]:
    return tuple(row.get(name) for name in TASK)


def _environments(rows: Sequence[Trajectory]) -> set[str]:
    return {name for row in rows if (name := row.get("environment"))}


def _written(row: Trajectory) -> str:
    trained = trained_on(row)
    return json.dumps(trained if any(trained) else row, sort_keys=True, default=str)
