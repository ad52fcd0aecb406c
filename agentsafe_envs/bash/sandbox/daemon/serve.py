"""The daemon: one small process in a user namespace of its own, which holds all sandboxes.

Run by client.py as ``python serve.py SOCKET_FD BASE`` with the system's root as working directory, or
in a container by relay.py; standard library only. It owns what needs rights over the sandboxes' 65,536
users: their file systems (tmpfs mounts that nobody else sees), starting them, reading them, ending
them. When its socket closes it leaves, and with it go every process, mount and file.

A request is ``(name, *arguments)``, a reply ``(True, answer)`` or ``(False, message)``, marshalled
behind a length; the agent can reach neither end.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Any

import files
import sessions
from frames import MARSHAL_VERSION
from sessions import CLONE_NEWUSER, START_S, check, libc

CLONE_NEWNS = 0x00020000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
MS_NOATIME, MS_BIND, MS_REC, MS_PRIVATE = 0x400, 0x1000, 0x4000, 0x40000
MNT_DETACH = 2
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36
SUPERVISION_S = 0.05
READ_FACTOR = 2  # times the disk's size: read of a world's files at most in one look


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Mount, or raise what stands against it."""
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    check(libc.mount(*texts[:3], ctypes.c_ulong(flags), texts[3]), f"mount {source} on {target}")


class HeldSandbox:
    """One sandbox's files, and its session while one runs."""

    def __init__(
        self,
        path: str,
        root: int,
        entries: list[files.Entry],
        clock_s: int,
        disk_bytes: int,
        memory_bytes: int,
    ) -> None:
        self.path = path
        self.root = root
        self.entries = entries
        self.clock_s = clock_s
        self.disk_bytes = disk_bytes
        self.memory_bytes = memory_bytes
        self.read: files.Read = {}
        self.session: sessions.Session | None = None

    def create(self) -> None:
        """Make the files, once."""
        entries, self.entries = self.entries, []
        if entries:
            files.create(self.root, entries, self.clock_s)


class Daemon:
    """Answers requests; methods are their names."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.worlds: dict[int, HeldSandbox] = {}
        self.closing: list[HeldSandbox] = []
        self.next = 0
        self.ended: dict[int, int] = {}  # tracer that awaits its reaping -> wait status

    def system_files(self, paths: Sequence[str]) -> list[files.Entry]:
        """Readable regular files and links of the system below /etc, as entries."""
        entries: list[files.Entry] = []
        for path in paths:
            name = path[1:]
            if name.endswith(".gz"):
                continue  # alternatives of manual pages
            if os.path.islink(name):
                entries.append(("symlink", path, 0o777, 0, 0, os.fsencode(os.readlink(name)), ()))
            elif os.path.isdir(name):
                entries += self.system_files(sorted(f"{path}/{each}" for each in os.listdir(name)))
            elif os.path.isfile(name) and os.access(name, os.R_OK):
                with open(name, "rb") as opened:
                    entries.append(("file", path, 0o644, 0, 0, opened.read(), ()))
        return entries

    def open(self, entries: list[files.Entry], clock_s: int, disk_bytes: int, inodes: int, memory_bytes: int) -> int:
        """A new world, whose files are made when its first session starts; answers its number."""
        number = self.next
        self.next += 1
        path = f"{self.base}/{number}"
        os.mkdir(path, 0o700)
        # Our own looks at files would be seen in their access times.
        flags = MS_NOSUID | MS_NODEV | MS_NOATIME
        mount("tmpfs", path, "tmpfs", flags, f"size={disk_bytes},nr_inodes={inodes},mode=755")
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.worlds[number] = HeldSandbox(path, root, entries, clock_s, disk_bytes, memory_bytes)
        os.mkfifo(f"{path}.trace", 0o600)
        return number

    def start(
        self, number: int, argv: list[str], arguments: bytes, program: bytes, limits: list[tuple[str, int]]
    ) -> list[int]:
        """Start a session; its five descriptors follow the reply."""
        world = self.worlds[number]
        if world.session is not None:
            raise RuntimeError("the last session was not reaped")

        def meanwhile() -> None:
            world.create()
            self.clear()

        trace = f"{world.path}.trace"
        world.session, ends = sessions.start(trace, argv, arguments, program, limits, meanwhile)
        return ends

    def kill(self, number: int) -> None:
        """Kill everything in the session, if one runs."""
        session = self.worlds[number].session
        if session is not None:
            session.kill("killed")

    def reap(self, number: int) -> tuple[int, str]:
        """Wait for a session that is over or killed; answers the tracer's exit status and the cause."""
        world = self.worlds[number]
        session, world.session = world.session, None
        if session is None:
            raise RuntimeError("no session to reap")
        return self.leave(session), session.cause

    def leave(self, session: sessions.Session) -> int:
        """Wait until a session that is over or killed is gone; answers the tracer's exit status."""
        status = self.ended.pop(session.tracer, None)
        if status is None:
            status = self.wait(session.tracer)
        select.select([session.first], [], [], START_S)  # orphaned by the tracer's end, it comes to us
        self.collect()
        session.close()
        return os.waitstatus_to_exitcode(status)

    def wait(self, process: int) -> int:
        """Wait status of a child that is about to end; one that does not end is killed."""
        opened = os.pidfd_open(process)
        try:
            if not select.select([opened], [], [], START_S)[0]:
                os.kill(process, signal.SIGKILL)
        finally:
            os.close(opened)
        return os.waitpid(process, 0)[1]

    def read(self, number: int, opened: list[str]) -> dict[str, files.Node | None]:
        """What changed in the world's files since the last time: ``{path: node or None}``.

        ``opened`` are paths of files whose change time is not to be trusted.
        """
        world = self.worlds[number]
        before, world.read = world.read, {}
        try:
            mapped = world.session.mapped() if world.session is not None else set()
            mapped |= {before[path][1][9] for path in opened if path in before}
            world.read = files.Reader(before, READ_FACTOR * world.disk_bytes, mapped).read(world.root)
        except BaseException:
            world.read = before
            raise
        changed: dict[str, files.Node | None] = dict.fromkeys(before.keys() - world.read.keys())
        for path, (_, node) in world.read.items():
            if path not in before or before[path][1] is not node:
                changed[path] = node
        return changed

    def permitted(self, number: int, uid: int, gid: int, groups: list[int], paths: list[str]) -> list[int]:
        """The kernel's own answer, see files."""
        return files.permitted(self.worlds[number].root, uid, gid, groups, paths)

    def writes_open(self, process: int) -> bool:
        """Whether a process holds a regular file open for writing."""
        folder = f"/proc/{process}/fd"
        try:
            for name in os.listdir(folder):
                with open(f"/proc/{process}/fdinfo/{name}") as opened:
                    flags = next(int(line.split()[1], 8) for line in opened if line.startswith("flags:"))
                if flags & os.O_ACCMODE != os.O_RDONLY and os.path.isfile(f"{folder}/{name}"):
                    return True
        except OSError:
            return True  # it is leaving: look at the files
        return False

    def run(self, argv: list[str]) -> int:
        """Run a trusted program to its end in the daemon's own namespace; answers its exit status."""
        return os.spawnve(os.P_WAIT, argv[0], argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})

    def close(self, number: int) -> None:
        """End a world: its session dies now, and what is left goes while the next one starts, or soon."""
        world = self.worlds.pop(number)
        if world.session is not None:
            world.session.kill("killed")
        self.closing.append(world)

    def clear(self) -> None:
        """Be rid of closed worlds: their sessions, files and mounts."""
        while self.closing:
            world = self.closing.pop()
            if world.session is not None:
                self.leave(world.session)
            os.close(world.root)
            check(libc.umount2(os.fsencode(world.path), MNT_DETACH), "umount")
            os.rmdir(world.path)
            os.unlink(f"{world.path}.trace")

    def supervise(self) -> None:
        """End sessions over their memory or with too many processes; clear up; collect what has ended."""
        for world in self.worlds.values():
            if world.session is not None and world.session.exceeds(world.memory_bytes):
                world.session.kill("memory")
            elif world.session is not None and world.session.has_too_many_processes():
                world.session.kill("processes")
        self.clear()
        self.collect()

    def collect(self) -> None:
        """Take leave of ended children, so that none stays a zombie."""
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                return
            worlds = (*self.worlds.values(), *self.closing)
            if any(world.session is not None and world.session.tracer == process for world in worlds):
                self.ended[process] = status


def enter_namespace(connection: socket.socket, base: str) -> None:
    """Become root of a user namespace with 65,536 users and of mounts that nobody else sees."""
    check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare")
    connection.sendall(b"x")
    connection.recv(1)  # the maps are written
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    check(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")
    check(libc.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")  # else the maps of our children are closed to us
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    # The working directory moved into the new namespace with us; a path to it may cross a folder that
    # only the caller can enter.
    mount("tmpfs", base, "tmpfs", MS_NOSUID | MS_NODEV, "size=1M,mode=755")
    make_devices(f"{base}/dev")
    os.mkdir(f"{base}/usr")
    if os.path.isdir("usr"):  # else the system is about to be built
        mount("usr", f"{base}/usr", None, MS_BIND | MS_REC)


def make_devices(path: str) -> None:
    """A read-only /dev that every sandbox shows, made once because bwrap would need 50 calls for each."""
    os.mkdir(path)
    mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=755")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        os.close(os.open(f"{path}/{name}", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        mount(f"/dev/{name}", f"{path}/{name}", None, MS_BIND)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"{path}/{name}")
    os.mkdir(f"{path}/shm", 0o1777)
    mount("none", path, None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC)


def receive(connection: socket.socket, size: int) -> bytes:
    """Exactly ``size`` bytes; leaves the program where the caller has gone."""
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            sys.exit(0)
        data += chunk
    return data


def main() -> None:
    """Answer requests until the socket closes."""
    connection, base = socket.socket(fileno=int(sys.argv[1])), sys.argv[2]
    connection.set_inheritable(False)
    os.setsid()
    os.umask(0)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    enter_namespace(connection, base)
    daemon = Daemon(base)
    looked = 0.0
    while True:
        ready = select.select([connection], [], [], SUPERVISION_S)[0]
        if time.monotonic() - looked > SUPERVISION_S:
            daemon.supervise()
            looked = time.monotonic()
        if not ready:
            continue
        (size,) = struct.unpack("=Q", receive(connection, 8))
        name, *arguments = marshal.loads(receive(connection, size))
        descriptors: list[int] = []
        reply: tuple[bool, Any]
        try:
            reply = (True, getattr(daemon, name)(*arguments))
            if name == "start":
                descriptors, reply = reply[1], (True, None)
        except Exception as error:  # noqa: BLE001  becomes the caller's exception
            reply = (False, f"{type(error).__name__}: {error}")
        data = marshal.dumps(reply, MARSHAL_VERSION)
        connection.sendall(struct.pack("=Q", len(data)) + data)
        if descriptors:
            socket.send_fds(connection, [b"x"], descriptors)
            for descriptor in descriptors:
                os.close(descriptor)


if __name__ == "__main__":
    main()
