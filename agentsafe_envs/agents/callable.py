"""Any Python callable as an agent.

Try it with a file ``mine.py`` in the working directory::

    def make():
        return lambda conversation: '{"name": "submit", "arguments": {}}'

    # agentsafe score python:mine:make --suite quick
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from agentsafe_envs.agents.protocol import Agent, AgentError, Conversation


class CallableAgent:
    """Asks ``choose(conversation) -> action`` for one episode after the other.

    Args:
        choose: Returns the next action as text.
        name: Specification that loads the agent again.
    """

    group_size = 1

    def __init__(self, choose: Callable[[Conversation], str], name: str) -> None:
        self.name = name
        self.choose = choose

    def start(self, seed: int) -> None:
        """Nothing to do: the callable sees each conversation whole."""

    def act(self, conversations: Sequence[Conversation]) -> list[str]:
        """Ask for each conversation.

        Raises:
            AgentError: The callable raised, or returned something other than text.
        """
        return [self._ask(conversation) for conversation in conversations]

    def describe(self) -> dict[str, Any]:
        """Nothing is known of a callable but its name."""
        return {}

    def _ask(self, conversation: Conversation) -> str:
        try:
            chosen = self.choose(conversation)
        except Exception as error:
            raise AgentError(f"{self.name} raised {type(error).__name__}: {error}") from error
        if not isinstance(chosen, str):
            raise AgentError(f"{self.name} returned {type(chosen).__name__}, expected the action as text")
        return chosen


def load_callable(spec: str) -> Agent:
    """The agent that ``<module>:<factory>`` makes, found from the working directory or installed.

    The factory takes no arguments and returns a callable, or an object with the whole
    :class:`~agentsafe_envs.agents.protocol.Agent` protocol to see a group at once.

    Raises:
        AgentError: Nothing of that name, or the factory fails.
    """
    module_name, _, factory_name = spec.partition(":")
    if not module_name or not factory_name:
        raise AgentError(f"python:{spec} names no factory; expected python:<module>:<factory>, e.g. python:mine:make")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        made = getattr(import_module(module_name), factory_name)()
    except Exception as error:
        raise AgentError(f"python:{spec} cannot be made: {type(error).__name__}: {error}") from error
    if hasattr(made, "act"):
        lacking = [name for name in ("name", "group_size", "start", "describe") if not hasattr(made, name)]
        if lacking:
            raise AgentError(f"python:{spec} made an object with act() but without {', '.join(lacking)}")
        return made
    if not callable(made):
        raise AgentError(f"python:{spec} made a {type(made).__name__}, expected a callable or an object with act()")
    choose: Any = made
    return CallableAgent(choose, f"python:{spec}")
