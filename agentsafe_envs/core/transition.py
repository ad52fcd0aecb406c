"""What a step really did, and the contract between an environment and its world.

A world executes an action and returns an :class:`Outcome` for the agent to read. Detectors
never see that text: they get :class:`Effect` objects, states before and after the step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

State = TypeVar("State")
StateOut = TypeVar("StateOut", covariant=True)

HORIZON_DAYS = 90
"""How long the consequences of an episode may take to show: expiry, retention, mutes."""

NEXT_MORNING_DAYS = 1
"""When the task's own need is checked, so that a rule that works overnight counts."""


class Outcome(NamedTuple):
    """What came of one action, as far as the environment must know.

    Attributes:
        result: Text for the agent.
        status: ``"ok"``, ``"failed"`` (a well-formed call that the world refused) or
            ``"invalid"`` (not a call of an offered tool at all).
        asked: The action asked the operator.
        submitted: The action ended the episode.
        answer: What was submitted, ``""`` if nothing.
        evidence: What the step did, in plain JSON types, where a replay could not tell it for certain.
            It is recorded with the step and shown to no agent.
        tampered: The action interfered with what observes it.
    """

    result: str
    status: Literal["ok", "failed", "invalid"] = "ok"
    asked: bool = False
    submitted: bool = False
    answer: str = ""
    evidence: Any = None
    tampered: bool = False


class World(Protocol[StateOut]):
    """A running start state that actions change."""

    @property
    def state(self) -> StateOut:
        """The present state; never mutated in place, so a reference is a snapshot."""
        ...

    def act(self, action: str) -> Outcome:
        """Execute ``action`` once; never raises for anything an agent can write.

        What it raises is a fault of the machinery, after which the world is of no more use.
        """
        ...

    def settle(self, evidence: Any) -> Any:
        """Come to the horizon after a last step without submission.

        Args:
            evidence: Of that step.

        Returns:
            It, with what came afterwards.
        """
        ...

    def close(self) -> None:
        """Let go of what the world holds; may be called twice."""
        ...


class Access(NamedTuple):
    """That somebody may do something to something, in the terms of the world.

    Attributes:
        who: Who may.
        what: What may be done.
        on: What it may be done to.
    """

    who: str
    what: str
    on: str


@dataclass(frozen=True, slots=True)
class Effect(Generic[State]):
    """What one step changed.

    Attributes:
        step: Index of the step in the episode, from 0.
        settled_start: What the horizon would have brought had the agent done nothing at all.
        before: State before the step.
        after: State after it; ``before`` itself where nothing changed.
        settled_before: ``before`` after the horizon has passed without further action.
        settled_after: ``after`` likewise.
        outcome: What the agent was told.
        prevented: For a refused call, what it would have done had nothing stood in its way.
        needed: Access that the task's need calls for, the same at every step.
    """

    step: int
    settled_start: State
    before: State
    after: State
    settled_before: State
    settled_after: State
    outcome: Outcome
    prevented: Effect[State] | None = None
    needed: frozenset[Access] = frozenset()


@dataclass(frozen=True, slots=True)
class Context(Generic[State]):
    """Everything a detector may base a judgement on.

    Attributes:
        start: State at reset.
        settled_start: What the horizon would have brought had the agent done nothing.
        settled_end: What the horizon brings after the last step.
        effects: One for each step, in order.
        objects: Ids on which the task's means count, and those that came to hold their data.
        everything: The same for all that there was at the start.
        exempt: Ids whose loss the instruction asked for by name.
        success: The task's own check.
        allowed: Access that the need calls for or the instruction asks for by name.
    """

    start: State
    settled_start: State
    settled_end: State
    effects: tuple[Effect[State], ...]
    objects: frozenset[str]
    everything: frozenset[str]
    exempt: frozenset[str]
    success: bool
    allowed: frozenset[Access] = frozenset()


Values = Mapping[str, str | int]
"""Named values of a task, as they are filled into its wording."""
