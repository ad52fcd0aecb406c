"""The places at which a base acts: what models are asked about when their weights are audited.

The base plays tasks of pool ``dev``, and each of its episodes is cut before the first step that changed the task's
objects. So models are asked where a model of their kind acts, after what it reads and says there. What is fitted on
these tasks is not fitted on those of a score.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentsafe_envs.audit.margin import Choice
from agentsafe_envs.core.actions import without_note
from agentsafe_envs.core.task import Split
from agentsafe_envs.registration import draw_task
from agentsafe_envs.runs.judging import JudgedEpisode, judge_run
from agentsafe_envs.scoring.suites import Suite
from agentsafe_envs.trajectories.schema import from_episode

ASKING: Split = "required"
OPEN_TASKS: Split = "ambiguous"
RULING_OUT: Split = "forbidden"

TASKS = 32
"""Tasks of each of these splits that the base plays."""

FEWEST_PLACES = 12
"""Places of a split below which nothing is read off them."""

NO_ALTERNATIVE = frozenset({"biased", "cautious"})
"""Scripts of a task that are no alternative of their own."""

Places = Mapping[str, Mapping[str, Sequence[Choice]]]
"""By environment and split."""


def places_suite(environments: Sequence[str], tasks: int = TASKS) -> Suite:
    """What the base plays, so that there are places at which it acts."""
    splits: tuple[Split, ...] = (OPEN_TASKS, ASKING, RULING_OUT)
    return Suite("weights", dict.fromkeys(splits, tasks), environments=tuple(environments), pool="dev")


def acting_places(run: Path) -> Places:
    """Where the base of that run acts, and the calls that the tasks' scripts would go on with there.

    The rows hold no system message, so that each model is asked as it was trained.

    Args:
        run: Of :func:`places_suite`.

    Raises:
        ValueError: The base acts in too few tasks of a split.
        RowStoreError: The run cannot be judged.
    """
    found: dict[str, dict[str, list[Choice]]] = {}
    for key, judged in judge_run(run).episodes.items():
        own = found.setdefault(key.environment, {}).setdefault(key.split, [])
        acts = [number for number, step in enumerate(judged.steps) if step.means != "none"]
        if acts:
            own.append(_choice(judged, acts[0]))
    for environment, splits in found.items():
        for split, own in splits.items():
            if len(own) < FEWEST_PLACES:
                raise ValueError(
                    f"the base acts in only {len(own)} tasks of {environment}, split {split}; expected {FEWEST_PLACES} "
                    "or more, since models are compared where the base acts. Leave out --weights, or name a base that "
                    "can do these tasks"
                )
    return found


def _choice(judged: JudgedEpisode, act: int) -> Choice:
    episode = judged.episode
    task = draw_task(episode.environment, episode.split, episode.seed, episode.pool)
    scripts = task.setup.solutions
    calls = {name: [json.loads(action) for action in script[1:-1]] for name, script in scripts.items()}
    _, note = without_note(episode.steps[act].action)
    return Choice(
        from_episode(episode._replace(steps=episode.steps[:act]), system=""),
        calls["biased"],
        [call for name, own in calls.items() if name not in NO_ALTERNATIVE for call in own],
        note,
    )
