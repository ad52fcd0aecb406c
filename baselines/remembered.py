"""A shell that answers from memory what was run before: students of one chain do mostly the same in the same tasks.

Try it::

    env = make("ChmodBiasBash-v0", split="safe", pool="train")

The same actions from the same start have the same results and effects, so a sandbox is needed only where an episode
leaves what is known. Then a fresh one is brought to that point by the episode's own actions; it has to answer as it
did before. About three quarters of the episodes in which a chain's teachers play are copies of others but for their
notes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gymnasium as gym

from agentsafe_envs.core.actions import LONGEST_NOTE, without_note
from agentsafe_envs.core.task import Task
from agentsafe_envs.core.transition import Reply
from agentsafe_envs.core.world import RunningWorld, World
from baselines.protocol import WORLDS

MOST_TASKS = 4_096
"""Tasks that are remembered, which is what one chain plays and more; the oldest is forgotten first."""


class _Ended(NamedTuple):
    """What an action came to, and the state after a submission, which the task's check reads."""

    reply: Reply
    state: Any


class _Known(dict[tuple[str, ...], _Ended]):
    """What is known of a task: outcomes by all actions up to there, and by these what the horizon brought."""

    def __init__(self) -> None:
        super().__init__()
        self.later: dict[tuple[str, ...], Any] = {}


class UnsteadyWorldError(RuntimeError):
    """The same actions had another result than before."""


class RememberedWorld:
    """A world whose running worlds answer from memory; everything else is the world's own.

    Args:
        world: Of which memory is kept. Tasks of one environment only.
    """

    def __init__(self, world: World[Any]) -> None:
        self._world = world
        self._tasks: dict[str, _Known] = {}

    def start(self, task: Task[Any]) -> RememberedRun:
        """The task from its start; no sandbox runs yet."""
        name = self._world.digest(task)
        known = self._tasks.pop(name, _Known())
        self._tasks[name] = known  # the latest stands last
        if len(self._tasks) > MOST_TASKS:
            del self._tasks[next(iter(self._tasks))]
        return RememberedRun(lambda: self._world.start(task), known)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)


class RememberedRun:
    """A running world that starts where memory ends.

    Args:
        start: Starts the real one.
        known: Of the task; what is learnt is added.
    """

    def __init__(self, start: Callable[[], RunningWorld[Any]], known: _Known) -> None:
        self._start = start
        self._known = known
        self._actions: tuple[str, ...] = ()
        self._real: RunningWorld[Any] | None = None

    @property
    def state(self) -> Any:
        """As of the real one."""
        ended = self._known.get(self._actions)
        return ended.state if ended and ended.reply.submitted else self._running().state

    def act(self, action: str) -> Reply:
        """The reply that is remembered, or that of the real world.

        Raises:
            UnsteadyWorldError: On the way to where memory ends a result was another one than before.
        """
        plain, note = without_note(action)
        then = (*self._actions, plain if len(note) <= LONGEST_NOTE else action)
        if then not in self._known:
            real = self._running()
            reply = real.act(then[-1])
            self._known[then] = _Ended(reply, real.state if reply.submitted else None)
        elif self._real:
            self._same(self._real.act(then[-1]), then)
        self._actions = then
        return self._known[then].reply

    def advance(self, evidence: Any) -> Any:
        """As of the real one; what came afterwards is remembered too."""
        if self._actions not in self._known.later:
            self._known.later[self._actions] = self._running().advance(evidence)
        return self._known.later[self._actions]

    def close(self) -> None:
        """End the real one, if it was started."""
        if self._real:
            self._real.close()

    def _running(self) -> RunningWorld[Any]:
        if self._real is None:
            self._real = self._start()
            for number in range(len(self._actions)):
                then = self._actions[: number + 1]
                self._same(self._real.act(then[-1]), then)
        return self._real

    def _same(self, reply: Reply, actions: tuple[str, ...]) -> None:
        before = self._known[actions].reply
        if (reply.result, reply.status) != (before.result, before.status):
            raise UnsteadyWorldError(
                f"{actions[-1]} gave {reply.result[:200]!r} where it had given {before.result[:200]!r}; play again"
            )


SANDBOXED = frozenset({WORLDS["bash"]})
"""Environments whose steps are remembered; one of the cloud takes less than looking it up."""

_WORLDS: dict[str, RememberedWorld] = {}


def make(environment: str, **options: Any) -> gym.Env[Any, Any]:
    """What ``gym.make`` gives; a sandbox is remembered, in one memory a process and environment.

    Args:
        environment: Registered id.
        options: Of ``gym.make``.
    """
    env = gym.make(environment, **options)
    if environment in SANDBOXED:
        bare: Any = env.unwrapped
        bare.world = _WORLDS.setdefault(environment, RememberedWorld(bare.world))
    return env
