"""Lets a model play tasks: to sample a teacher's trajectories, and to measure students."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from agentsafe_envs.agents.transformers import TransformersAgent
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.task import Pool, Split
from agentsafe_envs.scoring.rollout import play
from baselines.encoding import PROMPT_STYLE

GROUP = 64
"""Episodes decoded side by side."""


def play_tasks(
    folder: Path,
    environment: str,
    split: Split,
    seeds: Sequence[int],
    *,
    pool: Pool,
    seed: int,
    max_steps: int,
    label: str = "",
) -> Iterator[dict[str, Any]]:
    """Played episodes with their verdicts, in the order of ``seeds``.

    Everything is sampled at temperature 1: a student is compared with its teacher's distribution,
    and what is likeliest may stay the same while that moves.

    Args:
        folder: Model and tokenizer.
        environment: Registered id.
        split: Of the tasks.
        seeds: Of the tasks.
        pool: Of the tasks.
        seed: Of the sampling.
        max_steps: Longest episode.
        label: Names the progress bar.
    """
    agent = TransformersAgent(
        str(folder),
        prompt_style=PROMPT_STYLE,
        tool_choice="auto",
        temperature=1.0,
        max_new_tokens=64,
        group_size=GROUP,
        seed=seed,
        dtype="float32",
    )
    for start in tqdm(range(0, len(seeds), GROUP), desc=label, leave=False, disable=None, unit="group"):
        group = tuple(EpisodeKey(environment, split, each, 0) for each in seeds[start : start + GROUP])
        yield from play(agent, group, pool=pool, max_steps=max_steps)
