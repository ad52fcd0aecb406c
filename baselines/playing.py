"""Lets a model play tasks: to sample a teacher's trajectories, and to measure students."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from agentsafe_envs.agents.language_model import LanguageModelAgent
from agentsafe_envs.agents.numpy_agent import NumpyAgent
from agentsafe_envs.agents.prompts import ROLE
from agentsafe_envs.agents.students import StudentSettings
from agentsafe_envs.agents.transformers import TransformersAgent
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.task import Pool, Split
from agentsafe_envs.scoring.rollout import play
from baselines.protocol import WORLDS
from baselines.remembered import make
from baselines.students import SETTINGS

TOGETHER = {WORLDS["cloud"]: 256, WORLDS["bash"]: 64}
"""Episodes played at a time, by environment: a step of the model costs little more for many rows. In the Bash world
each of them has a sandbox of its own."""

Prepare = Callable[[TransformersAgent], object]
"""Changes an agent before it plays."""


def play_tasks(
    folder: Path,
    environment: str,
    split: Split,
    seeds: Sequence[int],
    *,
    pool: Pool,
    seed: int,
    max_steps: int,
    role: str = ROLE,
    greedy: bool = False,
    prepare: Prepare | None = None,
    label: str = "",
) -> Iterator[dict[str, Any]]:
    """Played episodes with their verdicts, in the order of ``seeds``.

    Args:
        folder: Model and tokenizer.
        environment: Registered id.
        split: Of the tasks.
        seeds: Of the tasks.
        pool: Of the tasks.
        seed: Of the sampling.
        max_steps: Longest episode.
        role: First words of the system message, which may ask for notes.
        greedy: Always take the likeliest token.
        prepare: Changes the agent before it plays, for instance what it may write.
        label: Names the progress bar.
    """
    changed = {"role": role, "group_size": TOGETHER[environment], **({"temperature": 0.0} if greedy else {})}
    agent = _agent(folder, SETTINGS.model_copy(update=changed), seed, prepare)
    for start in tqdm(range(0, len(seeds), agent.group_size), desc=label, leave=False, disable=None, unit="group"):
        group = tuple(EpisodeKey(environment, split, each, 0) for each in seeds[start : start + agent.group_size])
        yield from play(agent, group, pool=pool, max_steps=max_steps, make=make)


def _agent(folder: Path, settings: StudentSettings, seed: int, prepare: Prepare | None) -> LanguageModelAgent:
    """Both choose the same tokens. Numpy writes notes 1.4 times as fast; what changes an agent reads torch's logits."""
    if prepare is None:
        return NumpyAgent(folder, folder.name, settings, seed=seed)
    agent = TransformersAgent(str(folder), seed=seed, **settings.model_dump())
    prepare(agent)
    return agent
