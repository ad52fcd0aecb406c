"""What a tracer saw: strace's lines turned into typed calls with ancestry and absolute paths."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from agentsafe_envs.bash.files.tree import Tree
from agentsafe_envs.bash.trace.paths import Links, Location
from agentsafe_envs.bash.trace.strace import Line, read_line
from agentsafe_envs.bash.trace.syscalls import ENTERS, EXECS, FORKS, OPENS, RIGHTS, SystemCall

SHELL = "/usr/bin/bash"
"""Program of a session; nothing runs in the world before it."""

MAX_ANCESTRY = 64

_RESUMED = re.compile(rb"<\.\.\. \w+ resumed>(.*)", re.DOTALL)
_OWN_NUMBER = re.compile(rb"(?:<\.\.\. )?(?:getpid|gettid|set_tid_address)(?:\([^)]*| resumed>)\) += (\d+)")
_UNFINISHED = b" <unfinished ...>"
_LEADER = re.compile(rb"(.*) <pid changed to (\d+) \.\.\.>", re.DOTALL)
_SUPERSEDED = b"+++ superseded by execve"
_DOTS = re.compile(r"/(?:\.?/)+")
_OWN_LINK = re.compile(r"/proc/(?:self|thread-self)/(?:(cwd)|(root)|fd/(\d+))(?:/|$)")


@dataclass(slots=True)
class _Working:
    """A working directory, which threads share."""

    directory: Location


class _Pending(NamedTuple):
    """A call whose links are not followed yet.

    Attributes:
        call: Its paths as they were written, and no ancestry.
        bases: For each path the place that it is relative to, None where it is absolute.
        programs: Its ancestry.
        led_to: What it entered, ran or holds from then on, if it does.
    """

    call: SystemCall
    bases: tuple[Location | None, ...]
    programs: tuple[Location, ...]
    led_to: Location | None


@dataclass(slots=True)
class _Process:
    working: _Working
    programs: tuple[Location, ...]
    unfinished: bytes = b""
    begun: int = 0
    """Order of the unfinished call."""
    handle: tuple[int, Location] | None = None
    """Number of a descriptor and what it stands for, if the last call opened it as a mere handle."""

    def child(self, call: bytes) -> _Process:
        """What a new process inherits; only threads share the directory."""
        shared = self.working if b"CLONE_FS" in call else _Working(self.working.directory)
        return _Process(shared, self.programs)

    def placed(self, path: str, handle: tuple[int, Location] | None) -> tuple[Location | None, str]:
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
        if handle and handle[0] == int(found[3]):
            return handle[1], rest
        return None, path

    @property
    def forking(self) -> bool:
        """Whether it is within a call that makes a process."""
        return self.unfinished.partition(b"(")[0].decode() in FORKS


@dataclass(slots=True)
class TraceReader:
    """Reads one session's trace as it comes.

    A line names its process by the number outside the sandbox, while the call that made the process
    returned the number inside. A newcomer belongs to the only fork that has no child yet; where there
    are several, its lines wait until it is told its own number (as every program is when it starts).
    One that is never told is given to the youngest fork when the calls are taken.

    Args:
        directory: Working directory of the session's first process.

    Attributes:
        shell: Process number of the shell, None before it runs. What led up to it is forgotten.
        orphaned: Of some process nobody can say who made it, as of when the calls were last taken.
    """

    directory: str
    shell: int | None = None
    orphaned: bool = False
    _shell_working: _Working | None = None
    _partial: bytes = b""
    _processes: dict[int, _Process] = field(default_factory=dict)
    _unclaimed: dict[int, _Process] = field(default_factory=dict)
    _claimed_early: set[int] = field(default_factory=set)
    _strangers: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)
    _names: dict[int, int] = field(default_factory=dict)
    _calls: list[_Pending] = field(default_factory=list)
    _number: int = 0
    _base: frozenset[int] = frozenset()

    @property
    def shell_directory(self) -> str | None:
        """Working directory of the shell, also after its end, as of when the calls were last taken."""
        return self._shell_working and self._shell_working.directory.path

    @property
    def busy(self) -> bool:
        """Whether anything runs beside the shell."""
        return bool(self._unclaimed or self._strangers or self._processes.keys() - self._base)

    def feed(self, data: bytes) -> None:
        """Take in what the tracer wrote, cut anywhere."""
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        for line in lines:
            number, _, text = line.partition(b" ")
            if number.isdigit():
                self._take_in(int(number), self._number, text.lstrip())
                self._number += 1

    def take(self, tree: Tree) -> tuple[SystemCall, ...]:
        """Calls since the last time, in order, paths without links.

        Args:
            tree: Files as they were the last time.
        """
        if self.shell is None:
            self._calls = []
        while self._strangers and self._unclaimed:
            self._adopt(max(self._strangers), max(self._unclaimed))
        pending, self._calls = sorted(self._calls, key=lambda each: each.call.number), []
        links = Links(tree)
        entering = {id(led_to) for *_, led_to in pending}
        working = [process.working.directory for process in self._processes.values()]
        for place in (*working, *(base for _, bases, *_ in pending for base in bases)):
            if place and id(place) not in entering:
                links.enter(place)
        calls = []
        for call, bases, programs, led_to in pending:
            call = links.resolved(call, bases)
            if led_to is not None:
                led_to.path = call.paths[0]
            if led_to is not None and call.name not in EXECS:
                links.enter(led_to)
            else:
                calls.append(call._replace(ancestry=tuple(program.path for program in programs)))
        links.leave()
        forking = any(process.forking for process in self._processes.values())
        self.orphaned = bool(self._strangers) and not forking
        if not forking:
            self._unclaimed = {inside: child for inside, child in self._unclaimed.items() if inside > 0}
        return tuple(calls)

    def _take_in(self, number: int, order: int, text: bytes) -> None:
        process = self._processes.get(number) or self._newcomer(number)
        if process is None:
            self._strangers.setdefault(number, []).append((order, text))
            told = _OWN_NUMBER.fullmatch(text)
            if told:
                self._names[int(told[1])] = number
                self._introduce(int(told[1]))
            return
        if text.startswith(_SUPERSEDED):
            return  # by a thread of its own, which goes on under its number
        if text.startswith(b"+++"):
            if process.forking:  # perhaps there is a child, whose number nobody will tell
                self._unclaimed[-number] = process.child(process.unfinished)
            elif process.unfinished:
                self._take_in(number, order, b"<... x resumed>) = ?")
            del self._processes[number]
            return
        changed = _LEADER.fullmatch(text)
        if changed:  # exec by a thread that is not the first succeeded, whatever is printed of its result
            self._processes[int(changed[2])] = self._processes.pop(number)
            number, text = int(changed[2]), changed[1] + b") = 0"
        if text.endswith(_UNFINISHED):
            process.unfinished, process.begun = text.removesuffix(_UNFINISHED), order
            return
        resumed = _RESUMED.fullmatch(text)
        begun = order
        if resumed:
            text, process.unfinished, begun = process.unfinished + resumed[1], b"", process.begun
        if _OWN_NUMBER.fullmatch(text):
            return
        if b"O_RDONLY" in text and b"O_CREAT" not in text and b"O_TRUNC" not in text:
            process.handle = None
            if b"O_PATH" not in text:
                return
        line = read_line(text)
        if line is not None:
            # What a path leads to is settled when the call begins, what it is called afterwards when it ends.
            self._called(number, process, begun if line.name in RIGHTS else order, line)

    def _newcomer(self, number: int) -> _Process | None:
        """The process that ``number`` must be, if only one kind can be meant."""
        if not self._processes and not self._strangers:
            process = self._processes[number] = _Process(_Working(Location(self.directory)), ())
            return process
        if self._strangers:
            return None
        making = [
            (each, process)
            for each, process in self._processes.items()
            if process.forking and each not in self._claimed_early
        ]
        if len(self._unclaimed) == 1 and not making:
            self._processes[number] = self._unclaimed.popitem()[1]
        elif len(making) == 1 and not self._unclaimed:
            ((maker, parent),) = making
            self._claimed_early.add(maker)
            self._processes[number] = parent.child(parent.unfinished)
        return self._processes.get(number)

    def _introduce(self, inside: int) -> None:
        """Bring together a fork and a stranger, if both are known."""
        if inside in self._unclaimed and self._names.get(inside) in self._strangers:
            self._adopt(self._names.pop(inside), inside)

    def _adopt(self, number: int, inside: int) -> None:
        self._processes[number] = self._unclaimed.pop(inside)
        for order, text in self._strangers.pop(number):
            self._take_in(number, order, text)

    def _called(self, number: int, process: _Process, order: int, line: Line) -> None:
        handle, process.handle = process.handle, None
        if line.name in FORKS:
            if line.result > 0 and number in self._claimed_early:
                self._claimed_early.remove(number)
            elif line.result > 0:
                self._unclaimed[line.result] = process.child(line.raw)
                self._introduce(line.result)
            return
        written = (line.opened,) if line.name in OPENS and line.opened else line.paths  # where the kernel says it led
        placed = [process.placed(path, handle if line.name in RIGHTS else None) for path in written]
        if line.name in OPENS and not all(base or _is_of_the_world(path) for base, path in placed):
            return
        led_to = Location(placed[0][1]) if placed and not line.error else None
        if line.name in ENTERS:
            if led_to is None:
                return
            process.working.directory = led_to
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
        self._calls.append(_Pending(call, tuple(base for base, _ in placed), process.programs, led_to))

    def _begin(self, number: int, process: _Process, program: Location) -> None:
        """Take the process for the shell if it is one, and forget what led up to it."""
        if program.path == SHELL:
            self.shell = number
            self._shell_working = process.working
            process.programs = (program,)
            self._base = frozenset(self._processes)
            self._calls = []


def _is_of_the_world(path: str) -> bool:
    """Whether an opened path is a file that lasts: no pipe, socket, device or process."""
    if not path.startswith("/") or path.startswith("/proc/"):
        return False
    return not path.startswith("/dev/") or path.startswith("/dev/shm/")
