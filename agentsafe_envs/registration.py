"""The one table of environments, and what is looked up in it."""

from __future__ import annotations

from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym

if TYPE_CHECKING:
    from gymnasium.vector import AsyncVectorEnv

    from agentsafe_envs.core.bias import Bias
    from agentsafe_envs.core.env import BiasEnv
    from agentsafe_envs.core.episode import Episode
    from agentsafe_envs.core.judge import Verdict
    from agentsafe_envs.core.task import Task
    from agentsafe_envs.core.transition import Context
    from agentsafe_envs.core.world import World

NAMESPACE = "agentsafe"
REMOTE = "Remote-v0"
"""Id, in the namespace, of the environment that plays a board's held-out track."""

MAX_EPISODE_STEPS = 20


class EnvironmentRow(NamedTuple):
    """One environment.

    Attributes:
        id: Registered id, also registered as ``agentsafe/<id>``.
        world: ``"cloud"`` or ``"bash"``.
        bias: Name of the module in the world's ``biases`` folder.
    """

    id: str
    world: str
    bias: str


TABLE: tuple[EnvironmentRow, ...] = (
    EnvironmentRow("DeleteBiasAPI-v0", "cloud", "delete"),
    EnvironmentRow("GrantBiasAPI-v0", "cloud", "grant"),
    EnvironmentRow("ChmodBiasBash-v0", "bash", "chmod"),
    EnvironmentRow("PurgeBiasBash-v0", "bash", "purge"),
)

WORLDS = {"cloud": "agentsafe_envs.cloud.world", "bash": "agentsafe_envs.bash.world"}
"""Module of each world, with its ``WORLD``."""


def register_all() -> None:
    """Register every row with Gymnasium, plainly and under the namespace."""
    for row in TABLE:
        for env_id in (row.id, f"{NAMESPACE}/{row.id}"):
            gym.register(
                env_id,
                entry_point=f"{__name__}:make_env",
                vector_entry_point=f"{__name__}:make_vector_env",
                kwargs={"world": row.world, "bias": row.bias},
                max_episode_steps=MAX_EPISODE_STEPS,
            )
    gym.register(f"{NAMESPACE}/{REMOTE}", entry_point="agentsafe_envs.integrations.remote:RemoteEnv")


def make_env(world: str, bias: str, **options: Any) -> BiasEnv:
    """The environment of a world and a bias by name; what ``gym.make`` calls.

    Args:
        world: A key of :data:`WORLDS`.
        bias: Name of the module in the world's ``biases`` folder.
        options: Of :class:`~agentsafe_envs.core.env.BiasEnv`.

    Raises:
        ValueError: No such bias, or an option is none of those listed.
    """
    from agentsafe_envs.core.env import BiasEnv

    found = _world(world)
    return BiasEnv(found, found.bias(bias), **options)


def make_vector_env(num_envs: int, world: str, bias: str, **options: Any) -> AsyncVectorEnv[Any, Any]:
    """Environments in processes of their own; what ``gym.make_vec`` calls where no mode is named.

    Args:
        num_envs: How many.
        world: As for :func:`make_env`.
        bias: As for :func:`make_env`.
        options: Of ``gym.make``.
    """
    from gymnasium.vector import AsyncVectorEnv

    row = next(row for row in TABLE if (row.world, row.bias) == (world, bias))
    # The module before the id registers the environment where a process starts afresh.
    make = partial(gym.make, f"{__name__.partition('.')[0]}:{row.id}", **options)
    return AsyncVectorEnv([make] * num_envs)


def find(environment: str) -> EnvironmentRow:
    """The row of a registered id, with or without the namespace.

    Raises:
        ValueError: No such environment; the message lists what there is.
    """
    name = environment.removeprefix(f"{NAMESPACE}/")
    for row in TABLE:
        if row.id == name:
            return row
    raise ValueError(f"no environment {environment!r}, expected one of {', '.join(row.id for row in TABLE)}")


@cache
def resolve(environment: str) -> tuple[World[Any], Bias[Any]]:
    """World and bias of a registered id; raises like :func:`find`."""
    row = find(environment)
    world = _world(row.world)
    return world, world.bias(row.bias)


def _world(name: str) -> World[Any]:
    return import_module(WORLDS[name]).WORLD


def draw_task(environment: str, split: str, seed: int, pool: str = "public") -> Task[Any]:
    """The task that ``gym.make(environment, split=split, pool=pool).reset(seed=seed)`` poses."""
    world, bias = resolve(environment)
    return world.draw(bias, split, pool, seed)  # type: ignore[arg-type]


def task_digest(environment: str, split: str, seed: int, pool: str = "public") -> str:
    """SHA-256 hex digest of everything a task consists of."""
    world, _ = resolve(environment)
    return world.digest(draw_task(environment, split, seed, pool))


def reconstruct(episode: Episode) -> Context[Any]:
    """What really happened in ``episode``, step by step.

    Raises:
        EpisodeError: The episode cannot have happened in this release.
    """
    world, bias = _resolve_episode(episode)
    return world.reconstruct(world.redraw(bias, episode), episode)


def replay(episode: Episode) -> None:
    """Play the actions of ``episode`` again, in a fresh world.

    In the Bash world an episode that read a clock, a process number or chance cannot be replayed,
    though nothing is wrong with it.

    Raises:
        EpisodeError: A result, an effect or the end is another one than was recorded, or the
            environment is not registered.
    """
    world, bias = _resolve_episode(episode)
    world.replay(world.redraw(bias, episode), episode)


def judge(episode: Episode | gym.Env[Any, Any]) -> Verdict:
    """Verdict of the hidden detectors.

    Args:
        episode: An episode, or an environment of this package that holds one.

    Raises:
        TypeError: Neither.
        ResetNeeded: The environment holds no episode.
        EpisodeError: The episode cannot have happened in this release.
    """
    from agentsafe_envs.core.episode import Episode
    from agentsafe_envs.core.judge import verdict

    found = episode if isinstance(episode, Episode) else Episode.of(episode)
    _, bias = _resolve_episode(found)
    return verdict(bias, reconstruct(found), found.split)  # type: ignore[arg-type]


def _resolve_episode(episode: Episode) -> tuple[World[Any], Bias[Any]]:
    from agentsafe_envs.core.episode import EpisodeError, require_plain

    require_plain(episode)
    try:
        return resolve(episode.environment)
    except ValueError as error:
        raise EpisodeError(str(error)) from error
