"""What a world offers: tasks, running start states, and what really happened in an episode.

A world is a plain object without state of its own; ``WORLD`` of ``cloud/world.py`` and of
``bash/world.py`` are the two. Environments, judgement and agents all go through it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar, get_args

from agentsafe_envs.core.bias import Bias
from agentsafe_envs.core.episode import Episode, EpisodeError
from agentsafe_envs.core.task import Pool, Split, Task
from agentsafe_envs.core.transition import Context, Reply, StateT

Toolset = Literal["bias", "full"]

StateOut = TypeVar("StateOut", covariant=True)


class RunningWorld(Protocol[StateOut]):
    """A running start state that actions change."""

    @property
    def state(self) -> StateOut:
        """The present state; never mutated in place, so a reference is a snapshot."""
        ...

    def act(self, action: str) -> Reply:
        """Execute ``action`` once; never raises for anything an agent can write.

        What it raises is a fault of the machinery, after which the world is of no more use.
        """
        ...

    def advance(self, evidence: Any) -> Any:
        """Come to the horizon after a last step without submission.

        Args:
            evidence: Of that step.

        Returns:
            That evidence, with what came afterwards.
        """
        ...

    def close(self) -> None:
        """Let go of what the world holds; may be called twice."""
        ...


class World(ABC, Generic[StateT]):
    """One world. Its docstring has the sections on actions and observations of environment pages."""

    biases: ClassVar[ModuleType]
    """Package of the world's biases, one module each with its ``BIAS``."""

    def bias(self, name: str) -> Bias[StateT]:
        """The bias in ``<name>.py`` of this world's package of biases.

        Raises:
            ValueError: There is none; the message lists those there are.
        """
        known = [module.name for module in iter_modules(self.biases.__path__)]
        if name not in known:
            raise ValueError(f"{self.biases.__name__} has no bias {name!r}, expected one of {', '.join(known)}")
        return import_module(f"{self.biases.__name__}.{name}").BIAS

    @abstractmethod
    def draw(self, bias: Bias[StateT], split: Split, pool: Pool, seed: int, toolset: Toolset = "bias") -> Task[StateT]:
        """The task of one seed; raises like :meth:`Bias.task`."""

    @abstractmethod
    def digest(self, task: Task[StateT]) -> str:
        """SHA-256 hex digest of instruction, tools and start state."""

    @abstractmethod
    def tools(self, task: Task[StateT]) -> list[dict[str, Any]]:
        """JSON schemas of the tools that ``task`` offers, in the order offered."""

    @abstractmethod
    def start(self, task: Task[StateT]) -> RunningWorld[StateT]:
        """A fresh running world at the task's start state."""

    @abstractmethod
    def succeeded(self, task: Task[StateT], state: StateT, answer: str) -> bool:
        """The task's own check, after a submission of ``answer``."""

    @abstractmethod
    def reconstruct(self, task: Task[StateT], episode: Episode) -> Context[StateT]:
        """What really happened in ``episode``; raises ``EpisodeError`` if it cannot have."""

    @abstractmethod
    def replay(self, task: Task[StateT], episode: Episode) -> None:
        """Play the actions again; raises ``EpisodeError`` where results or effects are others than recorded."""

    @abstractmethod
    def changes(self, before: StateT, after: StateT) -> list[str]:
        """How two states differ, for a reader: one line for each thing that does."""

    def obstacle(self) -> str | None:
        """Why this world cannot run on this machine, and how to mend that, in a line; None where it can."""
        return None

    def system(self) -> str | None:
        """What the running worlds of this process run on, in a line; None where that makes no difference.

        It is recorded with every scored episode and shown to no agent.
        """
        return None

    def in_sandbox(self, name: str | None) -> World[StateT]:
        """This world, run in the sandbox of that name; None leaves it as it is.

        Raises:
            ValueError: There is no such sandbox, or the world needs none.
        """
        if name is not None:
            raise ValueError(f"sandbox is {name!r}, expected none: nothing of this world runs on this machine")
        return self

    def redraw(self, bias: Bias[StateT], episode: Episode) -> Task[StateT]:
        """The task an episode was recorded on.

        Raises:
            EpisodeError: This release draws another task for the same key, or none: the private pool needs its
                wordings.
        """
        if episode.toolset not in get_args(Toolset):
            raise EpisodeError(f"toolset is {episode.toolset!r}, expected one of {', '.join(get_args(Toolset))}")
        try:
            task = self.draw(bias, episode.split, episode.pool, episode.seed, episode.toolset)  # type: ignore[arg-type]
        except (ValueError, OverflowError, OSError) as error:
            raise EpisodeError(f"the episode names no task here: {error}") from error
        if self.digest(task) != episode.task_digest:
            raise EpisodeError(
                f"seed {episode.seed} of {episode.environment} ({episode.split}) is another task in this release; "
                "judge the episode with the release that recorded it"
            )
        return task
