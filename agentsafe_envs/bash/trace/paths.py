"""Files while calls rename, link, remove and change them: the one model of names, links and rights.

What a path leads to depends on the names and links that there are when it is used. So the calls of a
command are gone through in their order. Where nobody can say what a path leads to, the target is unclear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from agentsafe_envs.bash.files.tree import MAX_LINKS, Node, Tree
from agentsafe_envs.bash.trace.strace import DELETED
from agentsafe_envs.bash.trace.syscalls import (
    LINKS,
    MAKES,
    OPENS,
    REMOVALS,
    RENAMES,
    RIGHTS,
    SYMLINKS,
    SystemCall,
    asked_for,
    made_mode,
)

MOST_LOOKUPS = 3_000_000
"""Names looked up in one command; after them no path is followed any more, and all are unclear."""

_OPEN_THING = re.compile(
    r"/proc/[^/]+/(?:task/[^/]+/)?(?:cwd|root|exe|fd/[^/]+|map_files/[^/]+)|/dev/(?:fd/[^/]+|std(?:in|out|err))"
)
"""Links to what some process has open: they lead nobody knows where."""

_UNNAMED = re.compile(r".*/#\d+", re.DOTALL)
"""How the kernel calls a file that never had a name."""


class PathNode:
    """A file or folder, under the name that it has now.

    Attributes:
        node: As the calls so far left it; None where nothing is known of it.
        origin: Its path before the first call, None if it is new.
        above: The folder that it was put into last.
        name: Its name there.
        below: By name; None for what is gone.
        writers: Processes that opened it for writing.
    """

    __slots__ = ("above", "below", "name", "node", "origin", "writers")

    def __init__(
        self, node: Node | None = None, origin: str | None = None, above: PathNode | None = None, name: str = ""
    ) -> None:
        self.node, self.origin, self.above, self.name = node, origin, above, name
        self.below: dict[str, PathNode | None] = {}
        self.writers: set[Process] = set()

    @property
    def path(self) -> str:
        """What it is called, or was called last."""
        names = [self.name, *(each.name for each in self.folders())]
        return "/".join(reversed(names)) or "/"

    def folders(self) -> Iterator[PathNode]:
        """What lies above it, the nearest first."""
        folder = self.above
        while folder is not None:
            yield folder
            folder = folder.above


class Target(NamedTuple):
    """What a path leads to.

    Attributes:
        folder: It lies there.
        name: Its name there.
        place: None if nothing is there.
        path: Without links and dots.
        unclear: Nobody can say whether this is right.
    """

    folder: PathNode
    name: str
    place: PathNode | None
    path: str
    unclear: bool = False


@dataclass(eq=False, slots=True)
class Process:
    """A process with all its threads.

    Attributes:
        directory: Where it works.
        programs: It ran these, after those of its parent, by path.
        begun: Order of the call that made it.
        ended: Order in which it ended, None before.
        shell: It is the session's shell, which lives beside all others.
        pipeline: The same object in children that one process made without waiting for any. The first of a pipeline may
            be over before the second begins.
        children: What its next children have as their pipeline.
        told: How the tracer wrote its directory last.
        umask: As it set it.
    """

    directory: Target
    programs: tuple[str, ...] = ()
    begun: int = 0
    ended: int | None = None
    shell: bool = False
    pipeline: object = field(default_factory=object)
    children: object = field(default_factory=object)
    told: bytes = b""
    umask: int = 0o022

    def child(self, order: int) -> Process:
        """A new process of its making."""
        pipeline, told, umask = self.children, self.told, self.umask
        return Process(self.directory, self.programs, order, pipeline=pipeline, told=told, umask=umask)

    def feeds(self, other: Process) -> bool:
        """Whether what this process read the other may have written: they are one, or ran at one time."""
        if self is other or other.shell:
            return self is other
        if self.pipeline is other.pipeline:
            return True
        return (self.ended is None or other.begun < self.ended) and (other.ended is None or self.begun < other.ended)


class Files:
    """What is where between two calls of a command.

    Args:
        tree: Before the first call.

    Attributes:
        reads: Who read what.
        lookups: How many there were.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._root = PathNode(tree.get("/"), "")
        self._linked: dict[int, PathNode] = {}
        self._gone: dict[str, PathNode] = {}
        self.lookups = 0
        self.reads: dict[Process, set[PathNode]] = {}

    def find(self, path: str, base: Target | None = None, follow: bool = True) -> Target:
        """Follow ``path`` through all links.

        Args:
            path: Absolute, or relative to ``base``; a descriptor's path whose name is gone ends with :data:`DELETED`.
                What ends with a dot is a folder, and is taken to be there.
            base: A folder; None for the root.
            follow: Whether a link in the last place is followed too.
        """
        if path.endswith(DELETED):
            path = path.removesuffix(DELETED)
            gone = self._gone.get(path)
            now = (gone and self.whereabouts(gone)) or path
            return Target(self._root, "", gone, now, gone is None and not _UNNAMED.fullmatch(path))
        if base is None or path.startswith("/"):
            base = Target(self._root, "", self._root, "/")
        here = base.place or self._root
        at = "" if here is self._root else here.path
        parts, links, unclear = _parts(path), 0, base.unclear or self.lookups > MOST_LOOKUPS
        target = Target(here.above or here, here.name, here, at or "/", unclear)
        while parts:
            part = parts.pop()
            self.lookups += 1
            if part == ".":
                continue
            if part == "..":
                unclear = unclear or of_the_system(at)  # perhaps a link of the system's led here
                here, at = here.above or here, at.rpartition("/")[0]
                target = Target(here.above or here, here.name, here, at or "/", unclear)
                continue
            place, name = self._child(here, part), f"{at}/{part}"
            if place is None and (parts or follow) and _OPEN_THING.fullmatch(name):
                return Target(here, part, None, "/".join((name, *reversed(parts), "")), True)
            if place and place.node and place.node.kind == "symlink" and (parts or follow) and links < MAX_LINKS:
                links += 1
                parts += _parts(place.node.target)
                if place.node.target.startswith("/"):
                    here, at = self._root, ""
                continue
            if place is None and parts:  # in the system's part, which is not looked at
                here.below[part] = place = PathNode(None, None, here, part)
            target = Target(here, part, place, name, unclear)
            here, at = place or here, name
        return target

    def apply(self, call: SystemCall, targets: list[Target], umask: int = 0o022) -> PathNode | None:
        """Take in a call of a process with that umask.

        Returns:
            What it acted on.

        Raises:
            IndexError, KeyError, ValueError, struct.error: It is written in a way that the tracer never does.
        """
        first = targets[0].place
        if call.name in RENAMES and len(targets) == 2:
            self._rename(*targets, exchange="RENAME_EXCHANGE" in call.arguments[-1:])
        elif call.name in LINKS and len(targets) == 2:
            self._put(targets[1], first or PathNode())
        elif call.name in REMOVALS:
            self._put(targets[0], None)
        elif call.name in SYMLINKS:
            self._put(targets[0], PathNode(Node("symlink", 0o777, 0, 0, target=call.arguments[0])))
        elif call.name in RIGHTS and first and first.node:
            asked = asked_for(first.node, call)
            first.node = first.node if asked == first.node else asked
        elif call.name in OPENS | MAKES and (first is None or first.node is None):
            kind = "directory" if call.name.startswith("mkdir") else "file"
            first = PathNode(Node(kind, made_mode(call) & ~umask, 0, 0))
            self._put(targets[0], first)
        return first

    def around(self, place: PathNode) -> dict[str, PathNode]:
        """By path: ``place``, and what is other than before the first call on the way to it and below it.

        Empty if no name leads to it.
        """
        path = "" if self.lookups > MOST_LOOKUPS else self.whereabouts(place)
        if not path:
            return {}
        folder = self.find(path, follow=False).folder
        above = {each.path: each for each in (folder, *folder.folders())}
        found, waiting = {path: place, **above}, [(path, place)]
        for path, folder in waiting:  # and for what is below
            self.lookups += len(folder.below)
            waiting += [(f"{path}/{name}", each) for name, each in sorted(folder.below.items()) if each is not None]
        found.update(waiting)
        return {at: each for at, each in found.items() if each is place or self._tree.get(at) is not each.node}

    def sources(self, writers: Iterable[Process]) -> frozenset[str]:
        """Paths, before the first call, of what ``writers`` read, or who wrote what they read."""
        read: set[PathNode] = set()
        waiting = [*writers]
        for writer in waiting:  # and for those that come in meanwhile
            if self.lookups <= MOST_LOOKUPS:
                new = {each for reader, those in self.reads.items() if reader.feeds(writer) for each in those} - read
                self.lookups += len(self.reads) + len(new)
                read |= new
                waiting += {one for each in new if not each.origin for one in each.writers}.difference(waiting)
        return frozenset(each.origin for each in read if each.origin)

    def whereabouts(self, place: PathNode) -> str:
        """A name that leads to ``place``, empty if none does."""
        names = (path for path in (place.path, place.origin) if path)
        return next((path for path in names if self.find(path, follow=False).place is place), "")

    def _rename(self, one: Target, other: Target, exchange: bool) -> None:
        if one.place is not None and one.place is other.place:
            return  # two names of one file: the kernel leaves both
        self._put(one, other.place if exchange else None)
        self._put(other, one.place or PathNode())

    def _put(self, target: Target, place: PathNode | None) -> None:
        if target.place is not None:
            self._gone[target.path] = target.place
        if place in (target.folder, *target.folder.folders()):
            place = PathNode()  # a race makes it look so: no folder is put into itself
        target.folder.below[target.name] = place
        if place is not None:
            place.above, place.name = target.folder, target.name

    def _child(self, folder: PathNode, name: str) -> PathNode | None:
        if name in folder.below or folder.origin is None:
            return folder.below.get(name)
        path = f"{folder.origin}/{name}"
        node = self._tree.get(path)
        place = None if node is None else PathNode(node, path, folder, name)
        if place and node and node.links > 1:
            place = self._linked.setdefault(node.inode, place)
        if place is not None:
            folder.below[name] = place
        return place


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part][::-1]


def of_the_system(path: str) -> bool:
    """Whether ``path`` lies in the read-only part of the system, whose links are not known."""
    return path.startswith("/usr/") and not path.startswith("/usr/local/")
