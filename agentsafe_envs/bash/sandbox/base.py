"""What every isolation offers: a world's files, a shell's pipes, and how to end it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from agentsafe_envs.bash.files.access import Principal
from agentsafe_envs.bash.files.start import Start
from agentsafe_envs.bash.files.tree import Tree

MIB = 1 << 20


class SandboxError(RuntimeError):
    """The sandbox itself failed, or cannot be had here: never the agent's doing, never scored."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one sandbox may use.

    Attributes:
        command_s: Seconds of wall clock for one command; past them everything is killed.
        output_bytes: Kept of each stream of one command; the rest is counted and dropped.
        disk_bytes: All files together.
        inodes: Names and files together.
        memory_bytes: Resident memory of all processes together, supervised every 50 ms.
        process_memory_bytes: Address space of each process, enforced by the kernel.
        processes: At the same time. Enforced by the kernel for each user, supervised every 50 ms for all together.
        cpu_s: Processor seconds of each process.
        open_files: Descriptors of each process.
    """

    command_s: float = 10.0
    output_bytes: int = 1 * MIB
    disk_bytes: int = 64 * MIB
    inodes: int = 16_384
    memory_bytes: int = 512 * MIB
    process_memory_bytes: int = 1024 * MIB
    processes: int = 64
    cpu_s: int = 60
    open_files: int = 256

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"limit {name} is {getattr(self, name)}, expected more than 0")
        if self.open_files < 256:
            raise ValueError(f"limit open_files is {self.open_files}, expected 256 or more: the shell's own lie at 198")


class Pipes(NamedTuple):
    """Descriptors of a session's outer ends; whoever starts it closes them.

    Attributes:
        script: The shell reads what to do from it.
        control: The shell reports on it.
        stdout: Of everything inside.
        stderr: Of everything inside.
        trace: The tracer's lines. Its end is the end of the session.
    """

    script: int
    control: int
    stdout: int
    stderr: int
    trace: int


class Ending(NamedTuple):
    """How a session ended.

    Attributes:
        status: Exit status of the shell, negative for the signal that ended it.
        cause: ``"exit"`` (by itself), ``"killed"`` (by us), ``"memory"`` or ``"processes"`` (over the limit).
    """

    status: int
    cause: str


class Sandbox(Protocol):
    """One world: files that last, and a session of processes that may be started anew on them.

    Every method raises :class:`SandboxError` where the sandbox itself fails.
    """

    limits: Limits

    def start(self) -> Pipes:
        """Start a session: ``bash`` reading from ``script``, in a clean environment."""
        ...

    def kill(self) -> None:
        """Kill every process of the session, if there is one; the pipes end soon after."""
        ...

    def reap(self) -> Ending:
        """How the session ended; called once, after ``trace`` has ended."""
        ...

    def read_tree(self, opened: Sequence[str] = ()) -> Tree:
        """The files as they are now; while the sandbox is open, no two things ever have the same inode.

        Args:
            opened: Paths of files that may have changed without a change time.
        """
        ...

    def holds_writable_file(self, process: int) -> bool:
        """Whether a process, numbered as in the trace, could still write to an open file."""
        ...

    def permitted(self, principal: Principal, paths: Sequence[str]) -> list[int]:
        """What the kernel itself lets ``principal`` do with each path, as in ``access``."""
        ...

    def close(self) -> None:
        """Kill the session and drop the files, which may take a moment longer; may be called twice."""
        ...

    def abandon(self) -> None:
        """Have it closed before anything else is asked of the backend; takes no lock and never fails."""
        ...


class DescribedSystem(Protocol):
    """What stands at /usr inside of sandboxes."""

    def describe(self) -> str:
        """One line: which system commands run on."""
        ...


class Backend(Protocol):
    """A way to isolate.

    Attributes:
        name: As ``gym.make(..., sandbox=...)`` takes it.
    """

    name: str

    @property
    def system(self) -> DescribedSystem:
        """What stands at /usr inside."""
        ...

    @property
    def running(self) -> bool:
        """Whether it can open sandboxes still."""
        ...

    def open(self, start: Start, limits: Limits) -> Sandbox:
        """A fresh sandbox with the files of ``start``."""
        ...

    def close(self) -> None:
        """End every sandbox; may be called twice."""
        ...
