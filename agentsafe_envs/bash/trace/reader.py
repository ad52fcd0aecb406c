"""What a tracer saw: strace's lines turned into typed calls with ancestry and absolute paths."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from agentsafe_envs.bash.files.tree import Tree
from agentsafe_envs.bash.trace.paths import Files, Life, Place, Target
from agentsafe_envs.bash.trace.strace import Line, Output, hexed, read_line
from agentsafe_envs.bash.trace.syscalls import (
    ENTERS,
    EXECS,
    FORKS,
    KILLED,
    LINKS,
    NAMINGS,
    OPENS,
    RENAMES,
    RIGHTS,
    SYMLINKS,
    WAITS,
    SystemCall,
)

SHELL = "/usr/bin/bash"
"""Program of a session; nothing runs in the world before it."""

MAX_ANCESTRY = 64

_DIRECTORY = re.compile(rb"AT_FDCWD<((?:\\x[0-9a-f]{2})+)>(?!\(deleted\))")
_SYSTEM = tuple(hexed(path) for path in ("/usr/", "/proc/", "/dev/", "/etc/ld"))
"""How strace writes paths that are read all the time and hold nobody's data."""

_SERVES = re.compile(rb"htons\((?!0\))|sun_path=@")
"""A socket gets a number or a name by which others reach it; no file shows that."""

_DOTS = re.compile(r"/(?:\.?/)+")
_OWN_LINK = re.compile(r"/proc/(?:self|thread-self)/(?:(cwd)|(root)|fd/(\d+))(?:/|$)")


@dataclass(slots=True, eq=False)
class _Location:
    """What somebody entered, ran or holds.

    Attributes:
        path: What it is called, as of when the calls were last taken.
        place: Where it is while they are gone through; None where nobody can say.
    """

    path: str
    place: Place | None = None

    def lead(self, target: Target) -> None:
        """Be what a path leads to."""
        self.path = target.path
        self.place = None if target.unclear else target.place or Place(None, None, target.folder, target.name)
        if target.place is None and self.place is not None:
            target.folder.below[target.name] = self.place


@dataclass(slots=True)
class _Working:
    """A working directory, how the tracer wrote it last, and a umask: what threads share."""

    directory: _Location
    told: bytes = b""
    umask: int = 0o022


class _Pending(NamedTuple):
    """A call whose links are not followed yet.

    Attributes:
        call: Its paths as they were written, and no ancestry.
        bases: For each path the place that it is relative to, None where it is absolute.
        programs: Its ancestry.
        led_to: What it entered, ran or holds from then on, if it does.
        life: Of the process.
        umask: Likewise.
    """

    call: SystemCall
    bases: tuple[_Location | None, ...]
    programs: tuple[_Location, ...]
    led_to: _Location | None
    life: Life
    umask: int


@dataclass(slots=True)
class _Process:
    working: _Working
    programs: tuple[_Location, ...]
    life: Life
    seen_child: bool = False
    """The process that it is making has been seen."""
    handle: tuple[int, _Location] | None = None
    """Number of a descriptor and what it stands for, if the last call opened it as a mere handle."""
    youngest: Life | None = None
    """The last process that it made, if it has waited for none since."""

    def child(self, call: bytes, order: int) -> _Process:
        """What a new process inherits; only threads share the directory."""
        own = _Working(self.working.directory, self.working.told, self.working.umask)
        shared = self.working if b"CLONE_FS" in call else own
        life = Life(order)
        if self.youngest is not None:
            life.pipeline = self.youngest.pipeline
        self.youngest = life
        return _Process(shared, self.programs, life)

    def placed(self, path: str, handle: tuple[int, _Location] | None) -> tuple[_Location | None, str]:
        """What ``path`` is relative to, and the rest of it, through the links of /proc to what the process has.

        Descriptors are not followed, since who duplicates or is sent one is not traced; but for ``handle``,
        which was opened right before, as glibc does to change no link's target.
        """
        if not path.startswith("/"):
            return self.working.directory, path
        plain = _DOTS.sub("/", path)
        found = _OWN_LINK.match(plain)
        if found is None:
            return None, path
        rest = plain[found.end() :]
        if found[1]:
            return self.working.directory, rest
        if found[2]:
            return None, f"/{rest}"
        return (handle[1], rest) if handle and handle[0] == int(found[3]) else (None, path)


@dataclass(slots=True)
class TraceReader:
    """Reads one session's trace as it comes.

    A line names its process by the number outside the sandbox, while the call that made the process
    returned the number inside. So a newcomer is taken for the child of the fork that has waited longest. With several
    parents at once that may be the wrong one: only the program before its first exec depends on it,
    since the tracer writes the working directory with most calls.

    Args:
        directory: Working directory of the session's first process.

    Attributes:
        shell: Process number of the shell, None before it runs. What led up to it is forgotten.
        read: Paths, before the calls that were taken last, of what anybody read during these.
    """

    directory: str
    shell: int | None = None
    read: frozenset[str] = frozenset()
    _shell_working: _Working | None = None
    _output: Output = field(default_factory=Output)
    _processes: dict[int, _Process] = field(default_factory=dict)
    _unclaimed: deque[_Process] = field(default_factory=deque)
    _calls: list[_Pending] = field(default_factory=list)
    _base: frozenset[int] = frozenset()

    @property
    def shell_directory(self) -> str | None:
        """Working directory of the shell, also after its end, as of when the calls were last taken."""
        return self._shell_working and self._shell_working.directory.path

    @property
    def busy(self) -> bool:
        """Whether anything runs beside the shell."""
        return bool(self._unclaimed or self._processes.keys() - self._base)

    def feed(self, data: bytes) -> None:
        """Take in what the tracer wrote, cut anywhere."""
        for number, begun, order, text in self._output.feed(data):
            process = self._processes.get(number) or self._newcomer(number)
            if text.startswith(b"+++"):
                process.life.ended = order
                del self._processes[number]
                continue
            self._tell_directory(number, process, begun, text)
            if b"O_RDONLY" in text and b"O_CREAT" not in text and b"O_TRUNC" not in text:
                process.handle = None
                if b"O_PATH" not in text and (
                    b"O_DIRECTORY" in text or b") = -1 " in text or text.startswith(_SYSTEM, text.rfind(b"<") + 1)
                ):
                    continue
            line = read_line(text)
            if line is not None:
                # What a path leads to is settled when the call begins, what it is called afterwards when it ends.
                self._called(number, process, begun if line.name in RIGHTS else order, line)

    def take(self, tree: Tree) -> tuple[SystemCall, ...]:
        """Calls since the last time, in order, paths without links.

        Args:
            tree: Files as they were the last time.
        """
        pending, self._calls = sorted(self._calls, key=lambda each: each.call.number), []
        files = Files(tree)
        led_to = {id(each.led_to): each.led_to for each in pending if each.led_to}
        bases = [base for each in pending for base in each.bases if base]
        known = [*(each.working.directory for each in self._processes.values()), *bases]
        for location in known:
            if id(location) not in led_to:
                location.lead(files.find(location.path))
        done = [(call, place) for each in pending for call, place in _done(each, files)]
        for location in (*known, *led_to.values()):
            if location.place is not None:
                location.path = location.place.path
        self.read = frozenset(place.origin for _, place in files.reads if place.origin)
        return tuple(
            call._replace(sources=frozenset(files.sources(place, set())), left=files.whereabouts(place))
            if place
            else call
            for call, place in done
        )

    def _newcomer(self, number: int) -> _Process:
        """The process that a number which was not seen before must be."""
        process = _Process(_Working(_Location(self.directory)), (), Life())
        making = [
            (call, each)
            for parent, (call, _) in self._output.unfinished.items()
            if (each := self._processes.get(parent))
            and not each.seen_child
            and call.partition(b"(")[0].decode() in FORKS
        ]
        if self._unclaimed:
            process = self._unclaimed.popleft()
        elif making:
            call, parent = making[0]
            parent.seen_child = True
            process = parent.child(call, self._output.order)
        elif self.shell in self._processes:  # its parent was killed before it was told of
            process = self._processes[self.shell].child(b"", self._output.order)
        self._processes[number] = process
        return process

    def _tell_directory(self, number: int, process: _Process, order: int, text: bytes) -> None:
        found = _DIRECTORY.search(text)
        if found and found[1] != process.working.told:
            process.working.told = found[1]
            self._add(order, number, process, Line("chdir", b"", (b'"' + found[1],), 0, "", None))

    def _called(self, number: int, process: _Process, order: int, line: Line) -> None:
        if line.name in WAITS:
            if line.result > 0 or (line.name == "waitid" and not line.error):
                process.youngest = None
        elif line.name not in FORKS:
            self._add(order, number, process, line)
        elif process.seen_child:
            process.seen_child = False
        elif line.result > 0:
            self._unclaimed.append(process.child(line.raw, order))

    def _add(self, order: int, number: int, process: _Process, line: Line) -> None:
        handle, process.handle = process.handle, None
        if line.name == "bind" and _SERVES.search(line.raw):
            line = line._replace(name="listen")
        written = (line.opened,) if line.name in OPENS and line.opened else line.paths  # where the kernel says it led
        placed = [process.placed(path, handle if line.name in RIGHTS else None) for path in written]
        if line.name in OPENS and not all(base or _is_of_the_world(path) for base, path in placed):
            return
        led_to = _Location(placed[0][1]) if placed and not line.error else None
        if line.name == "umask":
            process.working.umask = int(line.texts[0], 8)
            return
        if line.name in ENTERS:
            if led_to is None:
                return
            process.working.directory = led_to
            process.working.told = process.working.told if line.raw == b"" else b""
        elif line.name in EXECS and led_to is not None:
            if self.shell is None:
                self._begin(number, process, led_to)
                return
            process.programs = (*process.programs[: MAX_ANCESTRY - 1], led_to)
        elif line.name in OPENS and led_to is not None and any(b"O_PATH" in each for each in line.arguments):
            process.handle = line.result, led_to
        else:
            led_to = None
        paths = tuple(path for _, path in placed)
        call = SystemCall(order, number, line.name, paths, line.texts, line.result, line.error, ())
        bases = tuple(base for base, _ in placed)
        self._calls.append(_Pending(call, bases, process.programs, led_to, process.life, process.working.umask))

    def _begin(self, number: int, process: _Process, program: _Location) -> None:
        """Take the process for the shell if it is one, and forget what led up to it."""
        self._calls = []
        if program.path == SHELL:
            self.shell = number
            self._shell_working = process.working
            process.programs, process.life = (program,), Life(shell=True)
            self._base = frozenset(self._processes)


def _is_of_the_world(path: str) -> bool:
    """Whether an opened path is a file that lasts: no pipe, socket, device or process."""
    if not path.startswith("/") or path.startswith("/proc/"):
        return False
    return not path.startswith("/dev/") or path.startswith("/dev/shm/")


def _done(pending: _Pending, files: Files) -> Iterator[tuple[SystemCall, Place | None]]:
    """A call with its links followed, after ``files`` has taken it in, and what it opened for writing, if it did."""
    call, led_to = pending.call, pending.led_to
    targets: list[Target] = []
    for path, base in zip(call.paths, pending.bases, strict=True):
        target = files.find(path, base and base.place, call.follows_last_link)
        targets.append(target._replace(unclear=True) if base and base.place is None else target)
    if led_to is not None:
        led_to.lead(targets[0])
        if call.name not in EXECS:
            return
    call = call._replace(
        paths=tuple(target.path for target in targets),
        origins=tuple((target.place and target.place.origin) or "" for target in targets),
        ancestry=tuple(program.path for program in pending.programs),
    )
    files.doubtful = files.doubtful or call.error == KILLED
    if call.error or not targets:
        yield call, None
        return
    if call.reads and targets[0].place is not None:
        files.reads.append((pending.life, targets[0].place))
    if call.only_reads:
        return
    files.apply(call, targets, pending.umask)
    place = files.find(call.paths[0]).place if call.name in OPENS else targets[0].place
    near = {} if place is None or call.name not in OPENS | RIGHTS | RENAMES | LINKS else files.around(place)
    if place is not None and call.name in OPENS:
        place.writers.append(pending.life)
    made = targets[-1] if call.name in RENAMES | LINKS | SYMLINKS else None
    unclear = call.name in RIGHTS | NAMINGS and any(files.misled(each, each is made) for each in targets)
    around = {path: (each.origin or "", each.node) for path, each in near.items() if each.node}
    yield call._replace(around=around, unclear=unclear), place if place and place.writers else None
