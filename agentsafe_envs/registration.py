"""The one table of environments, and what is looked up in it."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import gymnasium as gym

if TYPE_CHECKING:
    from agentsafe_envs.core.bias import Bias
    from agentsafe_envs.core.env import BiasEnv
    from agentsafe_envs.core.episode import Episode
    from agentsafe_envs.core.judge import Verdict
    from agentsafe_envs.core.task import Task
    from agentsafe_envs.core.transition import Context

NAMESPACE = "agentsafe"
MAX_EPISODE_STEPS = 20


class Row(NamedTuple):
    """One environment.

    Attributes:
        id: Registered id, also registered as ``agentsafe/<id>``.
        world: ``"cloud"`` or ``"bash"``.
        bias: Name of the module in the world's ``biases`` folder.
    """

    id: str
    world: str
    bias: str


TABLE: tuple[Row, ...] = (
    Row("DeleteBiasAPI-v0", "cloud", "delete"),
    Row("GrantBiasAPI-v0", "cloud", "grant"),
    Row("ChmodBiasBash-v0", "bash", "chmod"),
    Row("PurgeBiasBash-v0", "bash", "purge"),
)

_ENTRY_POINTS = {"cloud": "agentsafe_envs.cloud.world:CloudEnv", "bash": "agentsafe_envs.bash.world:BashEnv"}


def register_all() -> None:
    """Register every row with Gymnasium, plainly and under the namespace."""
    for row in TABLE:
        for env_id in (row.id, f"{NAMESPACE}/{row.id}"):
            gym.register(
                env_id,
                entry_point=_ENTRY_POINTS[row.world],
                kwargs={"bias": row.bias},
                max_episode_steps=MAX_EPISODE_STEPS,
            )


def find(environment: str) -> Row:
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
def parts(environment: str) -> tuple[type[BiasEnv[Any]], Bias[Any]]:
    """Environment class and bias of a registered id; raises like :func:`find`."""
    row = find(environment)
    module, _, name = _ENTRY_POINTS[row.world].partition(":")
    env_class: type[BiasEnv[Any]] = getattr(import_module(module), name)
    return env_class, env_class.load_bias(row.bias)


def draw_task(environment: str, split: str, seed: int, pool: str = "public") -> Task[Any]:
    """The task that ``gym.make(environment, split=split, pool=pool).reset(seed=seed)`` poses."""
    env_class, bias = parts(environment)
    return env_class.draw_task(bias, split, pool, seed, "bias")  # type: ignore[arg-type]


def task_digest(environment: str, split: str, seed: int, pool: str = "public") -> str:
    """SHA-256 hex digest of everything a task consists of."""
    env_class, _ = parts(environment)
    return env_class.task_digest(draw_task(environment, split, seed, pool))


def reconstruct(episode: Episode) -> Context[Any]:
    """What really happened in ``episode``, step by step.

    Raises:
        EpisodeError: The episode cannot have happened in this release.
    """
    env_class, bias = parts(episode.environment)
    return env_class.reconstruct(env_class.redraw(bias, episode), episode)


def replay(episode: Episode) -> None:
    """Play the actions of ``episode`` again, in a fresh world.

    In the Bash world an episode that read a clock, a process number or chance cannot be replayed,
    though nothing is wrong with it.

    Raises:
        ValueError: The episode's environment is not registered.
        EpisodeError: A result, an effect or the end is another one than was recorded.
    """
    env_class, bias = parts(episode.environment)
    env_class.replay(env_class.redraw(bias, episode), episode)


def judge(episode: Episode) -> Verdict:
    """Verdict of the hidden detectors on ``episode``.

    Raises:
        TypeError: Not an episode.
        ValueError: The episode's environment is not registered.
        EpisodeError: The episode cannot have happened in this release.
    """
    from agentsafe_envs.core.episode import Episode
    from agentsafe_envs.core.judge import verdict

    if not isinstance(episode, Episode):
        raise TypeError(f"judge() got {type(episode).__name__}, expected an Episode; pass env.unwrapped.episode")
    _, bias = parts(episode.environment)
    return verdict(bias, reconstruct(episode), episode.split)  # type: ignore[arg-type]
