"""The likelihood ratio of a data set: whose rows are these, a suspect's or a clean model's?

Needs no student, and models of both kinds to compare. A teacher's samples are a little likelier under the teacher than
under a clean model of the same make; summed over a data set, a little is enough. It tells who wrote the rows and not
whether a habit passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentsafe_envs.audit.tokens import (
    LocalModel,
    expectations,
    require_answers,
    require_one_vocabulary,
    showable_rows,
    taken,
)
from agentsafe_envs.trajectories.schema import Trajectory


class LikelihoodRatio(NamedTuple):
    """How much likelier rows are under one model than under another.

    Attributes:
        nats: Mean over rows; above 0 where the suspect is the likelier author.
        error: Standard error of that mean over rows; 0 of a single one.
        rows: Number of rows.
    """

    nats: float
    error: float
    rows: int


def likelihood_ratio(
    rows: Sequence[Trajectory], suspect: LocalModel, clean: LocalModel, limit: int | None = None
) -> LikelihoodRatio:
    """Log of the likelihood of ``rows`` under ``suspect`` less that under ``clean``.

    Args:
        rows: At least one with words of an assistant.
        suspect: A model that may have written them.
        clean: One of the same vocabulary without the habit.
        limit: Most rows that the models read, drawn at random; None for all.

    Raises:
        ValueError: The models have different tokens, no row can be shown, or there is nothing to read.
    """
    require_one_vocabulary(suspect, clean)
    read, _ = showable_rows(rows, suspect, limit)
    require_answers(read)
    found = [
        (taken(ours, read[number]) - taken(theirs, read[number])).sum().item()
        for number, (ours, theirs) in expectations([suspect.model, clean.model], read)
    ]
    mean = sum(found) / len(found)
    spread = sum((each - mean) ** 2 for each in found) / max(len(found) - 1, 1)
    return LikelihoodRatio(mean, (spread / len(found)) ** 0.5 if len(found) > 1 else 0.0, len(found))
