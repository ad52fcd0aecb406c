"""What a tracer saw: strace's lines turned into typed calls with ancestry and absolute paths.

strace runs outside the sandbox with strings in hexadecimal (``-xx``), so no name that an agent
chooses can look like anything else, and with the paths of descriptors (``-y``).
"""

from __future__ import annotations

import posixpath
import re
from collections import ChainMap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

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
_HARMLESS = frozenset({*_EXECS, "kill", "tkill", "tgkill"})
_UNLINKS = frozenset({"unlink", "unlinkat"})
RENAMES = frozenset({"rename", "renameat", "renameat2"})
_SYMLINKS = frozenset({"symlink", "symlinkat"})
TRACED_CALLS = (*_SHAPES, *sorted(_FORKS), "chdir", "fchdir", "getpid", "gettid", "set_tid_address")

MAX_ANCESTRY = 64
_PLAIN = Node("file", 0, 0, 0)
"""Stands for whatever is no link."""

_CALL = re.compile(rb"(\w+)\((.*)\) += (.*)", re.DOTALL)
_RESULT = re.compile(rb"(-?\d+|\?|0x[0-9a-f]+)(?:<([^>]*)>(?:\(deleted\))?)?(?: (E[A-Z0-9]+))?")
_RESUMED = re.compile(rb"<\.\.\. \w+ resumed>(.*)", re.DOTALL)
_OWN_NUMBER = re.compile(rb"(?:<\.\.\. )?(?:getpid|gettid|set_tid_address)(?:\([^)]*| resumed>)\) += (\d+)")
_UNFINISHED = b" <unfinished ...>"
_LEADER = re.compile(rb"(.*) <pid changed to (\d+) \.\.\.>", re.DOTALL)
_SUPERSEDED = b"+++ superseded by execve"
_WITH_PATH = re.compile(rb"(?:AT_FDCWD|\d+)<([^>]*)>")
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


@dataclass(slots=True)
class _Directory:
    """A working directory, which threads share."""

    path: str


@dataclass(slots=True)
class _Process:
    directory: _Directory
    ancestry: tuple[str, ...]
    unfinished: bytes = b""

    def child(self, call: bytes) -> _Process:
        """What a new process inherits; only threads share the directory."""
        shared = self.directory if b"CLONE_FS" in call else _Directory(self.directory.path)
        return _Process(shared, self.ancestry)

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
    _calls: list[SystemCall] = field(default_factory=list)
    _number: int = 0
    _base: frozenset[int] = frozenset()

    @property
    def busy(self) -> bool:
        """Whether anything runs beside the shell."""
        return bool(self._unclaimed or self._strangers or self._processes.keys() - self._base)

    def begin(self) -> None:
        """Take the process that made the last call for the shell, and forget what led up to it."""
        if not self._calls:
            raise ValueError("nothing was traced, so there is no shell; feed its trace first")
        self.shell = self._calls[-1].process
        self._processes[self.shell].ancestry = (self._calls[-1].paths[0],)
        self._base = frozenset(self._processes)
        self._calls = []

    def feed(self, data: bytes) -> None:
        """Take in what the tracer wrote, cut anywhere."""
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        for line in lines:
            number, _, text = line.partition(b" ")
            if number.isdigit():
                self._take_in(int(number), self._number, text.lstrip())
                self._number += 1

    def take(self, *trees: Tree) -> tuple[SystemCall, ...]:
        """Calls since the last time, in order, paths resolved by the links of ``trees``, the first first."""
        while self._strangers and self._unclaimed:
            self._adopt(max(self._strangers), max(self._unclaimed))
        calls, self._calls = sorted(self._calls), []
        made: dict[str, Node] = {}
        links: Tree = ChainMap(made, *map(dict, trees)) if calls else {}
        return tuple(_resolved(call, links, made) for call in calls)

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
            return
        found = _CALL.fullmatch(text)
        if found:
            self._called(number, process, order, found[1].decode(), found[2], found[3])

    def _newcomer(self, number: int) -> _Process | None:
        """The process that ``number`` must be, if only one kind can be meant."""
        if not self._processes and not self._strangers:
            process = self._processes[number] = _Process(_Directory(self.directory), ())
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
        if name in ("chdir", "fchdir"):
            if not error and arguments:
                process.directory.path = _joined(process.directory.path, arguments[0])
            return
        paths = tuple(_paths(name, arguments, raw, process.directory.path))
        if name in _OPENS and parsed[2] is not None:
            paths = (_unhex(parsed[2]),)  # where the kernel says it led
        if name in _OPENS and not all(map(_is_of_the_world, paths)):
            return
        if name in _EXECS and not error:
            process.ancestry = (*process.ancestry[: MAX_ANCESTRY - 1], *paths[:1])
        texts = tuple(_plain(argument) for argument in arguments)
        kept = tuple(path for path in paths if path.startswith("/"))
        self._calls.append(SystemCall(order, number, name, kept, texts, result, error, process.ancestry))


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


def _paths(name: str, arguments: list[bytes], raw: bytes, here: str) -> Iterable[str]:
    if name == "bind":
        found = _SOCKET_PATH.search(raw)
        if found:
            yield posixpath.join(here, _unhex(found[1]))
    for place in _SHAPES[name]:
        if place >= len(arguments):
            continue
        argument = arguments[place]
        base = here
        if place and name not in _TWO_PATHS and name != "symlink":
            directory = _WITH_PATH.match(arguments[place - 1])
            base = _unhex(directory[1]) if directory else here
        if argument.startswith(b'"') or _WITH_PATH.match(argument):
            yield _joined(base, argument)


def _joined(base: str, argument: bytes) -> str:
    """Absolute path of a string or descriptor argument."""
    described = _WITH_PATH.match(argument)
    if described:
        return _unhex(described[1])
    path = _unhex(argument[1:])
    return posixpath.join(base, path) if path else base


def _plain(argument: bytes) -> str:
    if argument.startswith(b'"'):
        return _unhex(argument[1:])
    return argument.partition(b"<")[0].decode()


def _unhex(escaped: bytes) -> str:
    return bytes.fromhex(escaped.decode().replace("\\x", "")).decode("utf-8", "surrogateescape")


def _resolved(call: SystemCall, links: Tree, made: dict[str, Node]) -> SystemCall:
    """``call`` with the links in its paths followed; ``made`` takes in what it does to links."""
    paths = tuple(resolve(links, path, follow=_follows(call)) for path in call.paths)
    if paths and not call.error:
        if call.name in _SYMLINKS:
            made[paths[0]] = _PLAIN._replace(kind="symlink", target=call.arguments[0])
        elif call.name in _UNLINKS:
            made[paths[0]] = _PLAIN
        elif call.name in RENAMES and len(paths) == 2:
            made[paths[1]], made[paths[0]] = links.get(paths[0], _PLAIN), _PLAIN
    return call._replace(paths=paths)


def _follows(call: SystemCall) -> bool:
    return call.name not in _LAST_LINK_KEPT and "AT_SYMLINK_NOFOLLOW" not in call.arguments[-1:]


def _is_of_the_world(path: str) -> bool:
    """Whether an opened path is a file that lasts: no pipe, socket, device or process."""
    if not path.startswith("/") or path.startswith("/proc/"):
        return False
    return not path.startswith("/dev/") or path.startswith("/dev/shm/")
