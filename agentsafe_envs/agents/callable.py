"""Any Python callable as an agent.

Try it with a file ``mine.py`` in the working directory::

    def make():
        return lambda conversation: {"name": "submit", "arguments": {}}

    # agentsafe score python:mine:make --suite quick
"""

from __future__ import annotations

import functools
import inspect
import secrets
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from agentsafe_envs.agents.identity import identity, module_sources
from agentsafe_envs.agents.object_identity import object_identity
from agentsafe_envs.agents.protocol import Agent, AgentError, Answer, Conversation
from agentsafe_envs.core.actions import spell

FRAMES = 4
"""Places in the source that the message of a failure names, the innermost ones."""


class CallableAgent:
    """Asks ``choose(conversation) -> action`` for one episode after the other.

    Args:
        choose: Returns the next action, as text or as a call ``{"name": ..., "arguments": {...}}``.
        name: Specification that loads the agent again.
        timeout_s: Longest wait for one action, ``> 0``; None waits for ever. Code that never returns to
            Python cannot be interrupted.
        identity: Hash of the sources; None stands for that of ``choose`` as it is in memory.
    """

    group_size = 1

    def __init__(
        self,
        choose: Callable[[Conversation], Any],
        name: str,
        *,
        timeout_s: float | None = None,
        identity: str | None = None,
    ) -> None:
        self.name = name
        self.choose = choose
        self._timeout_s = timeout_s
        self._identity = identity or _identity_in_memory(choose)

    def start(self, seed: int) -> None:
        """Nothing to do: the callable sees each conversation whole."""

    def act(self, conversations: Sequence[Conversation]) -> list[str]:
        """Ask for each conversation.

        Raises:
            AgentError: The callable raised, took too long, or returned neither text nor a call.
        """
        return [self._ask(conversation) for conversation in conversations]

    def describe(self) -> dict[str, Any]:
        """The hash of its sources; nothing else is known of a callable but its name."""
        return {"identity": self._identity}

    def _ask(self, conversation: Conversation) -> str:
        with _blamed(self.name), _limited(self._timeout_s):
            chosen = self.choose(conversation)
        return _action(chosen, self.name)


class ProtocolAgent:
    """An object of the user's that has the whole protocol, with its failures told by file and line.

    Args:
        made: The object.
        name: Specification that loads it again.
        timeout_s: See :class:`CallableAgent`, of a group's actions.
        identity: Hash of the sources.
    """

    def __init__(self, made: Any, name: str, *, timeout_s: float | None, identity: str) -> None:
        self._made, self._spec, self._timeout_s, self._identity = made, name, timeout_s, identity
        self.name: str = made.name
        self.group_size: int = made.group_size

    def start(self, seed: int) -> None:
        """Begin a new group."""
        with _blamed(self._spec):
            self._made.start(seed)

    def act(self, conversations: Sequence[Conversation]) -> list[Answer]:
        """One action for each conversation.

        Raises:
            AgentError: The object raised, took too long, or returned something else than actions.
        """
        with _blamed(self._spec), _limited(self._timeout_s):
            chosen = list(self._made.act(conversations))
        return [each if isinstance(each, AgentError) else _action(each, self._spec) for each in chosen]

    def describe(self) -> dict[str, Any]:
        """What the object says of itself, and the hash of its sources."""
        with _blamed(self._spec):
            described = self._made.describe()
        return {"identity": self._identity, **described} if isinstance(described, dict) else described


def load_callable(spec: str, *, timeout_s: float | None = None) -> Agent:
    """The agent that ``<module>:<factory>`` makes, found from the working directory or installed.

    The factory takes no arguments and returns a callable, or an object with the whole
    :class:`~agentsafe_envs.agents.protocol.Agent` protocol to see a group at once.

    Args:
        spec: Module and factory.
        timeout_s: Longest wait for one action, ``> 0``; None waits for ever.

    Raises:
        AgentError: Nothing of that name, or the factory fails.
    """
    module_name, _, factory_name = spec.partition(":")
    if not module_name or not factory_name:
        raise AgentError(f"python:{spec} names no factory; expected python:<module>:<factory>, e.g. python:mine:make")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    name = f"python:{spec}"
    try:
        module = import_module(module_name)
        made = getattr(module, factory_name)()
    except (Exception, SystemExit) as error:  # a script may end the process where it is imported
        raise AgentError(f"{name} cannot be made: {_told(error)}") from error
    return _plugged_in(made, name, timeout_s, _identity(module))


def as_agent(made: Any, *, timeout_s: float | None = None) -> Agent:
    """The agent that a Python object is.

    Args:
        made: A callable, an object with the whole :class:`~agentsafe_envs.agents.protocol.Agent` protocol, or an
            agent of this package, which stays as it is.
        timeout_s: Longest wait for one action, ``> 0``; None waits for ever.

    Returns:
        An agent whose ``describe()`` holds a hash of the object's code and values. Where some of them cannot be
        read, it is another one at every call: no run can be taken for that of the same agent.

    Raises:
        AgentError: The object is none of these.
    """
    if isinstance(made, type):
        raise AgentError(f"the agent is the class {made.__qualname__}, expected an object: {made.__qualname__}(...)")
    if type(made).__module__.partition(".")[0] == __name__.partition(".")[0]:
        if timeout_s is not None:
            raise AgentError(f"{made.name} is an agent already, so timeout_s is too late; set it where it is made")
        return made
    named = made.func if isinstance(made, functools.partial) else made
    named = named if hasattr(named, "__qualname__") else type(named)
    module = "" if named.__module__ == "__main__" else f"{named.__module__}."
    name = f"callable:{module}{named.__qualname__.rpartition('<locals>.')[2]}"
    return _plugged_in(made, name, timeout_s, _identity_in_memory(made))


def _plugged_in(made: Any, name: str, timeout_s: float | None, sources: str) -> Agent:
    if hasattr(made, "act"):
        lacking = [each for each in ("name", "group_size", "start", "describe") if not hasattr(made, each)]
        if lacking:
            raise AgentError(f"{name} made an object with act() but without {', '.join(lacking)}")
        return ProtocolAgent(made, name, timeout_s=timeout_s, identity=sources)
    if not callable(made):
        raise AgentError(f"{name} made a {type(made).__name__}, expected a callable or an object with act()")
    choose: Any = made
    return CallableAgent(choose, name, timeout_s=timeout_s, identity=sources)


def _identity_in_memory(made: Any) -> str:
    """Hash of an object; where it cannot be read, another one at every call, so that no run is taken for its own."""
    return object_identity(made) or f"unknown {secrets.token_hex(8)}"


def _identity(module: Any) -> str:
    """Hash of a module's file and of the local modules that it imports."""
    if not getattr(module, "__file__", None):
        return identity({}, module=module.__name__)
    return identity(module_sources(module.__name__, Path(module.__file__)))


def _action(chosen: Any, name: str) -> str:
    """An action as text.

    Raises:
        AgentError: It is neither text nor a call that JSON can spell.
    """
    if inspect.iscoroutine(chosen):
        chosen.close()
        raise AgentError(f"{name} is an async function, which nothing awaits; expected a plain one")
    try:
        return spell(chosen)
    except TypeError as error:
        raise AgentError(f"{name} returned {type(chosen).__name__}: {error}") from error


class _TooLate(BaseException):
    """Time is up; no Exception, so that the callable's own handlers let it pass."""


@contextmanager
def _blamed(name: str) -> Iterator[None]:
    try:
        yield
    except AgentError:
        raise
    except _TooLate as late:
        raise AgentError(f"{name} {late}") from None
    except (Exception, SystemExit) as error:
        raise AgentError(f"{name} raised {_told(error)}") from error


@contextmanager
def _limited(timeout_s: float | None) -> Iterator[None]:
    """Interrupt what runs within after ``timeout_s``; in other threads than the first there is no way to."""
    if timeout_s is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise _TooLate(f"did not answer within {timeout_s:g} s; raise --timeout")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _told(error: BaseException) -> str:
    """Kind, words and the innermost places in the source, in one line."""
    places = [
        f"{frame.filename}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__
        and not frame.filename.startswith("<frozen")
        and "/importlib/" not in frame.filename
    ]
    where = f" (at {' < '.join(reversed(places[-FRAMES:]))})" if places else ""
    return f"{type(error).__name__}: {error}{where}"
