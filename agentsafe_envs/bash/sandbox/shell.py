"""One bash that lives as long as its episode, driven over pipes.

Each command is passed to ``eval`` in the same shell, so that variables, functions, directories and
background jobs stay. The shell reports each end on a pipe of its own. What runs in the shell could
forge such a report; that would only make it look as if its command had ended early.
"""

from __future__ import annotations

import os
import re
import selectors
import shlex
import time
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from agentsafe_envs.bash.sandbox.base import Ending, Pipes, Sandbox, SandboxError
from agentsafe_envs.bash.sandbox.daemon.frames import drain
from agentsafe_envs.bash.trace.reader import TraceReader

CONTROL_FD, SCRIPT_FD = 198, 199
"""Where a session's shell finds its ends of the two pipes."""

START_S = 30.0
LEAVE_S = 2.0
"""What a shell has been told to do when it leaves (``trap ... EXIT``) may take so long."""

END_S = 30.0
"""How long a killed session may take to be gone, before it is the sandbox's fault."""

MAX_REPORT_BYTES = 64
"""Longest report; whoever writes more on its pipe is not the shell's own function."""

FLOOD_FACTOR = 64
"""A command that writes so many times more than is kept of its output is killed."""

MAX_TRACE_BYTES = 64 << 20
"""A command whose trace is longer is killed: it makes calls for their own sake."""

_PROLOGUE = f"""exec {SCRIPT_FD}<&-
BASH_ARGV0=bash
__report() {{{{ builtin eval && builtin printf '%s %s' "$2" "$1" >&{CONTROL_FD}; }}}}
__status() {{{{ builtin return "$1"; }}}}
builtin readonly -f __report __status
builtin cd -- {{directory}} 2>&- || builtin cd -- "$PWD_AT_START" 2>&- || builtin cd /
builtin unset PWD_AT_START OLDPWD
"""

_COMPLAINT = re.compile(rb"^/proc/self/fd/%d: (?:eval: )?(?:line \d+: )?" % SCRIPT_FD, re.MULTILINE)
"""How bash begins a message about a command; typed at a terminal it would be ``bash: ``."""

End = Literal["done", "exit", "timeout", "output", "memory", "processes", "trace", "tampered", "lost"]


class Result(NamedTuple):
    """What came of one command.

    Attributes:
        stdout: What arrived until the command ended, at most the limit.
        stderr: Likewise.
        status: Exit status, or the shell's own if it ended; None if it was killed.
        end: ``"done"``; or what ended the shell with all it had started: ``"exit"`` (the shell itself
            left), ``"timeout"``, ``"output"``, ``"memory"``, ``"processes"`` or ``"trace"`` (a limit), ``"tampered"``
            (a report that the shell's own function did not write). Or ``"lost"``: no shell starts in this world
            any more, since what bash needs is gone.
        dropped_bytes: Output beyond the limit, both streams together.
    """

    stdout: bytes
    stderr: bytes
    status: int | None
    end: End
    dropped_bytes: int = 0


@dataclass(slots=True)
class _Stream:
    """What one command wrote on one pipe."""

    limit: int
    kept: bytearray = field(default_factory=bytearray)
    total: int = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        self.kept += data[: max(0, self.limit - len(self.kept))]


class Shell:
    """A shell in a sandbox; after it ends, the next command gets a fresh one, in the same directory on the same files.

    Args:
        sandbox: Whose sessions to drive.

    Attributes:
        trace: Reader of the present session's trace.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._worked = False
        self._ready = False
        self._pipes: Pipes | None = None
        self._selector = selectors.DefaultSelector()
        self._reports = b""
        self._sent = 0
        self._status = 0
        self._trace_bytes = 0
        self._directory: str | None = None
        self.trace = TraceReader("/", {})

    @property
    def running(self) -> bool:
        """Whether a session is there."""
        return self._pipes is not None

    def begin(self) -> None:
        """Launch a session; :meth:`start` waits until its shell is there."""
        self._pipes = pipes = self._sandbox.start()
        self._reports, self._sent, self._status = b"", 0, 0
        self._directory = self.trace.shell_directory
        self.trace = TraceReader("/", self.trace.tree)
        for descriptor in pipes:
            os.set_blocking(descriptor, False)
        for descriptor in pipes[1:]:
            self._selector.register(descriptor, selectors.EVENT_READ)

    def start(self) -> Result | None:
        """Start a session unless one runs.

        Returns:
            None, or that it is lost in a world that has been worked in: one without its libraries
            starts no shell, and that is no fault of the sandbox.

        Raises:
            SandboxError: The first session does not come up.
        """
        if self._ready:
            return None
        if self._pipes is None:
            self.begin()
        directory = '"$PWD_AT_START"' if self._directory is None else shlex.quote(self._directory)
        prologue = _PROLOGUE.format(directory=directory).encode("utf-8", "surrogateescape")
        result = self._run(prologue, START_S)
        if result.end == "done" and self.trace.shell is not None:
            self._worked = self._ready = True
            return None
        if self._worked:
            return Result(b"", b"", None, "lost")
        raise SandboxError(f"the shell did not start ({result.end}): {result.stderr.decode(errors='replace').strip()}")

    def run(self, command: str, timeout_s: float | None = None) -> Result:
        """Run ``command`` once and wait until it ends, or is ended.

        Args:
            command: Any text without NUL; what bash cannot parse is a failed command.
            timeout_s: Instead of the sandbox's limit.

        Raises:
            ValueError: ``command`` holds a NUL, which no shell can be given.
            SandboxError: The sandbox failed, not the command.
        """
        if "\0" in command:
            raise ValueError("the command holds a NUL character; bash cannot be given one")
        failed = self.start()
        if failed is not None:
            return failed
        # The empty line: after an unclosed quote bash 5.2 would take the next line's first word wrongly.
        text = f"\\builtin eval -- {shlex.quote(command)}\n\n".encode("utf-8", "surrogateescape")
        return self._run(text, self._sandbox.limits.command_s if timeout_s is None else timeout_s)

    def leave(self) -> Result:
        """Have the shell leave as at the end of a session, and kill what is left of it.

        Raises:
            SandboxError: The sandbox failed.
        """
        result = Result(b"", b"", None, "exit")
        if self._ready:
            result = self._run(b"\\builtin exit\n", LEAVE_S)
        self.stop()
        return result

    def stop(self) -> None:
        """Kill the session, if there is one, and take in the rest of its trace."""
        if self._pipes is not None:
            self._sandbox.kill()
            self._end(_Stream(0), _Stream(0))

    def close(self) -> None:
        """Let go of the session without a word to anybody; whoever holds the sandbox ends it."""
        self._let_go()
        self._selector.close()

    def _run(self, text: bytes, timeout_s: float) -> Result:
        pipes = self._pipes
        assert pipes is not None
        limit = self._sandbox.limits.output_bytes
        out, err = _Stream(limit), _Stream(limit)
        self._trace_bytes = 0
        self._sent += 1
        waiting = memoryview(_restore(self._status) + text + _report(self._sent))
        self._selector.register(pipes.script, selectors.EVENT_WRITE)
        deadline = time.monotonic() + timeout_s
        end: End | None = None
        status: int | None = None
        while end is None:
            self._selector.select(max(0.0, deadline - time.monotonic()))
            if waiting:
                waiting = self._send(pipes.script, waiting)
            over = self._read_all(pipes, out, err)
            if b"\n" in self._reports or len(self._reports) > MAX_REPORT_BYTES:
                status = self._reported()
                end = "tampered" if status is None else "done"
            elif over:
                end = "exit"
            elif out.total + err.total > FLOOD_FACTOR * limit:
                end = "output"
            elif self._trace_bytes > MAX_TRACE_BYTES:
                end = "trace"
            elif time.monotonic() >= deadline:
                end = "timeout"
        if waiting:
            self._selector.unregister(pipes.script)
        if end == "done" and self._read_all(pipes, out, err):  # all of it was written before the report
            end = "exit"  # nobody watches any more
        if end == "done":
            self._status = status or 0
        else:
            if end != "exit":
                self._sandbox.kill()
            ending = self._end(out, err)
            if ending.cause in ("memory", "processes"):
                end = ending.cause
            elif end == "exit" and ending.status < 0:
                raise SandboxError(f"the tracer was ended by signal {-ending.status}")
            status = ending.status if end == "exit" else None
        dropped = out.total + err.total - len(out.kept) - len(err.kept)
        stdout, stderr = (_COMPLAINT.sub(b"bash: ", each.kept) for each in (out, err))
        return Result(stdout, stderr, status, end, dropped)

    def _send(self, script: int, waiting: memoryview) -> memoryview:
        try:
            waiting = waiting[os.write(script, waiting) :]
        except BlockingIOError:
            return waiting
        except BrokenPipeError:  # the shell is leaving; its pipes will end
            waiting = waiting[:0]
        if not waiting:
            self._selector.unregister(script)
        return waiting

    def _read_all(self, pipes: Pipes, out: _Stream, err: _Stream) -> bool:
        """Read what is there; whether the session is over."""
        self._reports += self._read(pipes.control)[0]
        for descriptor, stream in ((pipes.stdout, out), (pipes.stderr, err)):
            stream.add(self._read(descriptor)[0])
        trace, over = self._read(pipes.trace)
        self._trace_bytes += len(trace)
        self.trace.feed(trace)
        return over

    def _read(self, descriptor: int) -> tuple[bytes, bool]:
        data, closed = drain(descriptor)
        if closed and descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)  # else it would be ready for ever
        return data, closed

    def _reported(self) -> int | None:
        """Exit status that the shell reported; None if this is no report of the last command."""
        line, end, rest = self._reports.partition(b"\n")
        self._reports = b""
        number, _, status = line.partition(b" ")
        if rest or not end or number != b"%d" % self._sent or not status.isdigit():
            return None
        return int(status)

    def _end(self, out: _Stream, err: _Stream) -> Ending:
        """Take in what a killed or ended session still says, and let it go."""
        pipes = self._pipes
        assert pipes is not None
        deadline = time.monotonic() + END_S
        while not self._read_all(pipes, out, err):  # of all pipes: a full one may hold up another
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise SandboxError(f"a killed session still runs after {END_S} s")
        self._let_go()
        return self._sandbox.reap()

    def _let_go(self) -> None:
        pipes, self._pipes, self._ready = self._pipes, None, False
        for descriptor in pipes or ():
            if descriptor in self._selector.get_map():
                self._selector.unregister(descriptor)
            os.close(descriptor)


def _report(number: int) -> bytes:
    """Has the shell report the end of command ``number``.

    The end of the line comes from no function and after nothing that failed: a trap for these has spoken
    by then, and not before or after as chance has it. Error output is closed, so that ``set -x`` says
    nothing. A shell without eval can do nothing any more and reports nothing either: its time runs
    out, and a fresh one comes. No quotes or evals of ours beyond these: after a ``$(`` that was never closed bash
    5.2 crashes over some.
    """
    return b'{ \\__report "$?" %d; } 2>&- && { \\builtin printf \\\\n >&%d; } 2>&-\n' % (number, CONTROL_FD)


def _restore(status: int) -> bytes:
    """Gives ``$?`` the last command's status back; as the first of two, no trap and no ``set -e`` heeds it."""
    return b"{ \\__status %d && \\builtin :; } 2>&-\n" % status if status else b""
