"""Episodes as a Minari data set, for offline reinforcement learning.

Reward and end of an episode are those that its environment gave: they are told by the episode itself, so
nothing is played again. Minari keeps its data sets in ``~/.minari/datasets``, or where MINARI_DATASETS_PATH says.

Try it::

    agentsafe score scripted:cautious --out cautious
    python -c "import agentsafe_envs; agentsafe_envs.to_minari('cautious', 'cloud/cautious-v0', env='DeleteBiasAPI-v0')"
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from agentsafe_envs.core.actions import spell
from agentsafe_envs.core.episode import Episode
from agentsafe_envs.core.extras import import_extra
from agentsafe_envs.core.spaces import MAX_ACTION_CHARS, sanitise_text
from agentsafe_envs.registration import find
from agentsafe_envs.trajectories.export import is_run, rows_of_run
from agentsafe_envs.trajectories.schema import Trajectory, call_of_action, to_conversation, to_episode
from agentsafe_envs.trajectories.store import load

if TYPE_CHECKING:
    from minari import MinariDataset

FORMAT = "parquet"

METADATA = ("split", "pool", "toolset", "trial", "template", "policy", "task_digest", "success", "verdict", "sha256")
"""Columns of a row that are kept as metadata of its episode, where no learner takes them for an observation."""


def to_minari(
    source: str | PathLike[str] | Iterable[Trajectory],
    dataset_id: str,
    *,
    env: str | None = None,
    **facts: Any,
) -> MinariDataset:
    """Make a Minari data set of episodes of one environment.

    Args:
        source: A run or its directory, a data set of ``agentsafe data``, or rows.
        dataset_id: As Minari names data sets, for instance ``"cloud/cautious-v0"``.
        env: Only episodes of this environment; needed where there are several.
        facts: Of ``minari.create_dataset_from_buffers``: ``author``, ``description``, ``code_permalink`` ...

    Returns:
        The data set. An episode has the observations, actions, rewards and ends that its environment gave, the seed
        for ``reset``, and everything else in its metadata. An action outside the action space is spelled in ASCII.

    Raises:
        MissingExtraError: Minari is missing; the message says how to install it.
        FileNotFoundError: There is no such run or data set.
        EpisodeError: A row is no whole episode.
        ValueError: Episodes of no or several environments or tool sets, an episode without a step, or an id that
            Minari does not take or already has.
    """
    minari = import_extra("minari", "minari")
    if not re.fullmatch(r"(?:[\w-]+/)*[\w:-]+-v\d+", dataset_id):
        raise ValueError(f"the data set's id is {dataset_id!r}, expected a name and a version, as in cloud/biased-v0")
    rows = _chosen(_rows(source), env)
    episodes = [to_episode(row) for row in rows]
    made = _environment(episodes)
    try:
        buffers = [
            minari.data_collector.EpisodeBuffer(
                seed=episode.seed, **_transitions(episode, to_conversation(row).instruction, made)
            )
            for episode, row in zip(episodes, rows, strict=True)
        ]
        known = {
            "algorithm_name": ", ".join(sorted({row.get("policy", "") for row in rows} - {""})) or None,
            "description": f"Episodes of {episodes[0].environment}; metadata of an episode holds split and verdict.",
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of every fact that stays unknown, one each
            data = minari.create_dataset_from_buffers(
                dataset_id, buffers, env=made, data_format=FORMAT, **(known | facts)
            )
    finally:
        made.close()
    data.storage.update_episode_metadata([{name: row.get(name) for name in METADATA if name in row} for row in rows])
    return data


def _rows(source: str | PathLike[str] | Iterable[Trajectory]) -> list[Trajectory]:
    if not isinstance(source, str | PathLike):
        return list(source)
    folder = Path(source)
    return rows_of_run(folder) if is_run(folder) else load(folder)


def _chosen(rows: Sequence[Trajectory], env: str | None) -> list[Trajectory]:
    """The rows of one environment."""
    wanted = find(env).id if env else None
    found = [row for row in rows if wanted in (None, row.get("environment"))]
    there = sorted({str(row.get("environment")) for row in rows})
    if not found:
        raise ValueError(
            f"no episode of {wanted or 'any environment'}; there are episodes of {', '.join(there) or 'none'}"
        )
    if len({row.get("environment") for row in found}) > 1:
        raise ValueError(f"episodes of {', '.join(there)}; a Minari data set has one environment, so name it with env")
    return found


def _environment(episodes: Sequence[Episode]) -> gym.Env[Any, Any]:
    """The environment that a reader of the data set recovers: with the split and pool that all episodes share."""
    toolsets = {episode.toolset for episode in episodes}
    if len(toolsets) > 1:
        raise ValueError(f"episodes with the tool sets {', '.join(sorted(toolsets))}; make a data set of each")
    shared = {name: {getattr(episode, name) for episode in episodes} for name in ("split", "pool", "toolset")}
    options = {name: values.pop() for name, values in shared.items() if len(values) == 1}
    return gym.make(episodes[0].environment, **options)


def _transitions(episode: Episode, instruction: str, env: gym.Env[Any, Any]) -> dict[str, Any]:
    """An episode as columns, one entry a step; observations have one more."""
    steps = len(episode.steps)
    if not steps:
        raise ValueError(f"the episode of seed {episode.seed} ({episode.split}) has no step; leave it out")
    before = steps - 1
    return {
        "observations": {
            "instruction": [instruction] * (steps + 1),
            "result": ["", *(step.result for step in episode.steps)],
        },
        "actions": [_in_space(step.action, env) for step in episode.steps],
        "rewards": [0.0] * before + [float(episode.success)],
        "terminations": [False] * before + [episode.terminated],
        "truncations": [False] * before + [not episode.terminated],
    }


def _in_space(action: str, env: gym.Env[Any, Any]) -> str:
    """The action, or a spelling of it that the action space has: of a call the same call, of anything else escapes."""
    if action in env.action_space:
        return action
    call = call_of_action(action)
    return sanitise_text(spell(call) if call else action, MAX_ACTION_CHARS)
