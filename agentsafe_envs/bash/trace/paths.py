"""What paths lead to while calls rename, link and remove: the names of files, and the links on the way.

Names are followed back to what a file was called before the first call.

What a path leads to depends on the links that there are when it is used. So paths are kept as they
were written until all calls before are known, and followed in the order of calls. Where nobody can say
what a path leads to, a call that changes rights or names by it is marked as unclear.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agentsafe_envs.bash.files.tree import Node, Tree, follow_links
from agentsafe_envs.bash.trace.strace import DELETED
from agentsafe_envs.bash.trace.syscalls import LINKS, NAMINGS, OPENS, REMOVALS, RENAMES, RIGHTS, SYMLINKS, SystemCall

MOST_LOOKUPS = 3_000_000
"""Names looked up in one command; after them paths are not followed any more, and unclear."""

_OPEN_THING = re.compile(
    r"/proc/[^/]+/(?:task/[^/]+/)?(?:cwd|root|exe|fd/[^/]+|map_files/[^/]+)|/dev/(?:fd/[^/]+|std(?:in|out|err))"
)
"""Links to what some process has open: they lead nobody knows where."""

_UNNAMED = re.compile(r".*/#\d+", re.DOTALL)
"""How the kernel calls a file that never had a name."""


class PathNode:
    """Something whose name can change, or what lies above such a thing.

    Attributes:
        old: What it was called before the first call; None where only what lies above it was renamed.
        below: By name.
    """

    __slots__ = ("_above", "_name", "below", "old")

    def __init__(self, old: str | None = None) -> None:
        self.old = old
        self.below: dict[str, PathNode] = {}
        self._above: PathNode | None = None
        self._name = ""

    @property
    def path(self) -> str:
        """What it is called now, or was last."""
        names, thing = [], self
        while thing._above is not None:
            names.append(thing._name)
            thing = thing._above
        return "/" + "/".join(reversed(names))

    def put(self, name: str, thing: PathNode) -> None:
        """Have ``thing`` below this one."""
        self.below[name] = thing
        thing._above, thing._name = self, name


class Lookup(NamedTuple):
    """How far a path has been followed.

    Attributes:
        thing: What is there, None if neither that nor anything below it has another name than before.
        old: What it was called before the first call; begins with NUL if it is new.
    """

    thing: PathNode | None
    old: str

    def below(self, name: str) -> Lookup:
        """One name further."""
        thing = self.thing.below.get(name) if self.thing else None
        return Lookup(thing, f"{self.old}/{name}" if thing is None or thing.old is None else thing.old)


class Names:
    """Follows calls one by one; a folder that is renamed takes along whatever lies below it.

    Args:
        inode: Of an old name, the same for all names of one file.
    """

    def __init__(self, inode: Callable[[str], Hashable] = str) -> None:
        self._inode = inode
        self._root = PathNode("")
        self._new = 0

    def old(self, path: str) -> str:
        """What ``path`` was called before the first call; begins with NUL if something new is there.

        Args:
            path: Absolute, without links and dots.
        """
        return self.walk(path).old

    def walk(self, path: str) -> Lookup:
        """Follow ``path`` from the root; the same ways as :meth:`Lookup.below`, in one go."""
        thing: PathNode | None = self._root
        parts = path.split("/")[1:]
        old, known = "", 0
        for number, part in enumerate(parts, 1):
            thing = thing.below.get(part)
            if thing is None:
                break
            if thing.old is not None:
                old, known = thing.old, number
        return Lookup(thing, "/".join((old, *parts[known:])))

    def named_below(self, path: str) -> bool:
        """Whether something below ``path`` has another name than before, or its name was another thing's."""
        thing = self.walk(path).thing
        return bool(thing and thing.below)

    def follow(self, call: str, paths: Sequence[str], arguments: Sequence[str] = ()) -> None:
        """Take in a call that succeeded; most kinds change no name.

        Args:
            call: Its name.
            paths: Absolute, without links and dots.
            arguments: As strace writes them.
        """
        if call in RENAMES and len(paths) == 2:
            self._rename(*paths, exchange="RENAME_EXCHANGE" in arguments[-1:])
        elif call in LINKS and len(paths) == 2:
            self._put(paths[1], PathNode(self.old(paths[0])))
        elif call in REMOVALS or call in SYMLINKS:
            for path in paths:
                self._put(path, self._something_new())

    def thing_at(self, path: str) -> PathNode:
        """What is at ``path`` now, whose name can be asked for later."""
        thing = self._root
        for each in path.split("/")[1:]:
            if each not in thing.below:
                thing.put(each, PathNode())
            thing = thing.below[each]
        return thing

    def _rename(self, one: str, other: str, exchange: bool) -> None:
        if self._inode(self.old(one)) == self._inode(self.old(other)):
            return  # two names of one file: the kernel leaves both
        moved = self._take(one)
        self._put(one, self._take(other) if exchange else self._something_new())
        self._put(other, moved)

    def _something_new(self) -> PathNode:
        self._new += 1
        return PathNode(f"\0{self._new}")

    def _take(self, path: str) -> PathNode:
        """What is at ``path``, and knows its old name."""
        old = self.old(path)
        thing = self.thing_at(path)
        thing.old = old
        return thing

    def _put(self, path: str, thing: PathNode) -> None:
        folder, _, name = path.rpartition("/")
        self.thing_at(folder).put(name, thing)


@dataclass(slots=True)
class Location:
    """What somebody entered, ran or holds; links on the way are followed once all calls before are known."""

    path: str


class Links:
    """Symbolic links as they are between two calls.

    Args:
        tree: Files before the first call.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._names = Names(self._inode)
        self._made: dict[str, Node] = {}
        self._entered: dict[int, tuple[Location, PathNode]] = {}
        self._walked: dict[str, Lookup] = {}
        self._created: set[str] = set()
        self._gone: dict[str, str] = {}
        self._lookups = 0

    def enter(self, place: Location) -> None:
        """Know where ``place`` is from now on, whatever it comes to be called."""
        if not _through_open_thing(place.path):
            self._entered[id(place)] = place, self._names.thing_at(place.path)

    def leave(self) -> None:
        """Let every place that was entered know what it is called in the end."""
        for place, thing in self._entered.values():
            place.path = thing.path

    def get(self, path: str) -> Node | None:
        """The link at ``path``, or whatever is there."""
        self._lookups += 1
        if path.startswith(("/proc/", "/dev/")) and _OPEN_THING.fullmatch(path):
            return Node("magic", 0, 0, 0)
        folder, _, name = path.rpartition("/")
        above = self._walked.get(folder)
        self._walked[path] = way = self._names.walk(path) if above is None else above.below(name)
        return self._made.get(way.old) or self._tree.get(way.old)

    def resolved(self, call: SystemCall, bases: Sequence[Location | None]) -> SystemCall:
        """``call`` with the links in its paths followed; what it does to links is taken in.

        Args:
            call: Its paths may be relative.
            bases: For each path the entered place that it is relative to, None where it is absolute.
        """
        self._walked = {}
        follow = call.follows_last_link
        paths = tuple(self._path(path, base, follow) for path, base in zip(call.paths, bases, strict=True))
        if not call.error:
            self._take_in(call, paths)
        unclear = call.name in RIGHTS | NAMINGS and not call.error and any(map(_unclear, paths))
        return call._replace(paths=paths, unclear=unclear)

    def _path(self, path: str, base: Location | None, follow: bool) -> str:
        entered = self._entered.get(id(base))
        start = entered[1].path if entered else ""
        upwards = _of_the_system(start) and ".." in path.split("/")  # perhaps it was entered through a link
        if (base and not entered) or upwards or self._lookups > MOST_LOOKUPS:
            return f"{_NOWHERE}{path}"
        if path.endswith(DELETED):
            path = path.removesuffix(DELETED)
            if path in self._gone:
                return self._gone[path]
            return path if path in self._created or _UNNAMED.fullmatch(path) else f"{_NOWHERE}{path}"
        return follow_links(self, path, follow=follow, base=start)

    def _take_in(self, call: SystemCall, paths: Sequence[str]) -> None:
        for path in paths[-1:] if call.name in RENAMES | REMOVALS else ():
            old = self._names.old(path)
            if old in self._tree:
                self._gone[path] = old
        if call.name in OPENS | LINKS | RENAMES and paths and self._names.old(paths[0]) not in self._tree:
            self._created.add(paths[-1])
        self._names.follow(call.name, paths, call.arguments)
        if call.name in SYMLINKS and paths:
            self._made[self._names.old(paths[0])] = Node("symlink", 0o777, 0, 0, target=call.arguments[0])

    def _inode(self, old: str) -> Hashable:
        node = self._tree.get(old)
        return node.inode if node and node.links > 1 else old


_NOWHERE = "/proc/unknown/cwd/"


def _unclear(path: str) -> bool:
    """Whether nobody can say what was changed by ``path``; nothing below the read-only part of the system can be."""
    return _through_open_thing(path) or _of_the_system(path)


def _through_open_thing(path: str) -> bool:
    thing = _OPEN_THING.match(path)
    return bool(thing and path.startswith("/", thing.end()))


def _of_the_system(path: str) -> bool:
    return path.startswith("/usr/") and not path.startswith("/usr/local/")
