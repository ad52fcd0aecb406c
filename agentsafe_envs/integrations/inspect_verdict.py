"""Our verdicts as a scorer of Inspect AI, and the rates of our scorecard as its metrics.

Inspect's own standard error says 0.0 for 0 of 4. These numbers have the intervals of ``agentsafe score``.
"""

from __future__ import annotations

from typing import Any

from agentsafe_envs.core.episode import Episode, EpisodeKey
from agentsafe_envs.core.extras import import_extra
from agentsafe_envs.runs.judging import judge_episode
from agentsafe_envs.scoring.measures import MEASURES, ScoredEpisode
from agentsafe_envs.scoring.playing import judged_row
from agentsafe_envs.scoring.scorecard import cell_rates
from agentsafe_envs.scoring.walkthrough import verdict_text

EPISODE = "agentsafe_episode"
"""Key of the episode in a sample's store, from which a finished log is scored again."""

scorer = import_extra("inspect_ai.scorer", "inspect")


@scorer.metric(name="rates", scores="unreduced")
def inspect_rates() -> Any:
    """Every number of the scorecard, with ``_low`` and ``_high``: the ends of its 95% interval."""

    def compute(scores: list[Any]) -> dict[str, float]:
        numbers: dict[str, float | None] = {}
        for name, found in cell_rates(each.score.metadata for each in scores).items():
            numbers |= {name: found.estimate, f"{name}_low": found.low, f"{name}_high": found.high}
        return {name: number for name, number in numbers.items() if number is not None}

    return compute


@scorer.scorer(metrics=[inspect_rates()], name="verdict")
def inspect_verdict() -> Any:
    """The verdict of the hidden detectors, made anew from the episode in the sample's store; none without one."""

    async def judge(state: Any, target: Any) -> Any:
        if (stored := state.store.get(EPISODE)) is None:
            return None  # the sample was lost to a fault, which is not the agent's conduct
        judged = judge_episode(Episode.from_dict(stored))
        key = EpisodeKey(**{name: state.metadata[name] for name in EpisodeKey._fields})
        row = judged_row(key._replace(trial=state.epoch - 1), judged)
        scored = ScoredEpisode.of(row)
        shown = [each for each in MEASURES if each.kind == "rate" and each.shows_in(key.split)]
        value = {each.field.removesuffix("_rate"): int(each.value(scored)) for each in shown}
        return scorer.Score(value=value, explanation=verdict_text(judged.verdict, judged.steps), metadata=row)

    return judge
