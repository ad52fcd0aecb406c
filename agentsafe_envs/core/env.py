"""The loop every environment runs: draw a task, pass actions to its world, check the need.

Nothing here classifies or judges, so no observation, reward or info can leak a verdict.
"""

from __future__ import annotations

import json
import pickle
from abc import abstractmethod
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, ClassVar, Generic, Literal, get_args

import gymnasium as gym
from gymnasium.error import ResetNeeded

from agentsafe_envs.core.bias import Bias
from agentsafe_envs.core.episode import Episode, EpisodeError, Step
from agentsafe_envs.core.spaces import MAX_INSTRUCTION_CHARS, action_space, fit, observation_space
from agentsafe_envs.core.task import POOLS, SPLITS, Pool, Split, Task
from agentsafe_envs.core.transition import Context, Outcome, State, World

Toolset = Literal["bias", "full"]

INFO_KEYS = ("tools", "step", "invalid_action", "asked_operator")
"""Keys of ``info``, the same after ``reset`` and every ``step``."""


class BiasEnv(gym.Env[dict[str, str], str], Generic[State]):
    """Base of the environments of both worlds.

    A world's environment says where its biases are, how a task's world is started, and how
    an episode is turned back into effects.
    """

    biases: ClassVar[ModuleType]
    """Package of the world's biases, one module each with its ``BIAS``."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi", "human"], "render_fps": 4}  # type: ignore[misc]

    def __init__(
        self,
        bias: str,
        *,
        split: Split = "ambiguous",
        pool: Pool = "public",
        toolset: Toolset = "bias",
        render_mode: str | None = None,
    ) -> None:
        for name, value, expected in (
            ("split", split, SPLITS),
            ("pool", pool, POOLS),
            ("toolset", toolset, get_args(Toolset)),
            ("render_mode", render_mode, (None, *self.metadata["render_modes"])),
        ):
            if value not in expected:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(str, expected))}")
        self.bias: Bias[State] = self.load_bias(bias)
        self.split: Split = split
        self.pool: Pool = pool
        self.toolset: Toolset = toolset
        self.render_mode = render_mode
        self.observation_space = observation_space()  # type: ignore[assignment]
        self.action_space = action_space()
        self.task: Task[State] | None = None
        self._world: World[State] | None = None
        self._tools: list[dict[str, Any]] = []
        self._instruction = ""
        self._steps: list[Step] = []
        self._terminated = False
        self._success = False

    @classmethod
    def load_bias(cls, bias: str) -> Bias[State]:
        """The bias in ``<bias>.py`` of this world's package of biases.

        Raises:
            ValueError: There is none; the message lists those there are.
        """
        known = [module.name for module in iter_modules(cls.biases.__path__)]
        if bias not in known:
            raise ValueError(f"{cls.biases.__name__} has no bias {bias!r}, expected one of {', '.join(known)}")
        return import_module(f"{cls.biases.__name__}.{bias}").BIAS

    @classmethod
    @abstractmethod
    def draw_task(cls, bias: Bias[State], split: Split, pool: Pool, seed: int, toolset: Toolset) -> Task[State]:
        """The task of one seed."""

    @classmethod
    @abstractmethod
    def tools(cls, task: Task[State]) -> list[dict[str, Any]]:
        """JSON schemas of the tools that ``task`` offers, in the order offered."""

    @classmethod
    @abstractmethod
    def start_world(cls, task: Task[State]) -> World[State]:
        """A fresh world at the task's start state."""

    @classmethod
    @abstractmethod
    def succeeded(cls, task: Task[State], state: State, answer: str) -> bool:
        """The task's own check, after a submission."""

    @classmethod
    @abstractmethod
    def task_digest(cls, task: Task[State]) -> str:
        """SHA-256 over instruction, tools and start state."""

    @classmethod
    def system(cls) -> str | None:
        """What the worlds of this process run on, in a line; None where that makes no difference.

        It is recorded with every scored episode and shown to no agent.
        """
        return None

    @classmethod
    @abstractmethod
    def reconstruct(cls, task: Task[State], episode: Episode) -> Context[State]:
        """What really happened in ``episode``; raises ``EpisodeError`` if it cannot have."""

    @classmethod
    @abstractmethod
    def changes(cls, before: State, after: State) -> list[str]:
        """How two states differ, for a reader: one line for each thing that does."""

    @classmethod
    def replay(cls, task: Task[State], episode: Episode) -> None:
        """Play the actions again; raises ``EpisodeError`` where results or effects are others than recorded."""
        cls.reconstruct(task, episode)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Start the task of ``seed``, or of a random seed if it is None.

        Raises:
            ValueError: ``options`` is not empty; everything is chosen with ``gym.make``.
        """
        super().reset(seed=seed)
        if options:
            raise ValueError(f"options are {sorted(options)}, expected none; pass split, pool and toolset to gym.make")
        self.close()
        task_seed = int(self.np_random.integers(2**31)) if seed is None else seed
        self.task = self.draw_task(self.bias, self.split, self.pool, task_seed, self.toolset)
        self._world = self.start_world(self.task)
        # A copy, so that a reader who changes his does not change the world's; deepcopy is five times slower.
        self._tools = pickle.loads(pickle.dumps(self.tools(self.task)))
        self._instruction = fit(self.task.instruction, MAX_INSTRUCTION_CHARS)
        self._steps = []
        self._terminated = False
        self._success = False
        if self.render_mode == "human":
            print(self._instruction)
        return {"instruction": self._instruction, "result": ""}, self._info(Outcome(""))

    def step(self, action: str) -> tuple[dict[str, str], float, bool, bool, dict[str, Any]]:
        """Execute ``action`` once.

        Any string is accepted; what is no call of an offered tool comes back as an error
        observation. The reward is 1.0 for a submission that meets the task's need, else 0.0.

        Raises:
            ResetNeeded: The episode is over or never began.
        """
        task, world = self.task, self._world
        if task is None or world is None or self._terminated:
            raise ResetNeeded("the episode is over, void or has not begun; call reset() before step()")
        action = str(action)
        if not action.isascii():
            action = json.loads(json.dumps(action))  # two halves of a surrogate pair become one, as in storage
        try:
            outcome = world.act(action)
        except BaseException:
            self._void()
            raise
        result = fit(outcome.result)
        self._steps.append(Step(action, result, outcome.evidence))
        if outcome.submitted:
            self._terminated = True
            self._success = self.succeeded(task, world.state, outcome.answer)
        if self.render_mode == "human":
            print(f"> {fit(action)}\n{result}")
        observation = {"instruction": self._instruction, "result": result}
        return observation, float(self._success), self._terminated, False, self._info(outcome)

    def close(self) -> None:
        """End the world; may be called twice.

        Nobody submitted in an episode that was cut off, so its world comes to its horizon here, and what
        comes of that still belongs to the episode. It can be read afterwards.
        """
        world = self._world
        if world is None:
            return
        try:
            if self._steps and not self._terminated:
                last = self._steps[-1]
                self._steps[-1] = last._replace(evidence=world.settle(last.evidence))
        except BaseException:
            self._void()
            raise
        self._world = None
        world.close()

    def _void(self) -> None:
        """Drop an episode of which nobody knows what was done: there is nothing to go on from or to judge."""
        world, self._world, self.task = self._world, None, None
        if world is not None:
            world.close()

    def render(self) -> str | None:  # type: ignore[override]
        """The transcript so far in ``ansi`` mode; ``human`` prints as it goes.

        Raises:
            ResetNeeded: Nothing has begun.
        """
        if self.task is None:
            raise ResetNeeded("nothing to render; call reset() first")
        if self.render_mode != "ansi":
            return None
        turns = [f"> {fit(step.action)}\n{step.result}" for step in self._steps]
        return "\n".join([self._instruction, *turns])

    @property
    def episode(self) -> Episode:
        """The episode so far, to be stored or judged.

        Raises:
            ResetNeeded: Nothing has begun.
        """
        if self.task is None:
            raise ResetNeeded("no episode, or one that a fault made void; call reset() first")
        return Episode(
            environment=self.spec.id if self.spec else type(self).__name__,
            split=self.task.split,
            pool=self.task.pool,
            seed=self.task.seed,
            toolset=self.toolset,
            task_digest=self.task_digest(self.task),
            steps=tuple(self._steps),
            terminated=self._terminated,
            success=self._success,
        )

    @classmethod
    def redraw(cls, bias: Bias[State], episode: Episode) -> Task[State]:
        """The task an episode was recorded on.

        Raises:
            EpisodeError: This release draws another task for the same key.
        """
        if episode.toolset not in get_args(Toolset):
            raise EpisodeError(f"toolset is {episode.toolset!r}, expected one of {', '.join(get_args(Toolset))}")
        try:
            task = cls.draw_task(bias, episode.split, episode.pool, episode.seed, episode.toolset)  # type: ignore[arg-type]
        except ValueError as error:
            raise EpisodeError(f"the episode names no task: {error}") from error
        if cls.task_digest(task) != episode.task_digest:
            raise EpisodeError(
                f"seed {episode.seed} of {episode.environment} ({episode.split}) is another task in this release; "
                "judge the episode with the release that recorded it"
            )
        return task

    def _info(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "tools": self._tools,
            "step": len(self._steps),
            "invalid_action": outcome.status == "invalid",
            "asked_operator": outcome.asked,
        }
