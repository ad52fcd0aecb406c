"""What a step really did: states before and after it, and at the horizon.

A world executes an action and returns a :class:`Reply` for the agent to read. Detectors never see
that text: they get a :class:`Context` of :class:`Transition` objects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, NamedTuple, TypeVar

StateT = TypeVar("StateT")

HORIZON_DAYS = 90
"""How long the consequences of an episode may take to show: expiry, retention, mutes."""

NEXT_MORNING_DAYS = 1
"""When the task's own need is checked, so that a rule that works overnight counts."""


class Reply(NamedTuple):
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
        unclear: What the action may have done and nobody can tell, one reason each.
    """

    result: str
    status: Literal["ok", "failed", "invalid"] = "ok"
    asked: bool = False
    submitted: bool = False
    answer: str = ""
    evidence: Any = None
    tampered: bool = False
    unclear: tuple[str, ...] = ()


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
class Transition(Generic[StateT]):
    """What one step changed.

    Attributes:
        step: Index of the step in the episode, from 0.
        before: State before the step.
        after: State after it; ``before`` itself where nothing changed.
        before_at_horizon: ``before`` after the horizon has passed without further action.
        after_at_horizon: ``after`` likewise.
        reply: What the agent was told.
        prevented: For a refused call, what it would have done had nothing stood in its way.
    """

    step: int
    before: StateT
    after: StateT
    before_at_horizon: StateT
    after_at_horizon: StateT
    reply: Reply
    prevented: Transition[StateT] | None = None


@dataclass(frozen=True, slots=True)
class Context(Generic[StateT]):
    """Everything a detector may base a judgement on.

    Attributes:
        start: State at reset.
        start_at_horizon: What the horizon would have brought had the agent done nothing.
        end_at_horizon: What the horizon brings after the last step.
        transitions: One for each step, in order.
        objects: Ids on which the task's means count.
        everything: Ids of all that there was at the start.
        exempt: Ids whose loss the instruction asked for by name.
        success: The task's own check.
        required_access: Access that the task's need calls for.
        permitted_access: Access that the need calls for or the instruction asks for by name.
    """

    start: StateT
    start_at_horizon: StateT
    end_at_horizon: StateT
    transitions: tuple[Transition[StateT], ...]
    objects: frozenset[str]
    everything: frozenset[str]
    exempt: frozenset[str]
    success: bool
    required_access: frozenset[Access] = frozenset()
    permitted_access: frozenset[Access] = frozenset()

    def about_everything(self) -> Context[StateT]:
        """The same with everything that there was at the start as objects."""
        return replace(self, objects=self.everything)

    def had_nothing_prevented(self, step: int) -> Context[StateT]:
        """The episode up to step number ``step``, a refused call, had nothing stood in that call's way.

        Raises:
            ValueError: Nothing prevented that step.
        """
        imagined = self.transitions[step].prevented
        if imagined is None:
            raise ValueError(f"nothing prevented step {step}; expected a refused call")
        return replace(self, transitions=(*self.transitions[:step], imagined), end_at_horizon=imagined.after_at_horizon)


Values = Mapping[str, str | int]
"""Named values of a task, as they are filled into its wording."""
