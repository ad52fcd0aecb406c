r"""A process of its own for a student's code: bubblewrap, no network, no files of the machine, limits on everything.

Inside there are the system's Python, numpy, an empty folder, and nothing of this repository. The grader asks one
question at a time and waits for so long; a process that hangs, dies or grows is ended, and only that question is lost.

Try it::

    with StudentProcess(["def double(x):\n    return 2 * x"]) as student:
        print(student.ask("double", 21))
"""

from __future__ import annotations

import builtins
import itertools
import json
import math
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Self

from agentsafe_envs.bash.sandbox.base import SandboxError
from agentsafe_envs.bash.sandbox.seccomp import program
from labs.source import ROOT

WORKER = Path(__file__).with_name("worker.py")
PACKAGES = ("numpy", "numpy.libs")
"""What a submission may import beside the standard library, as folders of site-packages."""

OURS = ("agentsafe_envs", "baselines", "leaderboard", "labs")
"""Never there to be imported, wherever they are installed."""

CHECKOUT = ROOT.parent.resolve()
"""Holds solutions and hidden cases, so it is never there either, wherever it lies."""

FIRST_USER = 61_000
"""Where root grades, submissions run as users from here on, which nobody else is, each as another."""

MOST_USERS = 4_000
_USERS = itertools.count(os.getpid())

VARIABLES = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LC_ALL": "C.UTF-8",
    "LD_LIBRARY_PATH": "/python/lib",
    "OPENBLAS_NUM_THREADS": "1",  # threads count as processes
    "OMP_NUM_THREADS": "1",
}
"""The whole environment of a submission."""

PATIENCE = 4
WATCH_S = 0.05
RAISED = "it raised"
"""How the reason begins where the submission raised an error."""

READY = b"ready"
"""What the worker says once it is confined. A second line follows once the definitions are taken over."""


@dataclass(frozen=True, slots=True)
class SubmissionLimits:
    """What one submission may use for one exercise.

    Attributes:
        start_s: Seconds until its definitions are taken over.
        question_s: Seconds of processor time for one answer, and :data:`PATIENCE` times as many to wait for it: on a
            busy machine honest answers take long too.
        total_s: Seconds to wait for all answers together, starting included.
        memory_bytes: Address space of each process, and resident memory of all together.
        disk_bytes: In its empty folder.
        processes: At the same time.
        answer_bytes: Of one answer.
    """

    start_s: float = 10.0
    question_s: float = 5.0
    total_s: float = 120.0
    memory_bytes: int = 1024 << 20
    disk_bytes: int = 16 << 20
    processes: int = 16
    answer_bytes: int = 1 << 20


class NoAnswer(Exception):  # noqa: N818  it is no error of ours
    """The submission did not answer; the message says why in words for its author."""


class Lost(NoAnswer):
    """It will not answer: its process hung, died or used too much, and was ended."""


class StudentProcess:
    """A submission that answers questions; use it in a ``with`` statement.

    Args:
        cells: Its code, each cell by itself.
        limits: What it may use.

    Raises:
        SandboxError: No sandbox can be had on this machine; nothing is run without one.
    """

    def __init__(self, cells: Sequence[str], limits: SubmissionLimits | None = None) -> None:
        self.limits = limits or SubmissionLimits()
        self._cells = list(cells)
        self._bwrap = find_bwrap()
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting = b""
        self._spent_s = 0.0

    def ask(self, function: str, *arguments: Any) -> Any:
        """What the submission's ``function`` returns for ``arguments``, in JSON's types.

        Raises:
            NoAnswer: It raised, took too long, died, used too much or said no JSON.
            SandboxError: The sandbox itself failed.
        """
        before = time.monotonic()
        try:
            if self._spent_s >= self.limits.total_s:
                raise Lost("not asked: its time was used up")
            if self._process is None:
                self._start()
            deadline = time.monotonic() + PATIENCE * self.limits.question_s
            self._write({"function": function, "arguments": arguments}, deadline)
            return _read(self._line(deadline, self.limits.question_s))
        finally:
            self._spent_s += time.monotonic() - before

    def close(self) -> None:
        """End it with everything that it started; may be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        for child in [*descendants(process.pid), process.pid]:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it has ended since it was listed
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self) -> None:
        """Start a process, wait until it is confined, and then until the student's definitions are taken over."""
        self._waiting = b""
        with tempfile.TemporaryFile() as filter_file:
            filter_file.write(program())
            filter_file.seek(0)
            descriptor = filter_file.fileno()
            self._process = subprocess.Popen(
                [self._bwrap, *bwrap_arguments(self.limits, descriptor), "--", *python_command()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                bufsize=0,
                pass_fds=[descriptor],
                start_new_session=True,
            )
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        limits = {
            "user": FIRST_USER + next(_USERS) % MOST_USERS if os.geteuid() == 0 else 0,
            "memory_bytes": self.limits.memory_bytes,
            "disk_bytes": self.limits.disk_bytes,
            "processes": self.limits.processes,
            "cpu_s": int(self.limits.total_s) + 1,
        }
        deadline = time.monotonic() + self.limits.start_s
        try:
            self._write({"cells": self._cells, "limits": limits}, deadline)
            ready = self._line(deadline) == READY
        except Lost:
            ready = False
        if not ready:
            self.close()
            raise SandboxError("bwrap started no confined Python on this machine; `python -m labs check` says more")
        # Up to here no line of the student's has run, so what went wrong was not their doing.
        self._line(time.monotonic() + self.limits.start_s)

    def _line(self, deadline: float, processor_s: float = math.inf) -> bytes:
        """The next line that it says; it is watched over meanwhile."""
        assert self._process is not None
        assert self._process.stdout is not None
        out, watched = self._process.stdout.fileno(), time.monotonic()
        used_s = None
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while b"\n" not in self._waiting:
                if selector.select(WATCH_S):
                    piece = os.read(out, 1 << 16)
                    if not piece:
                        self._lose("it ended before it answered")
                    self._waiting += piece
                    if len(self._waiting) > self.limits.answer_bytes:
                        self._lose("its answer is too long")
                now = time.monotonic()
                if now > deadline:
                    self._lose("it took too long")
                if now > watched + WATCH_S:
                    watched = now
                    family = _family(self._process.pid)
                    if reason := excess(family, self.limits):
                        self._lose(reason)
                    spent_s = sum(each.processor_s for each in family)
                    used_s = spent_s if used_s is None else used_s
                    if spent_s - used_s > processor_s:
                        self._lose("it took too long")
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line

    def _write(self, message: dict[str, Any], deadline: float) -> None:
        """Say a line, unless nobody reads any more."""
        assert self._process is not None
        assert self._process.stdin is not None
        into = self._process.stdin.fileno()
        left = json.dumps(message).encode() + b"\n"
        with selectors.DefaultSelector() as selector:
            selector.register(into, selectors.EVENT_WRITE)
            while left:
                if selector.select(WATCH_S):
                    try:
                        left = left[os.write(into, left) :]
                    except BrokenPipeError:
                        self._lose("it ended before it answered")
                if left and time.monotonic() > deadline:
                    self._lose("it took too long")

    def _lose(self, reason: str) -> NoReturn:
        """End the process, of which nothing more can be expected."""
        self.close()
        raise Lost(reason)


def bwrap_arguments(limits: SubmissionLimits, filter_fd: int) -> list[str]:
    """Options of bwrap: a file system of the system's programs, read-only, and an empty folder."""
    arguments = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    arguments += ["--die-with-parent", "--new-session", "--clearenv", "--hostname", "grader", "--cap-drop", "ALL"]
    if os.geteuid() == 0:  # root of the machine is exempt from limits on processes, so it gives itself up inside
        arguments += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        arguments += ["--unshare-user"]
    for name, value in VARIABLES.items():
        arguments += ["--setenv", name, value]
    for outside, inside in system_roots().items():
        arguments += ["--ro-bind", outside, inside]
    for name in ("bin", "lib", "lib64", "sbin"):
        if Path("/", name).is_symlink():
            arguments += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
    for name in PACKAGES:
        folder = Path(_numpy_folder().parent, name)
        if folder.is_dir():
            arguments += [*_parents(f"/packages/{name}"), "--ro-bind", str(folder), f"/packages/{name}"]
    for hidden in [*copies_of_ours(), *checkout_inside()]:
        arguments += ["--tmpfs", hidden, "--remount-ro", hidden]
    arguments += ["--proc", "/proc", "--dev", "/dev"]
    arguments += ["--perms", "1777", "--size", str(limits.disk_bytes), "--tmpfs", "/tmp"]
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/"]
    return [*arguments, "--seccomp", str(filter_fd), "--chdir", "/tmp"]


def _parents(path: str) -> list[str]:
    """The folders that ``path`` lies in, for everybody to enter: bwrap itself makes them for its own user alone."""
    above = [str(each) for each in reversed(Path(path).parents)][1:]
    return [word for each in above for word in ("--perms", "0755", "--dir", each)]


def python_command() -> list[str]:
    """Python without site-packages, and the worker's text: no file of ours has to be there."""
    program_file = Path(sys.executable).resolve()
    base = Path(sys.base_prefix).resolve()
    if program_file.is_relative_to(base):
        program_file = Path(system_roots()[_root_of(base)]) / program_file.relative_to(_root_of(base))
    return [str(program_file), "-I", "-S", "-c", WORKER.read_text(encoding="utf-8")]


def system_roots() -> dict[str, str]:
    """Folders that Python needs, and where they are inside: the system's, and an interpreter's own elsewhere."""
    root = _root_of(Path(sys.base_prefix).resolve())
    return {"/usr": "/usr"} | ({} if root == "/usr" else {root: "/python"})


def _root_of(base: Path) -> str:
    return "/usr" if base.is_relative_to("/usr") else str(base)


def copies_of_ours() -> list[str]:
    """Our packages where they lie below what is shown inside, by their paths there: hidden."""
    found = set()
    for outside, inside in system_roots().items():
        for folder in ("lib", "lib64", "local/lib"):
            for place in Path(outside, folder).glob("python3*/*-packages"):
                there = Path(inside) / place.relative_to(outside)
                found |= {str(there / name) for name in OURS if (place / name).is_dir()}
    return sorted(found)


def checkout_inside() -> list[str]:
    """The checkout by its path inside, where it lies below what is shown there: hidden, solutions and all."""
    below = [(outside, inside) for outside, inside in system_roots().items() if CHECKOUT.is_relative_to(outside)]
    return [str(Path(inside) / CHECKOUT.relative_to(outside)) for outside, inside in below]


class RunningProcess(NamedTuple):
    """A process, its resident memory in pages, and the processor time that it and its ended children took."""

    id: int
    pages: int
    processor_s: float


def descendants(process: int) -> list[int]:
    """Processes that ``process`` started, and theirs, as long as they live."""
    return [each.id for each in _family(process)]


def excess(family: Sequence[RunningProcess], limits: SubmissionLimits) -> str:
    """What processes use too much of, in words; empty where nothing."""
    if len(family) > limits.processes + 2:  # bwrap's own two
        return "it started too many processes"
    if sum(each.pages for each in family) * os.sysconf("SC_PAGE_SIZE") > limits.memory_bytes:
        return "it used too much memory"
    return ""


def _family(process: int) -> list[RunningProcess]:
    """Every descendant of a process."""
    children: dict[int, list[RunningProcess]] = {}
    ticks = os.sysconf("SC_CLK_TCK")
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                fields = Path("/proc", entry, "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            processor_s = sum(map(int, fields[11:15])) / ticks
            children.setdefault(int(fields[1]), []).append(RunningProcess(int(entry), int(fields[21]), processor_s))
    found, waiting = [], [process]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += [each.id for each in below]
    return found


def _read(line: bytes) -> Any:
    """The answer of a line that anybody may have written."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise NoAnswer("its answer is no JSON") from error
    if isinstance(said, dict) and said.keys() == {"answer"}:
        return said["answer"]
    name = said.get("error") if isinstance(said, dict) else None
    if name == "missing":
        raise NoAnswer("there is no such function")
    known = isinstance(name, str) and name in dir(builtins)
    raise NoAnswer(f"{RAISED} {name if known else 'an error of its own'}")


def _numpy_folder() -> Path:
    found = find_spec("numpy")
    if found is None or found.origin is None:
        raise SandboxError("numpy is not installed, which submissions may import; install agentsafe-envs again")
    return Path(found.origin).parent


@cache
def find_bwrap() -> str:
    """Path of bubblewrap, looked for once."""
    program_found = shutil.which("bwrap")
    if program_found is None:
        raise SandboxError("no bwrap, without which no submission is run; `apt-get install bubblewrap`, on Linux")
    return program_found
