"""Symbolic links, working directories and programs as they are between two calls.

What a path leads to depends on the links that there are when it is used. So paths are kept as they
were written until all calls before are known, and followed in the order of calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentsafe_envs.bash.calls import SYMLINKS, SystemCall
from agentsafe_envs.bash.names import Names, Thing, Way
from agentsafe_envs.bash.tree import Node, Tree, resolve


@dataclass(slots=True)
class Place:
    """What somebody entered or ran; links on the way are followed once all calls before are known."""

    path: str


class Links:
    """Symbolic links as they are between two calls.

    Args:
        tree: Files before the first call.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._names = Names()
        self._made: dict[str, Node] = {}
        self._entered: dict[int, tuple[Place, Thing]] = {}
        self._walked: dict[str, Way] = {}

    def enter(self, place: Place) -> None:
        """Know where ``place`` is from now on, whatever it comes to be called."""
        self._entered[id(place)] = place, self._names.thing_at(place.path)

    def leave(self) -> None:
        """Let every place that was entered know what it is called in the end."""
        for place, named in self._entered.values():
            place.path = named.path

    def get(self, path: str) -> Node | None:
        """The link at ``path``, or whatever is there."""
        folder, _, name = path.rpartition("/")
        above = self._walked.get(folder)
        self._walked[path] = way = self._names.walk(path) if above is None else above.below(name)
        return self._made.get(way.old) or self._tree.get(way.old)

    def resolved(self, call: SystemCall, bases: Sequence[Place | None]) -> SystemCall:
        """``call`` with the links in its paths followed; what it does to links is taken in.

        Args:
            call: Its paths may be relative.
            bases: For each path the entered place that it is relative to, None where it is absolute.
        """
        starts = ["" if base is None else self._entered[id(base)][1].path for base in bases]
        places = zip(call.paths, starts, strict=True)
        self._walked = {}
        paths = tuple(resolve(self, path, follow=call.follows_last_link, base=start) for path, start in places)
        if not call.error:
            self._names.follow(call.name, paths, call.arguments)
            if call.name in SYMLINKS and paths:
                self._made[self._names.old(paths[0])] = Node("symlink", 0o777, 0, 0, target=call.arguments[0])
        return call._replace(paths=paths)
