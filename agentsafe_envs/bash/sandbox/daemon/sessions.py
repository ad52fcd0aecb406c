"""Sessions of the daemon: starting a shell under its tracer, watching its memory, ending it.

Standard library only, like all of the daemon.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import json
import os
import re
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
START_S = 20.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
MOST_MAPS_BYTES = 1 << 20  # of one process's list of mappings: some ten thousand, ten times what programs have
SOCKET_BYTES = 2 * 212_992  # that a socket's buffer takes with the kernel's own records; the filter lets none grow
# What one sandbox may take of that which the kernel gives to a user.
KERNEL_LIMITS = {"max_user_namespaces": 0, "max_inotify_instances": 8, "max_inotify_watches": 512}
_SHARED = re.compile(rb"^\S+ \S{3}s \S+ \S+ (\d+) *(\S*)", re.MULTILINE)
_NOTHING = b"0 \n"
# Numbers under which a sandbox's shell and bwrap find their ends; bubblewrap.py names them too.
ARGUMENTS_FD, FILTER_FD, INFO_FD, CONTROL_FD, SCRIPT_FD = 5, 6, 7, 198, 199
FIRST_FREE_FD = 300

# The tracer and what it traces take turns: on one core, neither waits until another core wakes. Sessions take turns
# at the cores, and daemons begin at different ones.
_turns = itertools.count(os.getpid())

libc = ctypes.CDLL(None, use_errno=True)


def check(returned: int, doing: str) -> None:
    """Raise what the C library reported for a call that returned another number than 0."""
    if returned != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{doing}: {os.strerror(number)}")


class Session:
    """One run of a shell on a world's files: the tracer, bwrap, and everything inside."""

    def __init__(self, tracer: int, first: int, most_processes: int) -> None:
        self.tracer = tracer  # process id of strace, a child of the daemon
        self.most_processes = most_processes  # threads too; the kernel's own limit counts for each user alone
        self.first = os.pidfd_open(first)  # the sandbox's first process; with it everything inside dies
        self.seen_from_inside = f"/proc/{first}/root/proc"
        self.processes: int | None = None  # that folder, open
        self.cause = "exit"

    def kill(self, cause: str) -> None:
        """End everything inside, unless that has happened."""
        try:
            signal.pidfd_send_signal(self.first, signal.SIGKILL)
            self.cause = cause
        except ProcessLookupError:
            pass  # it has ended by itself

    def close(self) -> None:
        """Let go of what is open."""
        os.close(self.first)
        if self.processes is not None:
            os.close(self.processes)

    def has_too_many_processes(self) -> bool:
        """Whether there are more than one user may have, however many users they have been given."""
        stats = (each.rpartition(b")")[2].split() for each in self._tell_each("stat"))
        return sum(int(each[17]) for each in stats) > self.most_processes

    def exceeds(self, memory_bytes: int) -> bool:
        """Whether all processes inside have more resident memory together, or memory that counts for nobody.

        A shared mapping of /dev/zero keeps all its pages while any one of them is mapped, and the
        kernel keeps a record of each mapping. What sockets hold is no process's either, so each counts as full.
        """
        pages = sum(int(each.split()[1]) for each in self._tell_each("statm"))
        if pages * PAGE_BYTES + self._sockets() * SOCKET_BYTES > memory_bytes:
            return True
        return any(
            len(each) == MOST_MAPS_BYTES or any(found[2] == b"/dev/zero" for found in _SHARED.finditer(each))
            for each in self._tell_each("maps")
        )

    def _sockets(self) -> int:
        """Number of sockets inside."""
        said = next((each for each in self._tell_each("net/sockstat")), b"").split()
        return int(said[2]) if said[:2] == [b"sockets:", b"used"] else 0

    def mapped(self) -> set[int]:
        """Inodes of files to which a process inside can write without a call and without a new change time."""
        return {int(found[1]) for each in self._tell_each("maps") for found in _SHARED.finditer(each)}

    def _tell_each(self, what: str) -> Iterator[bytes]:
        """A file below /proc of each process inside that still has memory."""
        try:
            if self.processes is None:
                opened = os.open(self.seen_from_inside, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                if os.fstat(opened).st_dev == os.stat("/proc").st_dev:  # bwrap has not moved in yet
                    os.close(opened)
                    return
                self.processes = opened
            processes = [name for name in os.listdir(self.processes) if name.isdecimal()]
        except OSError:
            return  # the session is over
        for process in processes:
            found = self._tell(f"{process}/{what}")
            if not found.strip(_NOTHING):  # where the first thread has ended, /proc/N says nothing of the others
                threads = (self._tell(f"{process}/task/{thread}/{what}") for thread in self._threads(process))
                found = next((each for each in threads if each.strip(_NOTHING)), b"")
            if found:
                yield found

    def _threads(self, process: str) -> list[str]:
        try:
            opened = self._open(f"{process}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return []  # the process has ended, and so below
        try:
            return os.listdir(opened)
        except OSError:
            return []
        finally:
            os.close(opened)

    def _tell(self, path: str) -> bytes:
        """Beginning of a file below the sandbox's /proc, nothing if its process has ended."""
        try:
            with open(path, "rb", opener=self._open) as opened:
                return opened.read(MOST_MAPS_BYTES)
        except OSError:
            return b""

    def _open(self, path: str, flags: int) -> int:
        return os.open(path, flags, dir_fd=self.processes)


def start(
    trace: str,
    argv: list[str],
    arguments: bytes,
    program: bytes,
    limits: list[tuple[str, int]],
    prepare: Callable[[], None],
) -> tuple[Session, list[int]]:
    """Start a session whose tracer writes to the named pipe ``trace``; answers it and its five outer ends.

    ``prepare`` runs while the tracer comes up: bwrap looks at the world's files when it has all its arguments.
    """
    with contextlib.ExitStack() as everything, contextlib.ExitStack() as inside:

        def pipe(owner_of_reader: contextlib.ExitStack, owner_of_writer: contextlib.ExitStack) -> tuple[int, int]:
            reader, writer = os.pipe()
            owner_of_reader.callback(os.close, reader)
            owner_of_writer.callback(os.close, writer)
            return reader, writer

        inner: dict[int, int] = {}
        inner[ARGUMENTS_FD], rest = pipe(inside, inside)
        inner[FILTER_FD], end = pipe(inside, inside)
        os.write(end, program)
        inner[SCRIPT_FD], script = pipe(inside, everything)
        control, inner[CONTROL_FD] = pipe(everything, inside)
        out, inner[1] = pipe(everything, inside)
        err, inner[2] = pipe(everything, inside)
        info, inner[INFO_FD] = pipe(everything, inside)
        lines = os.open(trace, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        everything.callback(os.close, lines)
        tracer = _spawn(argv, inner, limits)
        try:
            prepare()
            os.set_blocking(rest, False)
            if os.write(rest, arguments) < len(arguments):
                raise ValueError(
                    f"{len(arguments)} bytes of arguments are more than a pipe holds; pass fewer variables"
                )
            inside.close()
            session = Session(tracer, _first_process(info, err), dict(limits)["RLIMIT_NPROC"])
        except BaseException:
            os.killpg(tracer, signal.SIGKILL)  # with bwrap, before it takes the pipe's end for that of its arguments
            os.waitpid(tracer, 0)
            raise
        everything.pop_all()
        os.close(info)
        return session, [script, control, out, err, lines]


def _spawn(argv: list[str], inner: dict[int, int], limits: list[tuple[str, int]]) -> int:
    """Start ``argv`` in a user namespace of its own, in which no further one can be made."""
    ready, mapped = os.pipe(), os.pipe()
    cores = sorted(os.sched_getaffinity(0))
    core = cores[next(_turns) % len(cores)]
    child = os.fork()
    if child == 0:
        try:
            check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
            os.setsid()
            os.umask(0o022)
            os.sched_setaffinity(0, {core})
            check(libc.unshare(CLONE_NEWUSER), "unshare")
            os.write(ready[1], b"x")
            os.read(mapped[0], 1)
            for name, most in KERNEL_LIMITS.items():
                with open(f"/proc/sys/user/{name}", "w") as opened:
                    opened.write(str(most))
            inner = {0: os.open("/dev/null", os.O_RDWR), **inner}
            high = {target: fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, 300) for target, source in inner.items()}
            for target, source in high.items():
                os.dup2(source, target)
            for kind, value in limits:
                resource.setrlimit(getattr(resource, kind), (value, value))
            for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_DFL)  # what Python or `nohup` ignores no shell could undo
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.execve(argv[0], argv, {})
        except Exception as error:  # noqa: BLE001  told to the parent, through the error output
            os.write(inner[2], f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(127)
    try:
        os.close(ready[1])
        if os.read(ready[0], 1):
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{child}/{name}", "w") as opened:
                    opened.write("0 0 65536")
            os.write(mapped[1], b"x")
    finally:
        for end in (ready[0], *mapped):
            os.close(end)
    return child


def _first_process(info: int, errors: int) -> int:
    """Process id, seen from here, of the sandbox's first process, as bwrap tells it."""
    text, deadline = b"", time.monotonic() + START_S
    while b"}" not in text:
        if not select.select([info], [], [], max(0, deadline - time.monotonic()))[0]:
            raise TimeoutError(f"the sandbox was not ready after {START_S} s")
        chunk = os.read(info, 4096)
        if not chunk:
            said = b""
            os.set_blocking(errors, False)
            with contextlib.suppress(BlockingIOError):  # nothing was said
                said = os.read(errors, 65_536)
            reason = said.decode("utf-8", "replace").strip()
            raise RuntimeError(f"the sandbox did not start: {reason or 'no reason given'}")
        text += chunk
    return json.loads(text)["child-pid"]
