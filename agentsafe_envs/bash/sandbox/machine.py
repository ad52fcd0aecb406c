"""A world that an agent acts in: a shell, its files, and what each command really did.

Try it::

    with Machine(BubblewrapBackend(), Start()) as machine:
        step = machine.step("install -m 0777 /dev/null /srv/drop")
        print(step.result.status, step.changes, [call.name for call in step.calls])
"""

from __future__ import annotations

from typing import NamedTuple, Self

from agentsafe_envs.bash.files.start import Start
from agentsafe_envs.bash.files.tree import Change, Tree, tree_changes
from agentsafe_envs.bash.sandbox.base import Backend, Limits
from agentsafe_envs.bash.sandbox.shell import Result, Shell
from agentsafe_envs.bash.trace.syscalls import OPENS, SystemCall


class CommandRun(NamedTuple):
    """One command and its evidence.

    Attributes:
        result: What the shell gave back.
        calls: System calls since the step before, those of background processes too.
        before: Files as the step before left them.
        after: Files now; the same object where nothing can have changed.
        read: Paths before it of the files that were read.
    """

    result: Result
    calls: tuple[SystemCall, ...]
    before: Tree
    after: Tree
    read: frozenset[str] = frozenset()

    @property
    def changes(self) -> tuple[Change, ...]:
        """How the files differ."""
        return tree_changes(self.before, self.after)

    @property
    def tampered(self) -> bool:
        """The agent wrote on what reports on it, or drowned it."""
        return self.result.end in ("tampered", "trace")


class Machine:
    """A running world; close it, or use it in a ``with`` statement.

    Args:
        backend: Isolates it.
        start: Its files and accounts.
        limits: What it may use.

    Attributes:
        sandbox: For probes at the end: ``read_tree`` and ``permitted``.
        tree: Files after the last step.

    Raises:
        SandboxError: Here and in every method, where the sandbox fails.
    """

    def __init__(self, backend: Backend, start: Start, limits: Limits | None = None) -> None:
        self.sandbox = backend.open(start, limits or Limits())
        self._shell = Shell(self.sandbox)
        self._unwatched = False
        self._opened: set[str] = set()
        try:
            self._shell.begin()
            self.tree = self.sandbox.read_tree()  # while the shell comes up
            self._shell.start()
            self._shell.trace.begin(self.tree)
        except BaseException:
            self.close()
            raise

    def step(self, command: str, timeout_s: float | None = None) -> CommandRun:
        """Run one command once.

        Args:
            command: Any text without NUL.
            timeout_s: Instead of the limit.

        Raises:
            ValueError: ``command`` holds a NUL.
        """
        return self._evidence(self._shell.run(command, timeout_s))

    def advance(self) -> CommandRun:
        """Let the shell leave, kill everything that still runs, and take in what they did since the last step."""
        return self._evidence(self._shell.leave())

    def close(self) -> None:
        """End it; may be called twice."""
        self._shell.close()
        self.sandbox.close()

    def abandon(self) -> None:
        """End it at the backend's next convenience: for garbage collectors, which come at any moment."""
        self._shell.close()
        self.sandbox.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _evidence(self, result: Result) -> CommandRun:
        before = self.tree
        trace = self._shell.trace
        calls, read = trace.take(), trace.read
        busy = trace.busy or not self._shell.running
        # Stores into a file's memory leave no stamp, so none is trusted that was opened for writing.
        self._opened |= {call.paths[0] for call in calls if call.name in OPENS and call.paths}
        if self._unwatched or busy or any(call.changes_files for call in calls):
            self.tree = self.sandbox.read_tree(sorted(self._opened))
        # Writing to an open file is no traced call. Whoever may hold one now can change the next step's files.
        self._unwatched = self._shell.running and (busy or self._shell_holds_file(calls))
        if not self._unwatched:
            self._opened.clear()
        trace.begin(self.tree)
        return CommandRun(result, calls, before, self.tree, read)

    def _shell_holds_file(self, calls: tuple[SystemCall, ...]) -> bool:
        shell = self._shell.trace.shell
        opened = any(call.process == shell and call.changes_files for call in calls)
        return shell is not None and (opened or self._unwatched) and self.sandbox.holds_writable_file(shell)
