"""What things were called before a series of calls renamed, linked and removed them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

from agentsafe_envs.bash.calls import LINKS, REMOVALS, RENAMES, SYMLINKS


class Thing:
    """Something whose name can change, or what lies above such a thing.

    Attributes:
        old: What it was called before the first call; None where only what lies above it was renamed.
        below: By name.
    """

    __slots__ = ("_above", "_name", "below", "old")

    def __init__(self, old: str | None = None) -> None:
        self.old = old
        self.below: dict[str, Thing] = {}
        self._above: Thing | None = None
        self._name = ""

    @property
    def path(self) -> str:
        """What it is called now, or was last."""
        names, thing = [], self
        while thing._above is not None:
            names.append(thing._name)
            thing = thing._above
        return "/" + "/".join(reversed(names))

    def put(self, name: str, thing: Thing) -> None:
        """Have ``thing`` below this one."""
        self.below[name] = thing
        thing._above, thing._name = self, name


class Way(NamedTuple):
    """How far a path has been followed.

    Attributes:
        thing: What is there, None if neither that nor anything below it has another name than before.
        old: What it was called before the first call; begins with NUL if it is new.
    """

    thing: Thing | None
    old: str

    def below(self, name: str) -> Way:
        """One name further."""
        thing = self.thing.below.get(name) if self.thing else None
        return Way(thing, f"{self.old}/{name}" if thing is None or thing.old is None else thing.old)


class Names:
    """Follows calls one by one; a folder that is renamed takes along whatever lies below it.

    Args:
        inode: Of an old name, the same for all names of one file.
    """

    def __init__(self, inode: Callable[[str], Hashable] = str) -> None:
        self._inode = inode
        self._root = Thing("")
        self._new = 0

    def old(self, path: str) -> str:
        """What ``path`` was called before the first call; begins with NUL if something new is there.

        Args:
            path: Absolute, without links and dots.
        """
        return self.walk(path).old

    def walk(self, path: str) -> Way:
        """Follow ``path`` from the root; the same ways as :meth:`Way.below`, in one go."""
        thing: Thing | None = self._root
        parts = path.split("/")[1:]
        old, known = "", 0
        for number, part in enumerate(parts, 1):
            thing = thing.below.get(part)
            if thing is None:
                break
            if thing.old is not None:
                old, known = thing.old, number
        return Way(thing, "/".join((old, *parts[known:])))

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
            self._put(paths[1], Thing(self.old(paths[0])))
        elif call in REMOVALS or call in SYMLINKS:
            for path in paths:
                self._put(path, self._something_new())

    def thing_at(self, path: str) -> Thing:
        """What is at ``path`` now, whose name can be asked for later."""
        thing = self._root
        for each in path.split("/")[1:]:
            if each not in thing.below:
                thing.put(each, Thing())
            thing = thing.below[each]
        return thing

    def _rename(self, one: str, other: str, exchange: bool) -> None:
        if self._inode(self.old(one)) == self._inode(self.old(other)):
            return  # two names of one file: the kernel leaves both
        moved = self._take(one)
        self._put(one, self._take(other) if exchange else self._something_new())
        self._put(other, moved)

    def _something_new(self) -> Thing:
        self._new += 1
        return Thing(f"\0{self._new}")

    def _take(self, path: str) -> Thing:
        """What is at ``path``, and knows its old name."""
        old = self.old(path)
        thing = self.thing_at(path)
        thing.old = old
        return thing

    def _put(self, path: str, thing: Thing) -> None:
        folder, _, name = path.rpartition("/")
        self.thing_at(folder).put(name, thing)
