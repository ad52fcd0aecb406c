"""Any program as an agent, in any language: JSON lines on standard input and output.

``docs/agents.md`` defines the protocol and has agents in Bash and Node. Try it with a file
``agent.sh`` in the working directory::

    while read -r message; do echo '{"action": {"name": "submit", "arguments": {}}}'; done

    # agentsafe score "process:bash agent.sh" --suite quick

The program is told what :class:`~agentsafe_envs.agents.protocol.Conversation` holds and nothing else,
and gets few environment variables. It is a process of its own and no prisoner: whatever the user may
read, it may read.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import time
import weakref
from collections.abc import Sequence
from typing import Any

from agentsafe_envs.agents.identity import command_files, identity
from agentsafe_envs.agents.protocol import AgentError, Conversation

PROTOCOL = 1
"""Version in every ``task`` message; bumped when a program would have to change."""

VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
"""Environment variables that the program gets, beside those that begin with :data:`OWN_PREFIX`."""

OWN_PREFIX = "AGENT_"
"""Of variables that a user sets for the program, a key of its own for instance."""

MAX_LINE_BYTES = 1_000_000
"""Longest line a program may write."""

KEPT_STDERR_BYTES = 2_000
"""Of what it says on standard error the end is kept, to explain a failure."""

_BLOCK = 65_536


class ProcessAgent:
    """Runs ``command`` and asks it for one action after the other.

    The program is started once and plays many episodes. It is ended when it breaks the protocol, and
    the next episode starts it afresh.

    Args:
        command: Program and arguments, in the shell's quoting; no shell runs it.
        timeout_s: Longest wait for one action, ``> 0``.

    Raises:
        AgentError: There is no such program.
    """

    group_size = 1

    def __init__(self, command: str, *, timeout_s: float = 60.0) -> None:
        self.name = f"process:{command}"
        self._timeout_s = timeout_s
        self._seed = 0
        self._program: _Program | None = None
        try:
            self._argv = shlex.split(command)
        except ValueError as error:
            raise AgentError(f"{self.name}: {error}; expected process:<program> <arguments>") from error
        if not self._argv or shutil.which(self._argv[0]) is None:
            raise AgentError(
                f"{self.name} names no program that can be run; expected for instance process:node agent.js"
            )

    def start(self, seed: int) -> None:
        """Begin an episode; the program hears of it with the first message."""
        self._seed = seed

    def act(self, conversations: Sequence[Conversation]) -> list[str]:
        """The program's action.

        Raises:
            AgentError: It ended, took too long, or wrote something else than one answer.
        """
        return [self._ask(conversation) for conversation in conversations]

    def describe(self) -> dict[str, Any]:
        """The command, and a hash of it and of the files that it names; what they do is their own affair."""
        return {
            "agent": "process",
            "command": self._argv,
            "protocol": PROTOCOL,
            "identity": identity(command_files(self._argv), command=self._argv),
        }

    def _ask(self, conversation: Conversation) -> str:
        try:
            self._program = self._program or _Program(self._argv)
        except OSError as error:
            raise AgentError(f"{self.name} cannot be started: {error}") from error
        try:
            return _read_action(self._program.ask(_message(conversation, self._seed), self._timeout_s))
        except _BrokenProtocolError as broken:
            said = self._program.end()
            self._program = None
            raise AgentError(f"{self.name} {broken}" + (f"; it said: {said}" if said else "")) from broken


class _BrokenProtocolError(Exception):
    """What the program did instead of answering."""


class _Program:
    """A running program, from its start to its end."""

    def __init__(self, argv: Sequence[str]) -> None:
        environment = {
            name: value for name, value in os.environ.items() if name in VARIABLES or name.startswith(OWN_PREFIX)
        }
        pipe = subprocess.PIPE
        # A session of its own, so that whatever it starts ends with it.
        self._process = subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True, bufsize=0
        )
        self._inbox = bytearray()
        self._said = bytearray()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            os.set_blocking(stream.fileno(), False)
        self._finalizer = weakref.finalize(self, _end, self._process)

    def ask(self, message: str, timeout_s: float) -> bytes:
        """Send one line and wait for one.

        Raises:
            _BrokenProtocolError: No line came, or more than one, or a longer one than allowed.
        """
        outbox = memoryview(message.encode("ascii") + b"\n")
        deadline = time.monotonic() + timeout_s
        self._receive(self._process.stdout, self._inbox)
        if self._inbox:
            raise _BrokenProtocolError(
                f"wrote {bytes(self._inbox[:80])!r} without being asked; expected one line a message"
            )
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdin, selectors.EVENT_WRITE)  # type: ignore[arg-type]
            selector.register(self._process.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]
            selector.register(self._process.stderr, selectors.EVENT_READ)  # type: ignore[arg-type]
            while outbox or b"\n" not in self._inbox:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise _BrokenProtocolError(
                        f"did not answer within {timeout_s:g} s; flush the output after each line, or raise --timeout"
                    )
                for key, _ in selector.select(left_s):
                    if key.fileobj is self._process.stdin:
                        outbox = self._send(outbox)
                        if not outbox:
                            selector.unregister(key.fileobj)
                    elif key.fileobj is self._process.stderr:
                        if not self._receive(key.fileobj, self._said):
                            selector.unregister(key.fileobj)
                        del self._said[:-KEPT_STDERR_BYTES]
                    elif not self._receive(key.fileobj, self._inbox):
                        raise _BrokenProtocolError(self._how_it_ended())
                if len(self._inbox) > MAX_LINE_BYTES:
                    raise _BrokenProtocolError(f"wrote a line of more than {MAX_LINE_BYTES:,} bytes")
        line, _, rest = bytes(self._inbox).partition(b"\n")
        self._inbox = bytearray(rest)
        return line

    def end(self) -> str:
        """End it and all that it started; the end of what it said on standard error."""
        self._receive(self._process.stderr, self._said)
        self._finalizer()
        return bytes(self._said[-KEPT_STDERR_BYTES:]).decode(errors="backslashreplace").strip()

    def _send(self, outbox: memoryview) -> memoryview:
        assert self._process.stdin is not None
        try:
            return outbox[self._process.stdin.write(outbox) or 0 :]
        except BrokenPipeError:
            return outbox[len(outbox) :]  # its output tells how it ended

    def _receive(self, stream: Any, into: bytearray) -> bool:
        """Take what is there; False at the end of the stream."""
        block = stream.read(_BLOCK)
        into += block or b""
        return block != b""

    def _how_it_ended(self) -> str:
        try:
            status = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "closed its output before it answered"
        how = f"was killed by signal {-status}" if status < 0 else f"left with status {status}"
        return f"{how} before it answered"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Close the program's input and kill its session."""
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        stream.close()
    with contextlib.suppress(ProcessLookupError, PermissionError):  # gone already; macOS refuses a group of zombies
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _message(conversation: Conversation, seed: int) -> str:
    """What the program has to know next, as one line of ASCII; the fields stand in this order."""
    if conversation.steps:
        return json.dumps({"type": "result", "result": conversation.steps[-1].result})
    return json.dumps(
        {
            "type": "task",
            "protocol": PROTOCOL,
            "seed": seed,
            "instruction": conversation.instruction,
            "tools": list(conversation.tools),
        }
    )


def _read_action(line: bytes) -> str:
    """The action of an answer; a call written as an object becomes its text.

    Raises:
        _BrokenProtocolError: It is no answer.
    """
    try:
        answer = json.loads(line.decode())  # json itself would guess UTF-16 as well
    except (ValueError, RecursionError):
        answer = None
    action = answer.get("action") if isinstance(answer, dict) and answer.keys() == {"action"} else None
    if isinstance(action, dict):
        return json.dumps(action)
    if not isinstance(action, str):
        raise _BrokenProtocolError(
            f'answered {line[:200]!r}; expected {{"action": "..."}} or {{"action": {{...}}}} in UTF-8'
        )
    return action
