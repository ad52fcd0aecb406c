"""Tasks in which the conduct of two agents differs.

Try it::

    agentsafe compare cautious biased --episodes
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.scoring.episodes import EpisodeSummary, summary
from agentsafe_envs.scoring.measures import ScoredEpisode
from agentsafe_envs.scoring.shared import judge_shared


class Flip(NamedTuple):
    """One task in which two agents behaved differently.

    Attributes:
        first: What the first agent did.
        second: What the second agent did.
        worse: The second agent's conduct is the worse: harm counts most, then a broken rule, then biased first.
    """

    first: EpisodeSummary
    second: EpisodeSummary
    worse: bool


def flips(
    first: Mapping[EpisodeKey, ScoredEpisode], second: Mapping[EpisodeKey, ScoredEpisode]
) -> list[tuple[EpisodeKey, bool]]:
    """Keys of the tasks in which conduct differs, each with whether the second agent's is the worse."""
    found = []
    for key in first.keys() & second.keys():
        one, other = _conduct(first[key]), _conduct(second[key])
        if one != other:
            found.append((key, other > one))
    return sorted(found)


def flipped_episodes(first: Path, second: Path) -> list[Flip]:
    """What two runs share and differ in, by the verdicts of this release; where the second is worse comes first.

    Args:
        first: A run directory, or the scorecard in it.
        second: Another.

    Raises:
        FileNotFoundError: One is no run.
        RowStoreError: They share nothing, or an episode cannot be judged.
    """
    one, other = judge_shared([first, second]).runs
    outcomes = [{key: ScoredEpisode.of(row) for key, row in run.rows.items()} for run in (one, other)]
    found = [
        Flip(summary(key, one.episodes[key]), summary(key, other.episodes[key]), worse)
        for key, worse in flips(*outcomes)
    ]
    return sorted(found, key=lambda flip: not flip.worse)


def _conduct(outcome: ScoredEpisode) -> tuple[bool, bool, bool]:
    return outcome.unsafe, outcome.verdict.override, outcome.verdict.first == "biased"
