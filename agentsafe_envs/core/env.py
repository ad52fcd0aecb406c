"""The loop every environment runs: draw a task, pass actions to its world, check the need.

Nothing here classifies or judges, so no observation, reward or info can leak a verdict.
"""

from __future__ import annotations

import json
import marshal
from typing import Any, ClassVar, get_args

import gymnasium as gym
from gymnasium.error import ResetNeeded

from agentsafe_envs.core.actions import Action, spell
from agentsafe_envs.core.bias import Bias
from agentsafe_envs.core.episode import Episode, Step
from agentsafe_envs.core.spaces import MAX_INSTRUCTION_CHARS, action_space, observation_space, sanitise_text
from agentsafe_envs.core.task import POOLS, SPLITS, Pool, Split, Task
from agentsafe_envs.core.transition import Reply
from agentsafe_envs.core.world import RunningWorld, Toolset, World

INFO_KEYS = ("tools", "step", "invalid_action", "asked_operator")
"""Keys of ``info``, the same after ``reset`` and every ``step``."""


class BiasEnv(gym.Env[dict[str, str], Action]):
    """Tasks of one bias in one world; ``gym.make`` looks both up by the registered id.

    Args:
        world: Runs the tasks.
        bias: Draws them.
        split: ``"safe"``, ``"ambiguous"``, ``"required"`` or ``"forbidden"``.
        pool: ``"public"``, ``"train"``, ``"dev"`` or ``"private"``.
        toolset: ``"bias"`` (at most 12 tools) or ``"full"``.
        render_mode: ``"ansi"``, ``"human"`` or None.
        sandbox: What the world's commands are isolated by, see its own arguments; None leaves it to the world.

    Raises:
        ValueError: An argument is none of those listed.

    Attributes:
        task: The task of the episode; None before ``reset`` and after a fault.
        running: The running world; None before ``reset`` and after ``close``.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["ansi", "human"], "render_fps": 4}  # type: ignore[misc]

    def __init__(
        self,
        world: World[Any],
        bias: Bias[Any],
        *,
        split: Split = "ambiguous",
        pool: Pool = "public",
        toolset: Toolset = "bias",
        render_mode: str | None = None,
        sandbox: str | None = None,
    ) -> None:
        for name, value, expected in (
            ("split", split, SPLITS),
            ("pool", pool, POOLS),
            ("toolset", toolset, get_args(Toolset)),
            ("render_mode", render_mode, (None, *self.metadata["render_modes"])),
        ):
            if value not in expected:
                raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(str, expected))}")
        self.world = world.in_sandbox(sandbox)
        self.bias = bias
        self.split: Split = split
        self.pool: Pool = pool
        self.toolset: Toolset = toolset
        self.render_mode = render_mode
        self.observation_space = observation_space()  # type: ignore[assignment]
        self.action_space = action_space()
        self.task: Task[Any] | None = None
        self.running: RunningWorld[Any] | None = None
        self._tools: list[dict[str, Any]] = []
        self._marshalled: dict[frozenset[str], bytes] = {}
        self._instruction = ""
        self._steps: list[Step] = []
        self._terminated = False
        self._success = False

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
        self.task = self.world.draw(self.bias, self.split, self.pool, task_seed, self.toolset)
        self.running = self.world.start(self.task)
        self._tools = self._copied(self.world.tools(self.task))
        self._instruction = sanitise_text(self.task.instruction, MAX_INSTRUCTION_CHARS)
        self._steps = []
        self._terminated = False
        self._success = False
        if self.render_mode == "human":
            print(self._instruction)
        return {"instruction": self._instruction, "result": ""}, self._info(Reply(""))

    def step(self, action: Action) -> tuple[dict[str, str], float, bool, bool, dict[str, Any]]:
        """Execute ``action`` once.

        Any string is accepted; what is no call of an offered tool comes back as an error
        observation. The dict of a call does what its JSON text does. The reward is 1.0 for a
        submission that meets the task's need, else 0.0.

        Raises:
            TypeError: Neither text nor the dict of a call; nothing was executed.
            ResetNeeded: The episode is over or never began.
        """
        task, running = self.task, self.running
        if task is None or running is None or self._terminated:
            raise ResetNeeded("the episode is over, void or has not begun; call reset() before step()")
        text = spell(action)
        if not text.isascii():
            text = json.loads(json.dumps(text))  # two halves of a surrogate pair become one, as in storage
        try:
            reply = running.act(text)
        except BaseException:
            self._void()
            raise
        result = sanitise_text(reply.result)
        self._steps.append(Step(text, result, reply.evidence))
        if reply.submitted:
            self._terminated = True
            self._success = self.world.succeeded(task, running.state, reply.answer)
        if self.render_mode == "human":
            print(f"> {sanitise_text(text)}\n{result}")
        observation = {"instruction": self._instruction, "result": result}
        return observation, float(self._success), self._terminated, False, self._info(reply)

    def close(self) -> None:
        """End the world; may be called twice.

        Nobody submitted in an episode that was cut off, so its world comes to its horizon here, and what
        comes of that still belongs to the episode. It can be read afterwards.
        """
        running = self.running
        if running is None:
            return
        try:
            if self._steps and not self._terminated:
                last = self._steps[-1]
                self._steps[-1] = last._replace(evidence=running.advance(last.evidence))
        except BaseException:
            self._void()
            raise
        self.running = None
        running.close()

    def _copied(self, schemas: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Copies, so that a reader who changes his does not change the world's; deepcopy is many times slower.

        A tool has the same schema in every task of a world; only which are offered, and their order, change.
        """
        by_name = {schema["function"]["name"]: schema for schema in schemas}
        names = frozenset(by_name)
        if names not in self._marshalled:
            self._marshalled[names] = marshal.dumps(by_name)
        copies = marshal.loads(self._marshalled[names])
        return [copies[name] for name in by_name]

    def _void(self) -> None:
        """Drop an episode of which nobody knows what was done: there is nothing to go on from or to judge."""
        running, self.running, self.task = self.running, None, None
        if running is not None:
            running.close()

    def render(self) -> str | None:  # type: ignore[override]
        """The transcript so far in ``ansi`` mode; ``human`` prints as it goes.

        Raises:
            ResetNeeded: Nothing has begun.
        """
        if self.task is None:
            raise ResetNeeded("nothing to render; call reset() first")
        if self.render_mode != "ansi":
            return None
        turns = [f"> {sanitise_text(step.action)}\n{step.result}" for step in self._steps]
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
            environment=self.spec.id if self.spec else self.bias.id,
            split=self.task.split,
            pool=self.task.pool,
            seed=self.task.seed,
            toolset=self.toolset,
            task_digest=self.world.digest(self.task),
            steps=tuple(self._steps),
            terminated=self._terminated,
            success=self._success,
        )

    def _info(self, reply: Reply) -> dict[str, Any]:
        return {
            "tools": self._tools,
            "step": len(self._steps),
            "invalid_action": reply.status == "invalid",
            "asked_operator": reply.asked,
        }
