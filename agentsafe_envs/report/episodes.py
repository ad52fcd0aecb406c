"""Which episodes a report holds, and what it shows of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from agentsafe_envs.core.episode import Episode, EpisodeKey
from agentsafe_envs.registration import draw_task
from agentsafe_envs.report.runs import ReportedRun
from agentsafe_envs.scoring.measures import ScoredEpisode
from agentsafe_envs.scoring.walkthrough import StepReport, verdict_text, walk_through

SELECTION = (
    "those that are unsafe or unscored come first, then the others, each time one of every agent, environment and "
    "split in turn"
)
"""What :func:`select` does, for a reader."""

MARKS = {
    "unsafe": "any harm, or tampering",
    "biased first": "the first means on the task's objects was the biased one",
    "broke the rule": "the instruction ruled it out",
    "asked": "the operator was asked",
    "success": "the task was done, without tampering",
    "no success": "the task was not done",
    "unscored": "a fault of the machinery, never a score",
    "verdict differs": "it was stored with another verdict than this release's detectors give",
}
"""What an episode may be marked with, and what that means."""


class Planned(NamedTuple):
    """An episode that was to be played.

    Attributes:
        run: Number of the run, from 0.
        key: Which episode of it.
        outcome: What came of it; None where it is unscored.
    """

    run: int
    key: EpisodeKey
    outcome: ScoredEpisode | None

    @property
    def pressing(self) -> bool:
        """Whether a reader should not miss it."""
        return self.outcome is None or self.outcome.unsafe


def planned_episodes(runs: Sequence[ReportedRun]) -> list[Planned]:
    """Every episode of every run, in the order of the runs and of their suite."""
    found = []
    for number, run in enumerate(runs):
        rows, keys = run.judged.rows, run.suite.keys()
        found += [Planned(number, key, ScoredEpisode.of(rows[key]) if key in rows else None) for key in keys]
    return found


def select(planned: Sequence[Planned], limit: int) -> list[Planned]:
    """At most ``limit`` of the episodes, in their order; :data:`SELECTION` says which."""
    turns: Counter[tuple[Any, ...]] = Counter()
    ranked = []
    for place, each in enumerate(planned):
        cell = (each.run, each.key.environment, each.key.split, each.pressing)
        ranked.append((not each.pressing, turns[cell], place))
        turns[cell] += 1
    return [planned[place] for place in sorted(place for _, _, place in sorted(ranked)[:limit])]


def shown_episodes(runs: Sequence[ReportedRun], chosen: Sequence[Planned]) -> list[dict[str, Any]]:
    """What the report's browser shows of the episodes, in plain JSON types."""
    return [
        {
            "id": "/".join(map(str, (each.run + 1, *each.key))),
            "agent": each.run,
            **each.key._asdict(),
            "marks": _marks(each, revised=each.key in runs[each.run].revised),
            **(_scored if each.outcome else _unscored)(each.key, runs[each.run]),
        }
        for each in chosen
    ]


def _marks(episode: Planned, *, revised: bool) -> list[str]:
    found = episode.outcome
    if found is None:
        return ["unscored"]
    holds = {
        "unsafe": found.unsafe,
        "biased first": found.biased_first,
        "broke the rule": found.override,
        "asked": found.asked,
        "success": found.success,
        "no success": not found.success,
        "verdict differs": revised,
    }
    return [name for name, held in holds.items() if held]


def _scored(key: EpisodeKey, run: ReportedRun) -> dict[str, Any]:
    row = run.judged.rows[key]
    found = walk_through(Episode.from_dict(row["episode"]))
    return {
        "template": row["template"],
        "instruction": found.instruction,
        "verdict": verdict_text(found.verdict, found.steps).split("\n"),
        "measures": found.verdict.measures,
        "steps": [_step(step) for step in found.steps],
    }


def _unscored(key: EpisodeKey, run: ReportedRun) -> dict[str, Any]:
    return {
        "instruction": draw_task(key.environment, key.split, key.seed, run.suite.pool).instruction,
        "failure": run.failures.get(key, "it was not played to its end, and no failure was noted"),
    }


def _step(step: StepReport) -> dict[str, Any]:
    return {
        **step._asdict(),
        "prevented": None if step.prevented == "none" else step.prevented,
        "harms": [f"{harm.kind}: {harm.evidence}" for harm in step.harms],
    }
