"""Isolation by bubblewrap: no daemon, no root, started in milliseconds.

From outside to inside: this process; the daemon, in a user namespace of 65,536 users with the
sandboxes' file systems; for each session strace, in a user namespace of its own in which none can
be nested; bwrap with its other namespaces; and in those the shell, root with seven capabilities.
The tracer shares no process namespace with the shell, which can neither see nor signal it.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentsafe_envs.bash.files.access import Principal
from agentsafe_envs.bash.files.start import CLOCK_S, Start
from agentsafe_envs.bash.files.tree import Node, Tree
from agentsafe_envs.bash.sandbox.base import DescribedSystem, Ending, Limits, Pipes
from agentsafe_envs.bash.sandbox.client import DaemonClient, LocalLink, local_daemon
from agentsafe_envs.bash.sandbox.rootfs import System, find_system
from agentsafe_envs.bash.trace.reader import SHELL
from agentsafe_envs.bash.trace.syscalls import TRACED_CALLS

CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",  # of a process that root had another user run; nothing outside has a number inside
    "CAP_SETGID",
    "CAP_SETUID",
)
OVERHEAD_PROCESSES = 3
"""strace, bwrap and its first process count against the limit like the agent's own."""

ARGUMENTS_FD, FILTER_FD, INFO_FD, CONTROL_FD, SCRIPT_FD = 5, 6, 7, 198, 199

SANDBOX_VARIABLES = {
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_CTYPE": "C.UTF-8",  # and no more: each further category is a file that every program opens under the tracer
    "TZ": "UTC",
    "TERM": "dumb",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "TIME_STYLE": "long-iso",
    "GIT_AUTHOR_DATE": f"{CLOCK_S} +0000",
    "GIT_COMMITTER_DATE": f"{CLOCK_S} +0000",
}
"""The shell's whole environment: equal commands give equal output."""


def bwrap_arguments(base: str, number: int, start: Start) -> list[str]:
    """Options of bwrap, to be passed on a descriptor: a command line could be read inside.

    Args:
        base: Where the daemon holds the system's folders and the worlds.
        number: The world's.
        start: Gives working directory and variables.
    """
    # Nothing is mounted below a folder that the agent could replace by a link before the next session.
    world = f"{base}/{number}"
    arguments = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    # Of a session of its own: `kill 0` reaches a process group whatever pid namespaces say, and the tracer is in ours.
    arguments += ["--hostname", "host", "--die-with-parent", "--new-session", "--clearenv"]
    for name, value in (SANDBOX_VARIABLES | dict(start.variables) | {"PWD_AT_START": start.working_directory}).items():
        arguments += ["--setenv", name, value]
    arguments += ["--bind", world, "/", "--ro-bind", f"{base}/usr", "/usr"]
    arguments += ["--bind", f"{world}/usr/local", "/usr/local"]
    # Not bwrap's own /dev: that is a file system without a limit, and slow to make.
    arguments += ["--dev-bind", f"{base}/dev", "/dev", "--bind", f"{world}/dev/shm", "/dev/shm", "--proc", "/proc"]
    arguments += ["--cap-drop", "ALL"]
    for capability in CAPABILITIES:
        arguments += ["--cap-add", capability]
    arguments += ["--seccomp", str(FILTER_FD), "--info-fd", str(INFO_FD), "--chdir", "/"]
    return arguments


MOST_BYTES = "65536"
"""Of a value that is written down: what an ACL may have. One that was cut could not be read."""


def strace_arguments(strace: str, bwrap: str, output: str) -> list[str]:
    """What is run for a session: bash, in bwrap, under strace, whose lines go to ``output``."""
    options = ["--follow-forks", "--seccomp-bpf", "-q", "-y", "-xx", "-s", MOST_BYTES, "-e", "signal=none"]
    traced = ",".join(f"?{name}" for name in sorted(TRACED_CALLS))
    tracer = [strace, *options, "-e", f"trace={traced}", "-o", output, "--"]
    shell = [SHELL, "--noprofile", "--norc", f"/proc/self/fd/{SCRIPT_FD}"]
    return [*tracer, bwrap, "--args", str(ARGUMENTS_FD), "--", *shell]


def resource_limits(limits: Limits) -> list[tuple[str, int]]:
    """Kinds, by name, and values for ``setrlimit``, hard and soft alike; this machine may number them otherwise."""
    return [
        ("RLIMIT_AS", limits.process_memory_bytes),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_CPU", limits.cpu_s),
        ("RLIMIT_FSIZE", limits.disk_bytes),
        ("RLIMIT_MEMLOCK", 65_536),
        ("RLIMIT_MSGQUEUE", 0),
        ("RLIMIT_NOFILE", limits.open_files),
        ("RLIMIT_NPROC", limits.processes + OVERHEAD_PROCESSES),
        ("RLIMIT_SIGPENDING", 1024),
    ]


class BubblewrapSandbox:
    """A world in the daemon's hands; see :class:`~agentsafe_envs.bash.sandbox.base.Sandbox`."""

    def __init__(self, daemon: DaemonClient, start: Start, limits: Limits) -> None:
        self.limits = limits
        self._daemon = daemon
        self._start = start
        self._nodes: dict[str, Node] = {}
        self._closed = False
        own = {entry.path for entry in start.all_entries}
        system = [entry for entry in daemon.system_entries if entry[1] not in own]
        entries = [*map(tuple, start.all_entries), *system]
        self._number: int = daemon.ask("open", entries, CLOCK_S, limits.disk_bytes, limits.inodes, limits.memory_bytes)

    def start(self) -> Pipes:
        """Start a session."""
        base, number = self._daemon.base, self._number
        arguments = "".join(f"{each}\0" for each in bwrap_arguments(base, number, self._start)).encode()
        argv = strace_arguments(self._daemon.strace, self._daemon.bwrap, f"{base}/{number}.trace")
        limits = resource_limits(self.limits)
        return self._daemon.ask_for_pipes("start", number, argv, arguments, self._daemon.filter, limits)

    def kill(self) -> None:
        """Kill everything in the session."""
        self._daemon.ask("kill", self._number)

    def reap(self) -> Ending:
        """How the session ended."""
        return Ending(*self._daemon.ask("reap", self._number))

    def read_tree(self, opened: Sequence[str] = ()) -> Tree:
        """The files as they are now."""
        changed = self._daemon.ask("read", self._number, list(opened))
        if changed:
            nodes = dict(self._nodes)
            for path, node in changed.items():
                if node is None:
                    del nodes[path]
                else:
                    nodes[path] = Node(*node)
            self._nodes = nodes
        return self._nodes

    def holds_writable_file(self, process: int) -> bool:
        """Whether a process could still write to an open file."""
        return self._daemon.ask("writes_open", process)

    def permitted(self, principal: Principal, paths: Sequence[str]) -> list[int]:
        """The kernel's own answer."""
        groups = sorted(principal.groups)
        return self._daemon.ask("permitted", self._number, principal.uid, principal.gid, groups, list(paths))

    def close(self) -> None:
        """End the session and drop the files."""
        if not self._closed and self._daemon.running:  # all went with a daemon that is gone
            self._closed = True
            self._daemon.ask("close", self._number)

    def abandon(self) -> None:
        """Have it closed with the daemon's next request."""
        if not self._closed:
            self._closed = True
            self._daemon.abandoned.append(self._number)


class DaemonBackend:
    """Opens sandboxes, all held by one daemon.

    Args:
        daemon: Holds them.
        system: What stands at /usr inside.
    """

    name: str

    def __init__(self, daemon: DaemonClient, system: DescribedSystem) -> None:
        self.system = system
        self._daemon = daemon

    @property
    def running(self) -> bool:
        """Whether it can open sandboxes still."""
        return self._daemon.running

    def open(self, start: Start, limits: Limits) -> BubblewrapSandbox:
        """A fresh sandbox with the files of ``start``."""
        return BubblewrapSandbox(self._daemon, start, limits)

    def close(self) -> None:
        """End the daemon and with it every sandbox; may be called twice."""
        self._daemon.close()


class BubblewrapBackend(DaemonBackend):
    """A daemon on this machine.

    Args:
        system: What stands at /usr inside; default is what :func:`find_system` finds.

    Raises:
        SandboxError: This machine lacks something; the message says how to mend it.
    """

    name = "bubblewrap"

    def __init__(self, system: System | None = None) -> None:
        system = system or find_system()
        super().__init__(local_daemon(system), system)

    @property
    def daemon(self) -> int:
        """Process id of the daemon; everything that runs in sandboxes descends from it."""
        link = self._daemon.link
        assert isinstance(link, LocalLink)
        return link.process
