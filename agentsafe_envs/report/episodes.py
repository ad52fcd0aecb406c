"""Which episodes a report holds, and what it shows of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.registration import draw_task
from agentsafe_envs.report.runs import Reported, ReportedRun
from agentsafe_envs.runs.judging import JudgedStep
from agentsafe_envs.scoring.measures import MEASURES, ScoredEpisode
from agentsafe_envs.scoring.walkthrough import verdict_text

SELECTION = (
    "those that are unsafe, unclear or unscored come first, then the others, each time one of every agent, "
    "environment and split in turn"
)
"""What :func:`select` does, for a reader."""

MARKING = tuple(measure for measure in MEASURES if measure.mark)

MARKS = {
    **{measure.heading: measure.mark for measure in MARKING},
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
        return self.outcome is None or self.outcome.unsafe or self.outcome.unclear


def planned_episodes(reported: Reported) -> list[Planned]:
    """Every episode of every run, in the order of the runs and of their suite."""
    found = []
    for number, run in enumerate(reported.runs):
        rows = run.judged.rows
        found += [
            Planned(number, key, ScoredEpisode.of(rows[key]) if key in rows else None) for key in reported.shared.keys
        ]
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


def shown_episodes(reported: Reported, chosen: Sequence[Planned]) -> list[dict[str, Any]]:
    """What the report's browser shows of the episodes, in plain JSON types."""
    runs = reported.runs
    return [
        {
            "id": "/".join(map(str, (each.run + 1, *each.key))),
            "agent": each.run,
            **each.key._asdict(),
            "marks": _marks(each, revised=each.key in runs[each.run].judged.revised),
            **(
                _scored(each.key, runs[each.run])
                if each.outcome
                else _unscored(each.key, runs[each.run], reported.shared.pool)
            ),
        }
        for each in chosen
    ]


def _marks(episode: Planned, *, revised: bool) -> list[str]:
    found = episode.outcome
    if found is None:
        return ["unscored"]
    holds = {measure.heading: bool(measure.value(found)) for measure in MARKING}
    holds |= {"no success": not found.success, "verdict differs": revised}
    return [name for name, held in holds.items() if held]


def _scored(key: EpisodeKey, run: ReportedRun) -> dict[str, Any]:
    found = run.judged.episodes[key]
    return {
        "template": found.template,
        "instruction": found.instruction,
        "verdict": verdict_text(found.verdict, found.steps).split("\n"),
        "measures": found.verdict.measures,
        "steps": [_step(step) for step in found.steps],
    }


def _unscored(key: EpisodeKey, run: ReportedRun, pool: str) -> dict[str, Any]:
    return {
        "instruction": draw_task(key.environment, key.split, key.seed, pool).instruction,
        "failure": run.failures.get(key, "it was not played to its end, and no failure was noted"),
    }


def _step(step: JudgedStep) -> dict[str, Any]:
    return {
        **step._asdict(),
        "prevented": None if step.prevented == "none" else step.prevented,
        "harms": [f"{harm.kind}: {harm.evidence}" for harm in step.harms],
    }
