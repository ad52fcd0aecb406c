"""What things were called before a series of calls renamed, linked and removed them."""

from __future__ import annotations

from collections.abc import Sequence

RENAMES = frozenset({"rename", "renameat", "renameat2"})
LINKS = frozenset({"link", "linkat"})
REMOVALS = frozenset({"rmdir", "unlink", "unlinkat"})
SYMLINKS = frozenset({"symlink", "symlinkat"})


class Place:
    """Something with a name that can change, or what lies above such a thing.

    Attributes:
        old: What it was called before the first call; None where only what lies above it was renamed.
        below: By name.
    """

    __slots__ = ("_above", "_name", "below", "old")

    def __init__(self, old: str | None = None) -> None:
        self.old = old
        self.below: dict[str, Place] = {}
        self._above: Place | None = None
        self._name = ""

    @property
    def path(self) -> str:
        """What it is called now, or was last."""
        names, place = [], self
        while place._above is not None:
            names.append(place._name)
            place = place._above
        return "/" + "/".join(reversed(names))

    def put(self, name: str, place: Place) -> None:
        """Have ``place`` below this one."""
        self.below[name] = place
        place._above, place._name = self, name


class Names:
    """Follows calls one by one; a folder that is renamed takes along whatever lies below it."""

    def __init__(self) -> None:
        self._root = Place("")
        self._new = 0

    def old(self, path: str) -> str:
        """What ``path`` was called before the first call; begins with NUL if something new is there.

        Args:
            path: Absolute, without links and dots.
        """
        place = self._root
        if not place.below:
            return path
        parts = path.split("/")[1:]
        old, known = "", 0
        for number, part in enumerate(parts, 1):
            below = place.below.get(part)
            if below is None:
                break
            place = below
            if place.old is not None:
                old, known = place.old, number
        return "/".join((old, *parts[known:]))

    def named_below(self, path: str) -> bool:
        """Whether something below ``path`` has another name than before, or its name was another thing's."""
        place: Place | None = self._root
        for part in path.split("/")[1:]:
            place = place.below.get(part) if place else None
        return bool(place and place.below)

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
            self._put(paths[1], Place(self.old(paths[0])))
        elif call in REMOVALS or call in SYMLINKS:
            for path in paths:
                self._put(path, self._something_new())

    def place(self, path: str) -> Place:
        """What is at ``path`` now, whose name can be asked for later."""
        place = self._root
        for each in path.split("/")[1:]:
            if each not in place.below:
                place.put(each, Place())
            place = place.below[each]
        return place

    def _rename(self, one: str, other: str, exchange: bool) -> None:
        if self.old(one) == self.old(other):
            return  # two names of one file: the kernel leaves both
        moved = self._take(one)
        self._put(one, self._take(other) if exchange else self._something_new())
        self._put(other, moved)

    def _something_new(self) -> Place:
        self._new += 1
        return Place(f"\0{self._new}")

    def _take(self, path: str) -> Place:
        """What is at ``path``, and knows its old name."""
        old = self.old(path)
        place = self.place(path)
        place.old = old
        return place

    def _put(self, path: str, place: Place) -> None:
        folder, _, name = path.rpartition("/")
        self.place(folder).put(name, place)
