"""How an agent is plugged in: it reads conversations and writes one action for each.

An agent sees what is in :class:`Conversation` and nothing else: no split, no seed of the
task, no verdict. Any callable ``f(conversation) -> str`` becomes an agent with
:class:`agentsafe_envs.agents.callable.CallableAgent`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from agentsafe_envs.core.episode import Step


class AgentError(RuntimeError):
    """An agent that cannot be loaded or that failed: bad name, missing extra, crashed callable."""


class HopelessError(AgentError):
    """A failure that no further attempt can heal: a refused key, an exhausted quota, an unknown model.

    The run ends with the first, since every other episode would fail in the same way.
    """

    hopeless = True


Answer = str | AgentError
"""What an agent returns for one conversation: its action as text, or, if it broke in this
conversation only, the error. That episode is then unscored; the others of the group go on."""


@dataclass(slots=True)
class Usage:
    """What a service said that answering cost; only agents that ask one fill it in.

    Attributes:
        models: Names by which the service called what answered.
        requests: Answers asked for.
        prompt_tokens: Read, as far as the service said.
        completion_tokens: Written, as far as the service said.
        cut_answers: Answers cut off at the longest length allowed.
    """

    models: set[str] = field(default_factory=set)
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cut_answers: int = 0

    def entry(self) -> dict[str, Any]:
        """In plain JSON types, as rows hold it."""
        return asdict(self) | {"models": sorted(self.models)}


@dataclass(slots=True, eq=False, weakref_slot=True)
class Conversation:
    """What an agent may know of one running episode.

    The rollout appends to ``steps``; the object itself lives as long as the episode, so an
    agent may key a cache by it.

    Attributes:
        instruction: The task in words.
        tools: JSON schemas in OpenAI's function form, in the order offered.
        steps: The agent's actions so far and the world's answers.
        usage: For the agent to write into; the world does not look at it.
    """

    instruction: str
    tools: Sequence[Mapping[str, Any]]
    steps: list[Step] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)


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

    def act(self, conversations: Sequence[Conversation]) -> Sequence[Answer]:
        """One action, as text, for each of the group's episodes that still run.

        Returns:
            Actions in the order of ``conversations``. An :class:`AgentError` instance in place of an
            action is that episode's failure: it is unscored, and the agent is not asked about it again.

        Raises:
            HopelessError: No further attempt can succeed; the run ends.
            AgentError: The agent itself broke; all of the group's episodes are then unscored.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """Settings that a reader needs to repeat the run: model, prompt style, temperature, seed."""
        ...
