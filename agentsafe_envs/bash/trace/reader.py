"""What a tracer saw: strace's lines turned into typed calls with ancestry and absolute paths."""

from __future__ import annotations

import re
import struct
from collections import deque
from dataclasses import dataclass, field

from agentsafe_envs.bash.files.tree import Tree
from agentsafe_envs.bash.trace.paths import MOST_LOOKUPS, Files, PathNode, Process, Target, of_the_system
from agentsafe_envs.bash.trace.strace import DELETED, UNFINISHED, Line, Output, hexed, read_line, unhexed
from agentsafe_envs.bash.trace.syscalls import (
    ENTERS,
    EXECS,
    FORKS,
    LINKS,
    NAMINGS,
    OPENS,
    RENAMES,
    RIGHTS,
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


@dataclass(slots=True)
class TraceReader:
    """Reads one session's trace as it comes.

    A line names its process by the number outside the sandbox, while the call that made the process
    returned the number inside. So a newcomer is taken for the child of the fork that has waited longest. With several
    parents at once that may be the wrong one: only the program before its first exec depends on it,
    since the tracer writes the working directory with most calls.

    Args:
        directory: Working directory of the session's first process.
        tree: Files before the first call.

    Attributes:
        shell: Process number of the shell, None before it runs. What led up to it is forgotten.
    """

    directory: str
    tree: Tree
    shell: int | None = None
    _shell: Process | None = None
    _files: Files = field(init=False)
    _output: Output = field(default_factory=Output)
    _processes: dict[int, Process] = field(default_factory=dict)
    _unclaimed: deque[Process] = field(default_factory=deque)
    _making: dict[int, Process] = field(default_factory=dict)
    _handles: dict[int, tuple[str, Target]] = field(default_factory=dict)
    """By thread what its last call opened as a mere handle: how glibc names that, to follow no link, and what it is.
    Other descriptors are not followed, since who duplicates or is sent one is not traced."""
    _calls: list[tuple[SystemCall, PathNode | None]] = field(default_factory=list)
    _base: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        self._files = Files(self.tree)

    @property
    def shell_directory(self) -> str | None:
        """Working directory of the shell, also after its end."""
        place = self._shell and self._shell.directory.place
        return place and place.path

    @property
    def busy(self) -> bool:
        """Whether anything runs beside the shell."""
        return bool(self._unclaimed or self._processes.keys() - self._base)

    @property
    def read(self) -> frozenset[str]:
        """Paths, in the tree, of what anybody read since."""
        return frozenset(each.origin for those in self._files.reads.values() for each in those if each.origin)

    def feed(self, data: bytes) -> None:
        """Take in what the tracer wrote, cut anywhere."""
        for number, order, text in self._output.feed(data):
            process = self._processes.get(number) or self._newcomer(number, order)
            ended = text.startswith(b"+++")
            line = None if ended or _reads_nothing(text) else read_line(text)
            making = self._making.pop(number, None)
            if making in self._unclaimed and not (line and line.result > 0):
                self._unclaimed.remove(making)  # it failed, or nobody can say
            if ended:
                del self._processes[number]
                process.ended = None if process in self._processes.values() else order
            elif text.endswith(UNFINISHED):
                if text.partition(b"(")[0].decode("latin-1") in FORKS:
                    self._making[number] = self._fork(process, text, order)
            else:
                self._tell_directory(process, text)
                if line is None:
                    self._handles.pop(number, None)
                elif line.name not in FORKS or not making:
                    self._called(number, process, order, line)

    def take(self) -> tuple[SystemCall, ...]:
        """Calls since :meth:`begin`, in order, paths without links; refused ones are left out."""
        files = self._files
        writers = {place: frozenset(place.writers) for _, place in self._calls if place}
        sources = {those: files.sources(those) for those in {*writers.values()}}
        told = {
            place: {"sources": sources[those] - {place.origin}, "left": files.whereabouts(place)}
            for place, those in writers.items()
        }
        late = {"unclear": True} if files.lookups > MOST_LOOKUPS else {}
        return tuple(call._replace(**(told[place] if place else {}), **late) for call, place in self._calls)

    def begin(self, tree: Tree) -> None:
        """Forget all calls so far; ``tree`` is how they left the files."""
        self.tree, self._files, self._calls = tree, Files(tree), []
        self._handles.clear()
        for process in {*self._processes.values(), *self._unclaimed}:
            place = process.directory.place
            process.directory = self._files.find(f"{place.path if place else process.directory.path}/.")

    def _newcomer(self, number: int, order: int) -> Process:
        """The process that a number which was not seen before must be."""
        if self._unclaimed:
            process = self._unclaimed.popleft()
        elif self.shell in self._processes:  # its parent was killed before it was told of
            process = self._processes[self.shell].child(order)
        else:
            process = Process(self._files.find(f"{self.directory}/."))
        self._processes[number] = process
        return process

    def _fork(self, process: Process, call: bytes, order: int) -> Process:
        made = process if b"CLONE_THREAD" in call else process.child(order)
        self._unclaimed.append(made)
        return made

    def _tell_directory(self, process: Process, text: bytes) -> None:
        found = _DIRECTORY.search(text)
        if found and found[1] != process.told:
            process.told = found[1]
            process.directory = self._files.find(f"{unhexed(found[1])}/.")

    def _called(self, number: int, process: Process, order: int, line: Line) -> None:
        """Take in a call that succeeded."""
        if line.name in WAITS:
            if line.result > 0 or line.name == "waitid":
                process.children = object()
        elif line.name in FORKS:
            self._fork(process, line.raw, order)
        elif line.name == "umask":
            process.umask = int(line.texts[0], 8)
        else:
            self._on_files(number, process, order, line)

    def _on_files(self, number: int, process: Process, order: int, line: Line) -> None:
        handle = self._handles.pop(number, None)
        if line.name in OPENS and not _is_of_the_world(line.opened or ""):
            return
        written = (line.opened or "",) if line.name in OPENS else line.paths  # where the kernel says it led
        if line.name in ENTERS and written:
            path = written[0].removesuffix(DELETED)
            process.directory, process.told = self._files.find(f"{path}/.", process.directory), b""
            return
        if line.name in OPENS and any(b"O_PATH" in each for each in line.arguments):
            self._handles[number] = f"/proc/self/fd/{line.result}", self._files.find(f"{line.opened}/.")
            return
        call = SystemCall(order, number, line.name, (), line.texts, process.programs)
        targets = [
            self._files.find("", handle[1])
            if handle and path == handle[0]
            else self._files.find(path, process.directory, call.follows_last_link)
            for path in written
        ]
        first = targets[0].place if targets else None
        if line.name in EXECS:
            if targets and self.shell is None:
                self._begin(number, process, targets[0].path)
            elif targets:
                process.programs = (*process.programs[: MAX_ANCESTRY - 1], targets[0].path)
            return
        if call.reads and first is not None:
            self._files.reads.setdefault(process, set()).add(first)
        if call.only_reads:
            return
        unclear = line.name in RIGHTS | NAMINGS and any(each.unclear or of_the_system(each.path) for each in targets)
        place = None
        try:
            place = self._files.apply(call, targets, process.umask) if targets else None
        except (IndexError, KeyError, ValueError, struct.error):  # written in a way that the tracer never does
            unclear = True
        near = self._files.around(place) if place and line.name in OPENS | RIGHTS | RENAMES | LINKS else {}
        if place is not None and line.name in OPENS:
            place.writers.add(process)
        call = call._replace(
            name="listen" if line.name == "bind" and _SERVES.search(line.raw) else line.name,
            paths=tuple(target.path for target in targets),
            origins=tuple((target.place and target.place.origin) or "" for target in targets),
            around={path: (each.origin or "", each.node) for path, each in near.items() if each.node},
            unclear=unclear,
        )
        self._calls.append((call, place if place and place.writers else None))

    def _begin(self, number: int, process: Process, program: str) -> None:
        """Take the process for the shell if it is one, and forget what led up to it."""
        self._calls = []
        if program == SHELL:
            self.shell, self._shell = number, process
            process.programs, process.shell = (program,), True
            self._base = frozenset(self._processes)


def _reads_nothing(text: bytes) -> bool:
    """Whether it opens for reading what holds nobody's data, if anything; most lines do."""
    return (
        b"O_RDONLY" in text
        and not any(flag in text for flag in (b"O_CREAT", b"O_TRUNC", b"O_PATH"))
        and (b"O_DIRECTORY" in text or b") = -1 " in text or text.startswith(_SYSTEM, text.rfind(b"<") + 1))
    )


def _is_of_the_world(path: str) -> bool:
    """Whether an opened path is a file that lasts: no pipe, socket, device or process."""
    if not path.startswith("/") or path.startswith("/proc/"):
        return False
    return not path.startswith("/dev/") or path.startswith("/dev/shm/")
