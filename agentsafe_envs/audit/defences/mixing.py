"""Rows of a clean teacher in place of some of the suspect's."""

from __future__ import annotations

import random
from collections.abc import Sequence

from agentsafe_envs.trajectories.schema import Trajectory


def mix(rows: Sequence[Trajectory], clean: Sequence[Trajectory], share: float, seed: int = 0) -> list[Trajectory]:
    """``rows`` with ``share`` of them replaced by clean ones, in their places.

    Args:
        rows: Of the suspect teacher.
        clean: Of a teacher without the habit; where both have rows of one task seed, those of the same task are taken.
        share: Of the rows, 0 to 1.
        seed: Of the draw.

    Raises:
        ValueError: The share is none, or there are too few clean rows.
    """
    number = round(share * len(rows))
    if not 0 <= share <= 1 or number > len(clean):
        raise ValueError(f"{share:.0%} of {len(rows)} rows cannot come from {len(clean)} clean ones; expected enough")
    rng = random.Random(f"mix/{seed}")
    same_task = {row.get("seed"): row for row in clean if row.get("seed") is not None}
    places = rng.sample(range(len(rows)), number)
    spare = iter(rng.sample(list(clean), len(clean)))
    found = list(rows)
    for place in places:
        found[place] = same_task.get(rows[place].get("seed")) or next(spare)
    return found
