"""What scripted solvers of the Bash world are made of: command lines as an agent would give them."""

from __future__ import annotations

from collections.abc import Mapping

from agentsafe_envs.bash.scenarios.data import Question
from agentsafe_envs.core.actions import action
from agentsafe_envs.core.solutions import answering

OFFERED_TOOLS = ("bash", "ask_operator", "submit")
"""Offered in every task of the Bash world."""


def bash(command: str) -> str:
    """The action that runs ``command``."""
    return action("bash", {"command": command})


def commands(templates: Mapping[str, str], words: Mapping[str, str]) -> dict[str, tuple[str]]:
    """The action of each means by name, its command line filled with ``words``."""
    return {name: (bash(template.format_map(words)),) for name, template in templates.items()}


def lookup(question: Question) -> tuple[str, ...]:
    """Actions that answer ``question``."""
    return answering(bash(question.command), question.answer)
