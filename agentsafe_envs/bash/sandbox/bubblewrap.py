"""Isolation by bubblewrap: no daemon, no root, started in milliseconds.

From outside to inside: this process; the keeper, in a user namespace of 65,536 users with the
sandboxes' file systems; for each session strace, in a user namespace of its own in which none can
be nested; bwrap with its other namespaces; and in those the shell, root with four capabilities.
The tracer shares no process namespace with the shell, which can neither see nor signal it.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import marshal
import os
import pwd
import resource
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentsafe_envs.bash.access import Principal
from agentsafe_envs.bash.sandbox import seccomp
from agentsafe_envs.bash.sandbox.base import Ending, Limits, Pipes, SandboxError
from agentsafe_envs.bash.sandbox.rootfs import SYSTEM_FILES, System, find_system
from agentsafe_envs.bash.start import CLOCK_S, Start
from agentsafe_envs.bash.trace import TRACED_CALLS
from agentsafe_envs.bash.tree import Node, Tree

CAPABILITIES = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID")
USERS = 65_536
OVERHEAD_PROCESSES = 3
"""strace, bwrap and its first process count against the limit like the agent's own."""

ARGUMENTS_FD, FILTER_FD, INFO_FD, CONTROL_FD, SCRIPT_FD = 5, 6, 7, 198, 199

VARIABLES = {
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/bash",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",  # a locale of files costs every program 2 ms of opening them under the tracer
    "TZ": "UTC",
    "TERM": "dumb",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "TIME_STYLE": "long-iso",
    "GIT_AUTHOR_DATE": f"{CLOCK_S} +0000",
    "GIT_COMMITTER_DATE": f"{CLOCK_S} +0000",
}
"""The shell's whole environment: equal commands give equal output."""

_MOUNT_POINTS = ("/mnt", "/media", "/srv", "/opt")
_ANSWER_S = 60.0


def bwrap_arguments(base: str, number: int, start: Start) -> list[str]:
    """Options of bwrap, to be passed on a descriptor: a command line could be read inside.

    Args:
        base: Where the keeper holds the system's folders and the worlds.
        number: The world's.
        start: Gives working directory and variables.
    """
    # Nothing is mounted below a folder that the agent could replace by a link before the next session.
    world = f"{base}/{number}"
    arguments = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    arguments += ["--hostname", "host", "--die-with-parent", "--clearenv"]
    for name, value in (VARIABLES | dict(start.variables) | {"PWD_AT_START": start.working_directory}).items():
        arguments += ["--setenv", name, value]
    arguments += ["--bind", world, "/", "--ro-bind", f"{base}/usr", "/usr"]
    arguments += ["--bind", f"{world}/usr/local", "/usr/local"]
    # bwrap's /dev is a file system without a limit, so it is closed, with one door to the world's own.
    arguments += ["--dev", "/dev", "--bind", f"{world}/dev/shm", "/dev/shm", "--remount-ro", "/dev", "--proc", "/proc"]
    arguments += ["--cap-drop", "ALL"]
    for capability in CAPABILITIES:
        arguments += ["--cap-add", capability]
    arguments += ["--seccomp", str(FILTER_FD), "--info-fd", str(INFO_FD), "--chdir", "/"]
    return arguments


def strace_arguments(strace: str, bwrap: str, output: str) -> list[str]:
    """What is run for a session: bash, in bwrap, under strace, whose lines go to ``output``."""
    options = ["--follow-forks", "--seccomp-bpf", "-q", "-y", "-xx", "-s", "4096", "-e", "signal=none"]
    traced = ",".join(f"?{name}" for name in TRACED_CALLS)
    tracer = [strace, *options, "-e", f"trace={traced}", "-o", output, "--"]
    shell = ["/usr/bin/bash", "--noprofile", "--norc", f"/proc/self/fd/{SCRIPT_FD}"]
    return [*tracer, bwrap, "--args", str(ARGUMENTS_FD), "--", *shell]


def resource_limits(limits: Limits) -> list[tuple[int, int]]:
    """Kinds and values for ``setrlimit``, hard and soft alike."""
    return [
        (resource.RLIMIT_AS, limits.process_memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_FSIZE, limits.disk_bytes),
        (resource.RLIMIT_MEMLOCK, 65_536),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_NOFILE, limits.open_files),
        (resource.RLIMIT_NPROC, limits.processes + OVERHEAD_PROCESSES),
        (resource.RLIMIT_SIGPENDING, 1024),
    ]


class BubblewrapSandbox:
    """A world in the keeper's hands; see :class:`~agentsafe_envs.bash.sandbox.base.Sandbox`."""

    def __init__(self, keeper: KeeperClient, start: Start, limits: Limits) -> None:
        self.limits = limits
        self._keeper = keeper
        self._start = start
        self._nodes: dict[str, Node] = {}
        self._closed = False
        own = {entry.path for entry in start.all_entries}
        system = [entry for entry in keeper.system_entries if entry[1] not in own]
        entries = [*map(tuple, start.all_entries), *system]
        self._number: int = keeper.ask("open", entries, CLOCK_S, limits.disk_bytes, limits.inodes, limits.memory_bytes)

    def start(self) -> Pipes:
        """Start a session."""
        base, number = self._keeper.base, self._number
        arguments = "".join(f"{each}\0" for each in bwrap_arguments(base, number, self._start)).encode()
        argv = strace_arguments(self._keeper.strace, self._keeper.bwrap, f"{base}/{number}.trace")
        limits = resource_limits(self.limits)
        return Pipes(*self._keeper.ask_for_descriptors("start", number, argv, arguments, self._keeper.filter, limits))

    def kill(self) -> None:
        """Kill everything in the session."""
        self._keeper.ask("kill", self._number)

    def reap(self) -> Ending:
        """How the session ended."""
        return Ending(*self._keeper.ask("reap", self._number))

    def read_tree(self) -> Tree:
        """The files as they are now."""
        changed = self._keeper.ask("read", self._number)
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
        return self._keeper.ask("writes_open", process)

    def permitted(self, principal: Principal, paths: Sequence[str]) -> list[int]:
        """The kernel's own answer."""
        groups = sorted(principal.groups)
        return self._keeper.ask("permitted", self._number, principal.uid, principal.gid, groups, list(paths))

    def close(self) -> None:
        """End the session and drop the files."""
        if not self._closed and self._keeper.running:  # all went with a keeper that is gone
            self._closed = True
            self._keeper.ask("close", self._number)


class BubblewrapBackend:
    """Opens sandboxes, all held by one keeper.

    Args:
        system: What stands at /usr inside; default is what :func:`find_system` finds.

    Raises:
        SandboxError: This machine lacks something; the message says how to mend it.
    """

    name = "bubblewrap"

    def __init__(self, system: System | None = None) -> None:
        self.system = system or find_system()
        self._keeper = KeeperClient(self.system)

    @property
    def keeper(self) -> int:
        """Process id of the keeper; everything that runs in sandboxes descends from it."""
        return self._keeper.process

    def open(self, start: Start, limits: Limits) -> BubblewrapSandbox:
        """A fresh sandbox with the files of ``start``."""
        return BubblewrapSandbox(self._keeper, start, limits)

    def close(self) -> None:
        """End the keeper and with it every sandbox; may be called twice."""
        self._keeper.close()


class KeeperClient:
    """The near end of the keeper's socket; may be shared by threads, not by forked processes."""

    def __init__(self, system: System) -> None:
        self.strace = find_program("strace", "strace")
        self.bwrap = find_program("bwrap", "bubblewrap")
        self.base = _mount_point(system.root)
        self.filter = seccomp.program()
        self._lock = threading.Lock()
        near, far = socket.socketpair()
        code = Path(__file__).with_name("keeper.py")
        try:
            process = subprocess.Popen(
                [sys.executable, "-E", "-s", "-S", "-B", str(code), str(far.fileno()), self.base],
                pass_fds=[far.fileno()],
                cwd=system.root,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise SandboxError(f"the keeper cannot be started: {error}") from error
        finally:
            far.close()
        self.process = process.pid
        self._process = process
        self._socket = near
        self._socket.settimeout(_ANSWER_S)
        try:
            if near.recv(1) != b"x":
                raise SandboxError(f"no user namespace can be made: {self._last_words()}; {NAMESPACE_FIX}")
            write_maps(process.pid)
            near.sendall(b"x")
            self.system_entries = self.ask("system_files", list(SYSTEM_FILES))
        except BaseException:
            self.close()
            raise
        atexit.register(self.close)

    @property
    def running(self) -> bool:
        """Whether there is anybody to ask."""
        return self._process.poll() is None and self._socket.fileno() >= 0

    def ask(self, name: str, *arguments: Any) -> Any:
        """The keeper's answer to one request.

        Raises:
            SandboxError: The keeper refused, failed or is gone.
        """
        with self._lock:
            return self._ask(name, *arguments)

    def ask_for_descriptors(self, name: str, *arguments: Any) -> list[int]:
        """Like :meth:`ask`, for a request whose answer is descriptors."""
        with self._lock:
            self._ask(name, *arguments)
            _, descriptors, _, _ = socket.recv_fds(self._socket, 1, len(Pipes._fields))
            return descriptors

    def close(self) -> None:
        """End the keeper; its mounts and processes go with it."""
        atexit.unregister(self.close)
        self._socket.close()
        try:
            self._process.wait(_ANSWER_S)
        finally:
            if self._process.stderr:
                self._process.stderr.close()

    def _ask(self, name: str, *arguments: Any) -> Any:
        data = marshal.dumps((name, *arguments))
        try:
            self._socket.sendall(struct.pack("=Q", len(data)) + data)
            (size,) = struct.unpack("=Q", self._receive(8))
            well, answer = marshal.loads(self._receive(size))
        except OSError as error:
            raise SandboxError(f"the keeper does not answer {name}: {error}; {self._last_words()}") from error
        if not well:
            raise SandboxError(f"{name} failed in the sandbox's keeper: {answer}")
        return answer

    def _receive(self, size: int) -> bytes:
        parts = []
        while size:
            chunk = self._socket.recv(min(size, 1 << 20))
            if not chunk:
                raise OSError(errno.EPIPE, "it is gone")
            parts.append(chunk)
            size -= len(chunk)
        return b"".join(parts)

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        if self._process.poll() is None or self._process.stderr is None:
            return "it still runs"
        lines = self._process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with status {self._process.returncode}"


NAMESPACE_FIX = (
    "allow them (`sysctl user.max_user_namespaces=15000`; on Ubuntu 24.04 and later also "
    "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in a container add `--security-opt seccomp=unconfined`)"
)


def write_maps(process: int) -> None:
    """Give a process's new user namespace 65,536 users: root directly, anybody else by newuidmap.

    Raises:
        SandboxError: The caller owns no such range of users; the message says how to get one.
    """
    for kind, helper in (("uid", "newuidmap"), ("gid", "newgidmap")):
        first = subordinate_ids(Path(f"/etc/sub{kind}"))
        try:
            if os.geteuid() == 0:
                Path(f"/proc/{process}/{kind}_map").write_text(f"0 {first} {USERS}")
            else:
                command = [find_program(helper, "uidmap"), str(process), "0", str(first), str(USERS)]
                subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            raise SandboxError(f"{USERS} users cannot be mapped from {first}: {said.strip()}") from error


def subordinate_ids(table: Path) -> int:
    """First of the 65,536 numbers that ``table`` (subuid(5)) gives the caller.

    Raises:
        SandboxError: It gives none; the message says how to get them.
    """
    number = os.geteuid()
    try:
        name = pwd.getpwuid(number).pw_name
    except KeyError:
        name = str(number)
    rows = [line.split(":") for line in table.read_text().splitlines()] if table.is_file() else []
    for row in rows:
        if len(row) == 3 and row[0] in (name, str(number)) and int(row[2]) >= USERS:
            return int(row[1])
    if number == 0:
        return 100_000  # root needs nobody's leave; the first range that useradd gives away
    option = "--add-subuids" if table.name == "subuid" else "--add-subgids"
    raise SandboxError(
        f"{table} gives user {name} no {USERS} numbers, so chown would fail in a sandbox; "
        f"run `sudo usermod {option} 100000-165535 {name}` (another range if that one is taken)"
    )


def find_program(name: str, package: str) -> str:
    """Path of a program.

    Raises:
        SandboxError: It is not installed; the message names Debian's package.
    """
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(name) or (str(beside) if beside.is_file() else None)
    if found is None:
        raise SandboxError(f"{name} is not installed; on Debian or Ubuntu run `sudo apt-get install {package}`")
    return found


def _mount_point(root: Path) -> str:
    """A folder of the machine that the keeper may cover for itself: nothing it needs lies in it."""
    needed = [root.resolve(), Path(sys.executable).resolve()]
    for path in map(Path, _MOUNT_POINTS):
        if path.is_dir() and not path.is_symlink() and not any(each.is_relative_to(path) for each in needed):
            return str(path)
    raise SandboxError(f"the keeper needs one of the folders {', '.join(_MOUNT_POINTS)}; create an empty /mnt")
