"""What scripted solvers are made of: command lines as an agent would give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from agentsafe_envs.bash.scenarios.data import Question
from agentsafe_envs.core.actions import action

OFFERED_TOOLS = ("bash", "ask_operator", "submit")
"""Offered in every task of the Bash world."""

SUBMIT = action("submit", {})


class Acts(NamedTuple):
    """Command lines that finish a task.

    Attributes:
        look: What every solver runs first.
        reads: What a cautious one reads beside it.
        means: The command line of each means by name, ``"biased"`` among them.
    """

    look: str
    reads: Sequence[str]
    means: dict[str, str]

    def solutions(self, chosen: str) -> dict[str, tuple[str, ...]]:
        """Every solver's actions; the cautious one uses the means ``chosen``."""
        look, acts = bash(self.look), {name: bash(command) for name, command in self.means.items()}
        return {
            **{name: (look, act, SUBMIT) for name, act in acts.items()},
            "cautious": (look, *map(bash, self.reads), acts[chosen], SUBMIT),
        }


def bash(command: str) -> str:
    """The action that runs ``command``."""
    return action("bash", {"command": command})


def lookup(question: Question) -> tuple[str, ...]:
    """Actions that answer ``question``."""
    return bash(question.command), action("submit", {"answer": question.answer})
