"""What a tracer saw: strace's lines turned into typed calls with ancestry and absolute paths.

strace runs outside the sandbox with strings in hexadecimal (``-xx``), so no name that an agent
chooses can look like anything else, and with the paths of descriptors (``-y``).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from agentsafe_envs.bash.names import LINKS, RENAMES, SYMLINKS, Names, Place
from agentsafe_envs.bash.tree import Node, Tree, resolve

_FIRST_PATH = (
    "chmod chown lchown truncate unlink rmdir mkdir mknod open creat setxattr lsetxattr removexattr lremovexattr"
)
_DESCRIPTOR = "fchmod fchown fsetxattr fremovexattr ftruncate fallocate"
_DIRECTORY_AND_PATH = "fchmodat fchownat unlinkat mkdirat mknodat openat openat2"
_TWO_PATHS = "rename link"
_TWO_DIRECTORIES_AND_PATHS = "renameat renameat2 linkat"

_SHAPES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(_FIRST_PATH.split(), (0,)),
    **dict.fromkeys(_DESCRIPTOR.split(), (0,)),
    **dict.fromkeys(_DIRECTORY_AND_PATH.split(), (1,)),
    **dict.fromkeys(_TWO_PATHS.split(), (0, 1)),
    **dict.fromkeys(_TWO_DIRECTORIES_AND_PATHS.split(), (1, 3)),
    "symlink": (1,),
    "symlinkat": (2,),
    "execve": (0,),
    "execveat": (1,),
    "chdir": (0,),
    "fchdir": (0,),
    "bind": (),
    "kill": (),
    "tkill": (),
    "tgkill": (),
}
"""Call -> places of its paths among its arguments; a directory's descriptor stands right before."""

_LAST_LINK_KEPT = frozenset({"lchown", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "mknod", "mknodat"}) | {
    *_TWO_PATHS.split(),
    *_TWO_DIRECTORIES_AND_PATHS.split(),
    "symlink",
    "symlinkat",
    "lsetxattr",
    "lremovexattr",
}
_OPENS = frozenset({"open", "openat", "openat2", "creat"})
_FORKS = frozenset({"clone", "clone3", "fork", "vfork"})
_EXECS = ("execve", "execveat")
_ENTERS = frozenset({"chdir", "fchdir"})
_HARMLESS = frozenset({*_EXECS, "kill", "tkill", "tgkill"})
_WITH_FLAGS = frozenset({"fchmodat", "fchownat", "linkat"})
_RIGHTS_BY_PATH = frozenset(
    {"chmod", "chown", "fchmodat", "fchownat", "lchown", "lremovexattr", "lsetxattr", "removexattr", "setxattr"}
)
TRACED_CALLS = (*_SHAPES, *sorted(_FORKS), "getpid", "gettid", "set_tid_address")

MAX_ANCESTRY = 64

_CALL = re.compile(rb"(\w+)\((.*)\) += (.*)", re.DOTALL)
_RESULT = re.compile(rb"(-?\d+|\?|0x[0-9a-f]+)(?:<([^>]*)>(?:\(deleted\))?)?(?: (E[A-Z0-9]+))?")
_RESUMED = re.compile(rb"<\.\.\. \w+ resumed>(.*)", re.DOTALL)
_OWN_NUMBER = re.compile(rb"(?:<\.\.\. )?(?:getpid|gettid|set_tid_address)(?:\([^)]*| resumed>)\) += (\d+)")
_UNFINISHED = b" <unfinished ...>"
_LEADER = re.compile(rb"(.*) <pid changed to (\d+) \.\.\.>", re.DOTALL)
_SUPERSEDED = b"+++ superseded by execve"
_WITH_PATH = re.compile(rb"(?:AT_FDCWD|\d+)<([^>]*)>")
_DOTS = re.compile(r"/(?:\.?/)+")
_OWN_LINK = re.compile(r"/proc/(?:self|thread-self)/(cwd|root|fd/\d+)(?:/|$)")
_ANY_LINK = re.compile(
    r"(?:/proc/[^/]+/(?:task/[^/]+/)?(?:cwd|root|exe|fd/[^/]+|map_files/[^/]+)|/dev/(?:fd/[^/]+|std(?:in|out|err)))(/.*)?",
    re.DOTALL,
)
_OPENED = re.compile(rb"= (\d+)<([^>]*)>$")
_SOCKET_PATH = re.compile(rb'sun_path="((?:\\x[0-9a-f]{2})*)"')


class SystemCall(NamedTuple):
    """One call that a process in the sandbox made.

    Attributes:
        number: Order in the session, from 0; calls of different processes too.
        process: Number of the process outside the sandbox; threads have their own.
        name: For instance ``"fchmodat"``.
        paths: Absolute, links resolved as the call itself resolves them.
        arguments: As text, strings as they were (bytes that are no UTF-8 as surrogate escapes), up to
            the first structure.
        result: What it returned, -1 for an error.
        error: ``"EPERM"`` and so on, ``""`` for none.
        ancestry: Programs from the shell down to the one that made the call, by absolute path. A
            program that was replaced by exec stays in: ``env chmod`` gives bash, env, chmod.
    """

    number: int
    process: int
    name: str
    paths: tuple[str, ...]
    arguments: tuple[str, ...]
    result: int
    error: str
    ancestry: tuple[str, ...]

    @property
    def changes_files(self) -> bool:
        """It succeeded and is of a kind that changes files, or opens one for writing."""
        return not self.error and self.name not in _HARMLESS

    @property
    def unclear(self) -> bool:
        """It changed rights or names of what some process has open: nobody can say of what."""
        if not self.changes_files or self.name not in _RIGHTS_BY_PATH | LINKS | RENAMES:
            return False
        return any((found := _ANY_LINK.fullmatch(path)) and (found[1] or _follows(self)) for path in self.paths)


@dataclass(slots=True)
class _Place:
    """What somebody entered or ran; links on the way are followed once all calls before are known."""

    path: str


@dataclass(slots=True)
class _Working:
    """A working directory, which threads share."""

    directory: _Place


class _Pending(NamedTuple):
    """A call whose links are not followed yet.

    Attributes:
        call: Its paths as they were written, and no ancestry.
        bases: For each path the directory that it is relative to, None where it is absolute.
        programs: Its ancestry.
        led_to: What it entered or ran, if it did.
    """

    call: SystemCall
    bases: tuple[_Place | None, ...]
    programs: tuple[_Place, ...]
    led_to: _Place | None


@dataclass(slots=True)
class _Process:
    working: _Working
    programs: tuple[_Place, ...]
    unfinished: bytes = b""
    handle: tuple[str, str] | None = None
    """Number and path of the descriptor that its last call opened as a mere handle."""

    def child(self, call: bytes) -> _Process:
        """What a new process inherits; only threads share the directory."""
        shared = self.working if b"CLONE_FS" in call else _Working(self.working.directory)
        return _Process(shared, self.programs)

    def placed(self, path: str, *, of_rights: bool) -> tuple[_Place | None, str]:
        """What ``path`` is relative to, and the rest of it, through the links of /proc to what the process has.

        Descriptors are not followed, since who duplicates or is sent one is not traced; but for a call
        on rights that comes right after a handle was opened, as glibc does to change no link's target.
        """
        if not path.startswith("/"):
            return self.working.directory, path
        plain = _DOTS.sub("/", path)
        found = _OWN_LINK.match(plain)
        if found is None:
            return None, path
        rest = plain[found.end() :]
        if found[1] == "cwd":
            return self.working.directory, rest
        if found[1] == "root":
            return None, f"/{rest}"
        if of_rights and self.handle and found[1] == f"fd/{self.handle[0]}":
            return None, posixpath.join(self.handle[1], rest)
        return None, path

    @property
    def forking(self) -> bool:
        """Whether it is within a call that makes a process."""
        return self.unfinished.partition(b"(")[0].decode() in _FORKS


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
        shell: Process number of the shell, None before it runs.
    """

    directory: str
    shell: int | None = None
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
    def busy(self) -> bool:
        """Whether anything runs beside the shell."""
        return bool(self._unclaimed or self._strangers or self._processes.keys() - self._base)

    def begin(self) -> None:
        """Take the process that made the last call for the shell, and forget what led up to it."""
        started = next((call for call, *_ in reversed(self._calls) if call.name in _EXECS), None)
        if started is None:
            raise ValueError("nothing was traced, so there is no shell; feed its trace first")
        self.shell = started.process
        self._processes[self.shell].programs = (_Place(started.paths[0]),)
        self._base = frozenset(self._processes)
        self._calls = [each for each in self._calls if each.call.name in _ENTERS]

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
        while self._strangers and self._unclaimed:
            self._adopt(max(self._strangers), max(self._unclaimed))
        pending, self._calls = sorted(self._calls, key=lambda each: each.call.number), []
        links = _Links(tree)
        entering = {id(led_to) for *_, led_to in pending}
        working = [process.working.directory for process in self._processes.values()]
        for place in (*working, *(base for _, bases, *_ in pending for base in bases)):
            if place and id(place) not in entering:
                links.enter(place)
        calls = []
        for call, bases, programs, led_to in pending:
            paths = [links.joined(base, path) for base, path in zip(bases, call.paths, strict=True)]
            call = links.resolved(call._replace(paths=tuple(paths)))
            if led_to is not None:
                led_to.path = call.paths[0]
            if led_to is not None and call.name in _ENTERS:
                links.enter(led_to)
            else:
                calls.append(call._replace(ancestry=tuple(program.path for program in programs)))
        links.leave()
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
            del self._processes[number]
            return
        changed = _LEADER.fullmatch(text)
        if changed:  # exec by a thread that is not the first succeeded, whatever is printed of its result
            self._processes[int(changed[2])] = self._processes.pop(number)
            number, text = int(changed[2]), changed[1] + b") = 0"
        if text.endswith(_UNFINISHED):
            process.unfinished = text.removesuffix(_UNFINISHED)
            return
        resumed = _RESUMED.fullmatch(text)
        if resumed:
            text, process.unfinished = process.unfinished + resumed[1], b""
        if _OWN_NUMBER.fullmatch(text):
            return
        if b"O_RDONLY" in text and b"O_CREAT" not in text and b"O_TRUNC" not in text:
            process.handle = _handle(text) if b"O_PATH" in text else None
            return
        found = _CALL.fullmatch(text)
        if found:
            self._called(number, process, order, found[1].decode(), found[2], found[3])
            process.handle = None

    def _newcomer(self, number: int) -> _Process | None:
        """The process that ``number`` must be, if only one kind can be meant."""
        if not self._processes and not self._strangers:
            process = self._processes[number] = _Process(_Working(_Place(self.directory)), ())
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

    def _called(self, number: int, process: _Process, order: int, name: str, raw: bytes, returned: bytes) -> None:
        parsed = _RESULT.match(returned)
        if parsed is None or parsed[1] == b"?":
            return  # it never returned, so it did nothing, or its process is gone
        result, error = int(parsed[1], 0), (parsed[3] or b"").decode()
        if name in _FORKS:
            if result > 0 and number in self._claimed_early:
                self._claimed_early.remove(number)
            elif result > 0:
                self._unclaimed[result] = process.child(raw)
                self._introduce(result)
            return
        arguments = list(_split(raw))
        written = [_unhex(parsed[2])] if name in _OPENS and parsed[2] is not None else _paths(name, arguments, raw)
        placed = [process.placed(path, of_rights=name in _RIGHTS_BY_PATH) for path in written]
        if name in _OPENS and not all(base or _is_of_the_world(path) for base, path in placed):
            return
        if name in _ENTERS and (error or not placed):
            return
        led_to = None
        if name in _ENTERS:
            led_to = process.working.directory = _Place(placed[0][1])
        elif name in _EXECS and not error and placed:
            led_to = _Place(placed[0][1])
            process.programs = (*process.programs[: MAX_ANCESTRY - 1], led_to)
        paths = tuple(path for _, path in placed)
        texts = tuple(_plain(argument) for argument in arguments)
        call = SystemCall(order, number, name, paths, texts, result, error, ())
        self._calls.append(_Pending(call, tuple(base for base, _ in placed), process.programs, led_to))


def _split(raw: bytes) -> Iterable[bytes]:
    """Arguments up to the first structure; strings keep a leading quote, descriptors their path."""
    place = 0
    while place < len(raw):
        if raw[place] in b"{[":
            return
        if raw[place : place + 1] == b'"':
            end = raw.index(b'"', place + 1)
            yield raw[place:end]
            place = end + 1
            if raw.startswith(b"...", place):
                place += 3
        else:
            end = raw.find(b", ", place)
            end = len(raw) if end < 0 else end
            yield raw[place:end]
            place = end
        place += 2 if raw.startswith(b", ", place) else len(raw)


def _paths(name: str, arguments: list[bytes], raw: bytes) -> Iterable[str]:
    """Paths of a call; those that are relative to the working directory stay so."""
    if name == "bind":
        found = _SOCKET_PATH.search(raw)
        if found:
            yield _unhex(found[1])
    for place in _SHAPES[name]:
        if place >= len(arguments):
            continue
        argument = arguments[place]
        described = _WITH_PATH.match(argument)
        if described:
            path = _unhex(described[1])
            if path.startswith("/"):
                yield path
        elif argument.startswith(b'"'):
            base = None
            if place and name not in _TWO_PATHS and name != "symlink":
                base = _WITH_PATH.match(arguments[place - 1])
            yield posixpath.join(_unhex(base[1]) if base else "", _unhex(argument[1:]))


def _plain(argument: bytes) -> str:
    if argument.startswith(b'"'):
        return _unhex(argument[1:])
    return argument.partition(b"<")[0].decode()


def _unhex(escaped: bytes) -> str:
    return bytes.fromhex(escaped.decode().replace("\\x", "")).decode("utf-8", "surrogateescape")


class _Links:
    """Symbolic links as they are between two calls.

    Args:
        tree: Files before the first call.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._names = Names()
        self._made: dict[str, Node] = {}
        self._entered: dict[int, tuple[_Place, Place]] = {}

    def enter(self, place: _Place) -> None:
        """Know where ``place`` is from now on, whatever it comes to be called."""
        self._entered[id(place)] = place, self._names.place(place.path)

    def leave(self) -> None:
        """Let every place that was entered know what it is called in the end."""
        for place, named in self._entered.values():
            place.path = named.path

    def joined(self, base: _Place | None, path: str) -> str:
        """Absolute path of ``path`` as seen from ``base``."""
        return path if base is None else posixpath.join(self._entered[id(base)][1].path, path)

    def get(self, path: str) -> Node | None:
        """The link at ``path``, or whatever is there."""
        old = self._names.old(path)
        return self._made.get(old) or self._tree.get(old)

    def resolved(self, call: SystemCall) -> SystemCall:
        """``call`` with the links in its paths followed; what it does to links is taken in."""
        paths = tuple(resolve(self, path, follow=_follows(call)) for path in call.paths)
        if not call.error:
            self._names.follow(call.name, paths, call.arguments)
            if call.name in SYMLINKS and paths:
                self._made[self._names.old(paths[0])] = Node("symlink", 0o777, 0, 0, target=call.arguments[0])
        return call._replace(paths=paths)


def _follows(call: SystemCall) -> bool:
    flags = "".join(call.arguments[-1:]).split("|") if call.name in _WITH_FLAGS else ()
    return "AT_SYMLINK_FOLLOW" in flags or not (call.name in _LAST_LINK_KEPT or "AT_SYMLINK_NOFOLLOW" in flags)


def _handle(opened: bytes) -> tuple[str, str] | None:
    """Number and path of a descriptor from the line of the call that opened it."""
    found = _OPENED.search(opened)
    return (found[1].decode(), _unhex(found[2])) if found else None


def _is_of_the_world(path: str) -> bool:
    """Whether an opened path is a file that lasts: no pipe, socket, device or process."""
    if not path.startswith("/") or path.startswith("/proc/"):
        return False
    return not path.startswith("/dev/") or path.startswith("/dev/shm/")
