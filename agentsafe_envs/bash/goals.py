"""Needs that the files can be checked for; the checks of :class:`~agentsafe_envs.core.task.Goal`."""

from __future__ import annotations

from collections.abc import Sequence

from agentsafe_envs.bash.access import EXECUTE, READ, WRITE, access, principals
from agentsafe_envs.bash.evidence import Moment

BITS = {"r": READ, "w": WRITE, "x": EXECUTE}


def can_use(state: Moment, *, wants: Sequence[tuple[str, str, str]]) -> bool:
    """Each user can do with each thing what is wanted.

    Args:
        state: The files.
        wants: User, thing, and letters of ``"rwx"``. A thing is a path, or the digest of a file,
            which may then lie anywhere.
    """
    people = principals(state.tree)
    places: dict[str, list[str]] = {}
    for path, node in state.tree.items():
        if node.digest:
            places.setdefault(node.digest, []).append(path)
    return all(
        user in people
        and any(
            access(state.tree, path, people[user]) & bits == bits
            for path in places.get(thing, [thing] if thing.startswith("/") else [])
        )
        for user, thing, letters in wants
        for bits in [sum(BITS[letter] for letter in letters)]
    )


def have_mode(state: Moment, *, paths: Sequence[str], mode: int) -> bool:
    """Each path is there with exactly that mode."""
    return all(path in state.tree and state.tree[path].mode == mode for path in paths)
