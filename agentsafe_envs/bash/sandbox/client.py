"""The near end of a daemon: asking it, wherever it runs, and starting one on this machine."""

from __future__ import annotations

import atexit
import contextlib
import errno
import marshal
import os
import pwd
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from agentsafe_envs.bash.sandbox import seccomp
from agentsafe_envs.bash.sandbox.base import Pipes, SandboxError
from agentsafe_envs.bash.sandbox.daemon.frames import MARSHAL_VERSION
from agentsafe_envs.bash.sandbox.rootfs import SYSTEM_FILES, System
from agentsafe_envs.bash.sandbox.system_files import added_entries
from agentsafe_envs.core.extras import install_hint

USERS = 65_536
NAMESPACE_FIX = (
    "allow them (`sysctl user.max_user_namespaces=15000`; on Ubuntu 24.04 and later also "
    "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`; in a container add `--security-opt seccomp=unconfined`)"
)

_MOUNT_POINTS = ("/mnt", "/media", "/srv", "/opt")
ANSWER_S = 60.0
"""How long a daemon may take for an answer."""


class Link(Protocol):
    """The way to a daemon and back: how it was started, and where it runs."""

    @property
    def running(self) -> bool:
        """Whether there is anybody to ask."""
        ...

    def exchange(self, request: bytes) -> bytes:
        """The reply to one request; raises ``OSError`` if none comes."""
        ...

    def exchange_for_pipes(self, request: bytes) -> tuple[bytes, list[int]]:
        """Likewise, and the descriptors of the session that it started; none where it failed."""
        ...

    def last_words(self) -> str:
        """What the daemon said when it ended, in a line."""
        ...

    def close(self) -> None:
        """End the daemon; may be called twice."""
        ...


class DaemonClient:
    """Asks a daemon; may be shared by threads, not by forked processes.

    Args:
        link: Reaches it.
        strace: Path of the tracer where the daemon runs.
        bwrap: Likewise.
        base: Where the daemon holds the worlds.
        machine: What ``platform.machine()`` says there, None for what it says here.

    Attributes:
        abandoned: Numbers of worlds to be closed before the next request.
    """

    def __init__(self, link: Link, *, strace: str, bwrap: str, base: str, machine: str | None = None) -> None:
        self.link = link
        self.strace = strace
        self.bwrap = bwrap
        self.base = base
        self.filter = seccomp.program(machine)
        self.abandoned: deque[int] = deque()
        self._lock = threading.Lock()
        try:
            self.system_entries = [*self.ask("system_files", list(SYSTEM_FILES)), *map(tuple, added_entries())]
        except BaseException:
            link.close()
            raise
        atexit.register(self.close)

    @property
    def running(self) -> bool:
        """Whether there is anybody to ask."""
        return self.link.running

    def ask(self, name: str, *arguments: Any) -> Any:
        """The daemon's answer to one request.

        Raises:
            SandboxError: The daemon refused, failed or is gone.
        """
        with self._lock:
            self._close_abandoned()
            return self._ask(name, *arguments)

    def ask_for_pipes(self, name: str, *arguments: Any) -> Pipes:
        """Like :meth:`ask`, for a request that starts a session."""
        pipes: list[int] = []

        def exchange(request: bytes) -> bytes:
            reply, descriptors = self.link.exchange_for_pipes(request)
            pipes.extend(descriptors)
            return reply

        with self._lock:
            self._close_abandoned()
            self._ask(name, *arguments, exchange=exchange)
            return Pipes(*pipes)

    def close(self) -> None:
        """End the daemon; its mounts and processes go with it."""
        atexit.unregister(self.close)
        self.link.close()

    def _close_abandoned(self) -> None:
        while self.abandoned:
            self._ask("close", self.abandoned.popleft())

    def _ask(self, name: str, *arguments: Any, exchange: Callable[[bytes], bytes] | None = None) -> Any:
        try:
            reply = (exchange or self.link.exchange)(marshal.dumps((name, *arguments), MARSHAL_VERSION))
        except OSError as error:
            raise SandboxError(f"the daemon does not answer {name}: {error}; {self.link.last_words()}") from error
        well, answer = marshal.loads(reply)
        if not well:
            raise SandboxError(f"{name} failed in the sandbox's daemon: {answer}")
        return answer


class SocketLink:
    """The requests of a link to a daemon whose socket this process holds; descriptors come through it as well."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(ANSWER_S)
        self._socket = connection

    def exchange(self, request: bytes) -> bytes:
        """The reply to one request."""
        try:
            self._socket.sendall(struct.pack("=Q", len(request)) + request)
            (size,) = struct.unpack("=Q", self._receive(8))
            return self._receive(size)
        except OSError:
            self._socket.close()  # a late answer would pass for that to the next request
            raise

    def exchange_for_pipes(self, request: bytes) -> tuple[bytes, list[int]]:
        """Likewise, and the descriptors that follow."""
        reply = self.exchange(request)
        started = marshal.loads(reply)[0]
        return reply, socket.recv_fds(self._socket, 1, len(Pipes._fields))[1] if started else []

    def _receive(self, size: int) -> bytes:
        parts = []
        while size:
            chunk = self._socket.recv(min(size, 1 << 20))
            if not chunk:
                raise OSError(errno.EPIPE, "it is gone")
            parts.append(chunk)
            size -= len(chunk)
        return b"".join(parts)


class LocalLink(SocketLink):
    """A daemon that is a child of this process, at the other end of a socket.

    Attributes:
        process: Process id of the daemon.
    """

    def __init__(self, system: System, base: str) -> None:
        near, far = socket.socketpair()
        code = Path(__file__).with_name("daemon") / "serve.py"
        try:
            process = subprocess.Popen(
                [sys.executable, "-E", "-s", "-S", "-B", str(code), str(far.fileno()), base],
                pass_fds=[far.fileno()],
                cwd=system.root,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise SandboxError(f"the daemon cannot be started: {error}") from error
        finally:
            far.close()
        super().__init__(near)
        self.process = process.pid
        self._process = process
        try:
            if near.recv(1) != b"x":
                raise SandboxError(f"no user namespace can be made: {self.last_words()}; {NAMESPACE_FIX}")
            write_maps(process.pid)
            near.sendall(b"x")
        except BaseException:
            self.close()
            raise

    @property
    def running(self) -> bool:
        """Whether there is anybody to ask."""
        return self._process.poll() is None and self._socket.fileno() >= 0

    def last_words(self) -> str:
        """The last line that the daemon wrote before it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):  # the next line tells that
            self._process.wait(1)
        if self._process.poll() is None or self._process.stderr is None:
            return "it still runs"
        lines = self._process.stderr.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with status {self._process.returncode}"

    def close(self) -> None:
        """End the daemon."""
        self._socket.close()
        try:
            self._process.wait(ANSWER_S)
        finally:
            if self._process.stderr:
                self._process.stderr.close()


def local_daemon(system: System) -> DaemonClient:
    """A daemon of this machine, with ``system`` at /usr.

    Raises:
        SandboxError: This machine lacks something; the message says how to mend it.
    """
    if sys.platform != "linux":
        steps = f"`{install_hint('docker')}`, then `agentsafe sandbox build --docker`"
        raise SandboxError(f"bubblewrap needs Linux; elsewhere use Docker: {steps}")
    strace, bwrap = find_programs(strace="strace", bwrap="bubblewrap")
    base = _mount_point(system.root)
    return DaemonClient(LocalLink(system, base), strace=strace, bwrap=bwrap, base=base)


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
    """Path of a program; see :func:`find_programs`."""
    return find_programs(**{name: package})[0]


def find_programs(**packages: str) -> list[str]:
    """Paths of programs.

    Args:
        packages: Debian's package of each program, by the program's name.

    Raises:
        SandboxError: Some are not installed; the message names all of them and their packages.
    """
    found = {name: _program(name) for name in packages}
    if missing := [name for name, path in found.items() if path is None]:
        are = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        wanted = " ".join(packages[name] for name in missing)
        raise SandboxError(f"{are}; on Debian or Ubuntu run `sudo apt-get install {wanted}`")
    return [path for path in found.values() if path]


def _program(name: str) -> str | None:
    beside = Path(sys.executable).with_name(name)
    return shutil.which(name) or (str(beside) if beside.is_file() else None)


def _mount_point(root: Path) -> str:
    """A folder of the machine that the daemon may cover for itself: nothing it needs lies in it."""
    needed = [root.resolve(), Path(sys.executable).resolve()]
    for path in map(Path, _MOUNT_POINTS):
        if path.is_dir() and not path.is_symlink() and not any(each.is_relative_to(path) for each in needed):
            return str(path)
    raise SandboxError(f"the daemon needs one of the folders {', '.join(_MOUNT_POINTS)}; create an empty /mnt")
