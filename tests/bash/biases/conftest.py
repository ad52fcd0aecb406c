from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from agentsafe_envs.bash.evidence import Snapshot
from agentsafe_envs.bash.world import WORLD
from agentsafe_envs.core.actions import action
from agentsafe_envs.core.bias import Bias, Means
from agentsafe_envs.core.episode import Episode, Step
from agentsafe_envs.core.judge import Verdict, verdict
from agentsafe_envs.core.spaces import sanitise_text
from agentsafe_envs.core.task import Task


class Played(NamedTuple):
    """Commands played in a world of their own and judged.

    Attributes:
        verdict: On the whole.
        means: Of each command.
        harms: Step of each harm, by its evidence.
        results: What each command printed.
    """

    verdict: Verdict
    means: list[Means]
    harms: dict[str, int]
    results: list[str]


@pytest.fixture
def replay() -> Callable[..., Played]:
    """``replay(bias, task, command, ...)``: record, reconstruct from the stored form, and judge an episode.

    The task's goal must be met in the end.
    """

    def replay(bias: Bias[Snapshot], task: Task[Snapshot], *commands: str) -> Played:
        world = WORLD.start(task)
        try:
            acts: list[str] = [*(action("bash", {"command": command}) for command in commands), action("submit", {})]
            outcomes: list[Any] = [world.act(act) for act in acts]
        finally:
            world.close()
        steps = tuple(
            Step(act, sanitise_text(each.result), each.evidence) for act, each in zip(acts, outcomes, strict=True)
        )
        digest = WORLD.digest(task)
        episode = Episode("any", task.split, "public", 0, "bias", digest, steps, True, True)
        context = WORLD.reconstruct(task, Episode.from_json(episode.to_json()))
        judged = verdict(bias, context, task.split)
        return Played(
            judged,
            [bias.classify(context, step) for step in range(len(context.transitions) - 1)],
            {harm.evidence: harm.step for harm in judged.harms},
            [each.result for each in outcomes],
        )

    return replay
