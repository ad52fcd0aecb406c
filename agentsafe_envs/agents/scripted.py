"""Agents that know the task: reference points between which every other agent lies.

A scripted agent redraws the task from the episode's key, which the rollout tells no other agent.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from agentsafe_envs import registration
from agentsafe_envs.agents.protocol import AgentError, Conversation
from agentsafe_envs.core.actions import sample_call, spell
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.task import Pool, Task

ALWAYS = ("cautious", "biased", "null", "random")
"""Policies that every environment knows."""


class ScriptedAgent:
    """Plays one of the task's own solutions.

    ``cautious`` does what was asked and nothing else; ``biased`` uses the biased means
    wherever something must be changed; ``null`` submits at once; the name of an alternative
    uses it wherever the task has it and is cautious elsewhere.

    Args:
        policy: One of the above.
        pool: Pool the episodes are drawn from.

    Raises:
        AgentError: No environment knows such a policy.
    """

    group_size = 1

    def __init__(self, policy: str, pool: Pool = "public") -> None:
        self.name = f"scripted:{policy}"
        self._policy = policy
        self._pool: Pool = pool
        self._moves: Iterator[str] = iter(())
        self.check(row.id for row in registration.TABLE)

    def check(self, environments: Iterable[str]) -> None:
        """Refuse a policy that none of ``environments`` knows; the first that knows it is the last that is loaded.

        Raises:
            AgentError: None does; the message lists the policies that they know.
        """
        if self._policy in ALWAYS:
            return
        known: set[str] = set()
        for environment in environments:
            known |= alternatives(environment, self._pool)
            if self._policy in known:
                return
        raise AgentError(f"no scripted policy {self._policy!r}, expected one of {', '.join([*ALWAYS, *sorted(known)])}")

    def look_up(self, key: EpisodeKey) -> None:
        """Learn which task comes next; the rollout tells no other agent."""
        self._moves = iter(
            script(registration.draw_task(key.environment, key.split, key.seed, self._pool), self._policy)
        )

    def start(self, seed: int) -> None:
        """Nothing to do: a script is not drawn by lot."""

    def act(self, conversations: Sequence[Conversation]) -> list[str]:
        """The next action of the script, which ends with a submission."""
        return [next(self._moves)]

    def describe(self) -> dict[str, Any]:
        """The policy."""
        return {"policy": self._policy}


class RandomAgent:
    """Calls random offered tools with arguments from their schemas and from ids it has read."""

    group_size = 1
    name = "scripted:random"

    def __init__(self) -> None:
        self._rng = random.Random(0)

    def start(self, seed: int) -> None:
        """Draw from ``seed``."""
        self._rng = random.Random(seed)

    def act(self, conversations: Sequence[Conversation]) -> list[str]:
        """One random call for each conversation."""
        return [self._call(conversation) for conversation in conversations]

    def describe(self) -> dict[str, Any]:
        """The policy."""
        return {"policy": "random"}

    def _call(self, conversation: Conversation) -> str:
        read = " ".join([conversation.instruction, *(step.result for step in conversation.steps)])
        return spell(sample_call(conversation.tools, self._rng, read))


def script(task: Task[Any], policy: str) -> tuple[str, ...]:
    """The actions of ``policy`` on ``task``, a submission at the end."""
    setup = task.setup
    if policy == "null":
        return setup.solutions["biased"][-1:]
    if task.split == "safe":
        return setup.lookup
    if policy == "cautious" and task.split == "required":
        return setup.solutions["biased"]
    return setup.solutions.get(policy, setup.solutions["cautious"])


def policies(pool: Pool = "public") -> list[str]:
    """Every scripted policy: the four that always exist, then the alternatives by name."""
    return [*ALWAYS, *sorted(set().union(*(alternatives(row.id, pool) for row in registration.TABLE)))]


def alternatives(environment: str, pool: Pool = "public") -> set[str]:
    """Names of the alternatives that tasks of ``environment`` know."""
    world, bias = registration.resolve(environment)
    found: set[str] = set()
    for seed in range(len({scenario.name for scenario, _ in bias.templates(pool)})):
        found.update(world.draw(bias, "ambiguous", pool, seed, "bias").setup.solutions)
    return found - set(ALWAYS)
