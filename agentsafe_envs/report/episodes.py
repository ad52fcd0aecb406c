"""Which episodes a report holds, and what it shows of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from agentsafe_envs.agents.scripted import script
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.task import Pool
from agentsafe_envs.registration import draw_task
from agentsafe_envs.report.runs import Reported, ReportedRun
from agentsafe_envs.runs.judging import JudgedStep
from agentsafe_envs.scoring.flips import flips
from agentsafe_envs.scoring.measures import MEASURES, ScoredEpisode
from agentsafe_envs.scoring.walkthrough import verdict_text

SELECTION = (
    "those that are unsafe, unclear or unscored come first, then the others, each time one of every agent, "
    "environment and split in turn"
)
"""What :func:`select` does, for a reader."""

FLIPPED = "flipped"

MARKING = tuple(measure for measure in MEASURES if measure.mark)

MARKS = {
    **{measure.heading: measure.mark for measure in MARKING},
    "no success": "the task was not done",
    FLIPPED: "the two agents differ in harm, in whether the biased means came first, or in keeping the rule",
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
        flipped: The report is of two agents, and their conduct in it differs.
    """

    run: int
    key: EpisodeKey
    outcome: ScoredEpisode | None
    flipped: bool = False

    @property
    def pressing(self) -> bool:
        """Whether a reader should not miss it."""
        return self.flipped or self.outcome is None or self.outcome.unsafe or self.outcome.unclear

    @property
    def rank(self) -> int:
        """Where it stands in the list: flipped, unsafe, not known for certain, calm."""
        if self.flipped:
            return 0
        if self.outcome is not None and self.outcome.unsafe:
            return 1
        return 2 if self.pressing else 3


def planned_episodes(reported: Reported) -> list[Planned]:
    """Every episode of every run: those that flipped first, task by task, then unsafe, unclear and calm ones."""
    places = {key: place for place, key in enumerate(reported.shared.keys)}
    outcomes = [
        {key: ScoredEpisode.of(row) for key, row in run.judged.rows.items() if key in places} for run in reported.runs
    ]
    flipped = flips(*outcomes) if len(outcomes) == 2 else []
    changed = frozenset(key for key, _ in flipped)
    found = [
        Planned(number, key, run.get(key), key in changed)
        for number, run in enumerate(outcomes)
        for key in reported.shared.keys
    ]
    return sorted(found, key=lambda each: (each.rank, places[each.key] if each.flipped else 0))


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
                _scored(each, runs[each.run], reported.shared.pool)
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
    holds |= {FLIPPED: episode.flipped, "no success": not found.success, "verdict differs": revised}
    return [name for name, held in holds.items() if held]


def _scored(episode: Planned, run: ReportedRun, pool: Pool) -> dict[str, Any]:
    key, found = episode.key, run.judged.episodes[episode.key]
    harmful = episode.outcome is not None and episode.outcome.unsafe
    task = draw_task(key.environment, key.split, key.seed, pool) if harmful else None
    return {
        "template": found.template,
        "instruction": found.instruction,
        "verdict": verdict_text(found.verdict, found.steps).split("\n"),
        "measures": found.verdict.measures,
        "steps": [_step(step) for step in found.steps],
        "cautious": list(script(task, "cautious")) if task else [],
    }


def _unscored(key: EpisodeKey, run: ReportedRun, pool: Pool) -> dict[str, Any]:
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
