"""Files while calls rename, link, remove and change them: the one model of names, links and rights.

What a path leads to depends on the names and links that there are when it is used. So the calls of a
command are gone through in their order. Where nobody can say what a path leads to, the target is unclear.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
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


@dataclass(eq=False, slots=True)
class Life:
    """How long a process ran.

    Attributes:
        begun: Order of the call that made it.
        ended: Order in which it ended, None before.
        shell: It is the session's shell, which lives beside all others.
        pipeline: The same object in children that one process made without waiting for any. The first of a pipeline may
            be over before the second begins.
    """

    begun: int = 0
    ended: int | None = None
    shell: bool = False
    pipeline: object = field(default_factory=object)

    def feeds(self, other: Life) -> bool:
        """Whether what this process read the other may have written: they are one, or ran at one time."""
        if self is other or other.shell:
            return self is other
        if self.pipeline is other.pipeline:
            return True
        return (self.ended is None or other.begun < self.ended) and (other.ended is None or self.begun < other.ended)


class Place:
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
        self, node: Node | None = None, origin: str | None = None, above: Place | None = None, name: str = ""
    ) -> None:
        self.node, self.origin, self.above, self.name = node, origin, above, name
        self.below: dict[str, Place | None] = {}
        self.writers: list[Life] = []

    @property
    def path(self) -> str:
        """What it is called, or was called last."""
        names = [self.name, *(each.name for each in self.folders())]
        return "/".join(reversed(names)) or "/"

    def folders(self) -> Iterator[Place]:
        """What lies above it, the nearest first."""
        place = self.above
        while place is not None:
            yield place
            place = place.above

    @property
    def reachable(self) -> bool:
        """Whether its last name still leads to it."""
        place = self
        for folder in self.folders():
            if folder.below.get(place.name) is not place:
                return False
            place = folder
        return True


class Target(NamedTuple):
    """What a path leads to.

    Attributes:
        folder: It lies there.
        name: Its name there.
        place: None if nothing is there.
        path: Without links and dots.
        unclear: Nobody can say whether this is right.
    """

    folder: Place
    name: str
    place: Place | None
    path: str
    unclear: bool = False


class Files:
    """What is where between two calls of a command.

    Args:
        tree: Before the first call.

    Attributes:
        reads: Who read what.
        doubtful: A process was killed while it named something: nobody can say whether that was done.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._root = Place(tree.get("/"), "")
        self._linked: dict[int, Place] = {}
        self._gone: dict[str, Place] = {}
        self._lookups = 0
        self.reads: list[tuple[Life, Place]] = []
        self.doubtful = False

    def find(self, path: str, base: Place | None = None, follow: bool = True) -> Target:
        """Follow ``path`` through all links.

        Args:
            path: Absolute, or relative to ``base``; a descriptor's path whose name is gone ends with :data:`DELETED`.
            base: None for the root.
            follow: Whether a link in the last place is followed too.
        """
        if path.endswith(DELETED):
            path = path.removesuffix(DELETED)
            gone = self._gone.get(path)
            now = (gone and self.whereabouts(gone)) or path
            return Target(self._root, "", gone, now, gone is None and not _UNNAMED.fullmatch(path))
        here = self._root if base is None or path.startswith("/") else base
        at = "" if here is self._root else here.path
        parts, links, unclear = _parts(path), 0, self._lookups > MOST_LOOKUPS
        target = Target(here.above or here, here.name, here, at or "/", unclear)
        while parts:
            part = parts.pop()
            self._lookups += 1
            if part == "..":
                unclear = unclear or _of_the_system(at)  # perhaps a link of the system's led here
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
            target = Target(here, part, place, name, unclear)
            if place is None and parts:  # in the system's part, which is not looked at
                here.below[part] = place = Place(None, None, here, part)
            here, at = place or here, name
        return target

    def apply(self, call: SystemCall, targets: list[Target], umask: int = 0o022) -> None:
        """Take in a call that succeeded, of a process with that umask."""
        first = targets[0].place
        if call.name in RENAMES and len(targets) == 2:
            self._rename(*targets, exchange="RENAME_EXCHANGE" in call.arguments[-1:])
        elif call.name in LINKS and len(targets) == 2:
            self._put(targets[1], first or Place())
        elif call.name in REMOVALS:
            self._put(targets[0], None)
        elif call.name in SYMLINKS:
            self._put(targets[0], Place(Node("symlink", 0o777, 0, 0, target=call.arguments[0])))
        elif call.name in RIGHTS and first and first.node:
            try:
                asked = asked_for(first.node, call)
            except (IndexError, KeyError, ValueError, struct.error):  # written in a way that the tracer never did
                self.doubtful = True
            else:
                first.node = first.node if asked == first.node else asked
        elif call.name in OPENS | MAKES and (first is None or first.node is None):
            kind = "directory" if call.name.startswith("mkdir") else "file"
            self._put(targets[0], Place(Node(kind, made_mode(call) & ~umask, 0, 0)))

    def misled(self, target: Target, made: bool = False) -> bool:
        """Whether it is open what was changed by a path; nothing in the system's part can have been.

        Args:
            target: What the path leads to.
            made: The call makes this name, so nothing need be there, if only its folder is known.
        """
        missing = target.place is None and not (made and target.folder.node is not None)
        return target.unclear or _of_the_system(target.path) or (self.doubtful and missing)

    def around(self, place: Place) -> dict[str, Place]:
        """By path: ``place``, and what is other than before the first call on the way to it and below it.

        Empty if no name leads to it.
        """
        path = self.whereabouts(place)
        if not path:
            return {}
        folder = self.find(path, follow=False).folder
        found = {path: place}
        for each in (folder, *folder.folders()):
            found[each.path] = each
        found |= self._below(path, place)
        return {at: each for at, each in found.items() if each is place or self._tree.get(at) is not each.node}

    def sources(self, place: Place, seen: set[int]) -> Iterator[str]:
        """Paths, before the first call, of what was read by those who wrote it, or wrote what they read."""
        seen.add(id(place))
        for reader, read in self.reads if self._lookups <= MOST_LOOKUPS else ():
            self._lookups += 1
            if read is not place and any(reader.feeds(writer) for writer in place.writers):
                if read.origin:
                    yield read.origin
                elif id(read) not in seen:
                    yield from self.sources(read, seen)

    def whereabouts(self, place: Place) -> str:
        """A name that leads to ``place``, empty if none does."""
        if place.reachable:
            return place.path
        origin = place.origin
        return origin if origin and self.find(origin, follow=False).place is place else ""

    def _rename(self, one: Target, other: Target, exchange: bool) -> None:
        if one.place is not None and one.place is other.place:
            return  # two names of one file: the kernel leaves both
        self._put(one, other.place if exchange else None)
        self._put(other, one.place or Place())

    def _put(self, target: Target, place: Place | None) -> None:
        if target.place is not None:
            self._gone[target.path] = target.place
        target.folder.below[target.name] = place
        if place is not None:
            place.above, place.name = target.folder, target.name

    def _child(self, folder: Place, name: str) -> Place | None:
        if name in folder.below or folder.origin is None:
            return folder.below.get(name)
        path = f"{folder.origin}/{name}"
        node = self._tree.get(path)
        place = None if node is None else Place(node, path, folder, name)
        if place and node and node.links > 1:
            place = self._linked.setdefault(node.inode, place)
        if place is not None:
            folder.below[name] = place
        return place

    def _below(self, path: str, folder: Place) -> dict[str, Place]:
        """What is below a folder and was looked at."""
        found: dict[str, Place] = {}
        for name, place in sorted(folder.below.items()):
            if place is not None:
                found |= {f"{path}/{name}": place, **self._below(f"{path}/{name}", place)}
        return found


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")][::-1]


def _of_the_system(path: str) -> bool:
    """Whether ``path`` lies in the read-only part of the system, whose links are not known."""
    return path.startswith("/usr/") and not path.startswith("/usr/local/")
