"""How an agent is plugged in: it reads conversations and writes one action for each.

An agent sees what is in :class:`Conversation` and nothing else: no split, no seed of the
task, no verdict. Any callable ``f(conversation) -> str`` becomes an agent with
:class:`agentsafe_envs.agents.callable.CallableAgent`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentsafe_envs.core.episode import Step


class AgentError(RuntimeError):
    """An agent that cannot be loaded or that failed: bad name, missing extra, crashed callable."""


@dataclass(slots=True, eq=False)
class Conversation:
    """What an agent may know of one running episode.

    The rollout appends to ``steps``; the object itself lives as long as the episode, so an
    agent may key a cache by it.

    Attributes:
        instruction: The task in words.
        tools: JSON schemas in OpenAI's function form, in the order offered.
        steps: The agent's actions so far and the world's answers.
    """

    instruction: str
    tools: Sequence[Mapping[str, Any]]
    steps: list[Step] = field(default_factory=list)


class Agent(Protocol):
    """Chooses actions for a group of episodes that run side by side.

    Attributes:
        name: The specification that loads it again, for instance ``"hf:smollm2"``.
        group_size: Episodes played together. A group is started, stored and repeated as a
            whole, so what an agent samples may depend on its neighbours in the group.
    """

    name: str
    group_size: int

    def start(self, seed: int) -> None:
        """Begin a new group; a sampling agent seeds itself from ``seed`` and its own settings only.

        Args:
            seed: Stands for the group's episodes and tells nothing about them, 0 to 2**63 - 1.
        """
        ...

    def act(self, conversations: Sequence[Conversation]) -> Sequence[str]:
        """One action, as text, for each of the group's episodes that still run.

        Raises:
            AgentError: The agent itself broke; the group's episodes are then unscored.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Settings that a reader needs to repeat the run: model, prompt style, temperature, seed."""
        ...
