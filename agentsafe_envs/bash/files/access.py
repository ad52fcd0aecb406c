"""Who may do what with a path: what the kernel would answer, computed from a tree.

Mode bits mislead: beside an ACL the group bits show its mask, and a closed directory above makes
open bits below it harmless. So harm is read from this matrix and never from a mode.
"""

from __future__ import annotations

import posixpath
from typing import NamedTuple

from agentsafe_envs.bash.files.accounts import table
from agentsafe_envs.bash.files.tree import MAX_LINKS, Node, Tree

READ, WRITE, EXECUTE = 4, 2, 1

RUN_AS = 8
"""Bit of the right to run a program as its owner or group."""

STRANGER_ID = 65_533


class Principal(NamedTuple):
    """Somebody who may ask for access.

    Attributes:
        name: For the reader.
        uid: User number; 0 is let through everything, as root with CAP_DAC_OVERRIDE is.
        gid: Primary group.
        groups: Supplementary groups.
    """

    name: str
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


STRANGER = Principal("stranger", STRANGER_ID, STRANGER_ID)
"""A user without any membership: what he may do, everybody may."""


def principals(tree: Tree) -> dict[str, Principal]:
    """Every user of the world's /etc/passwd with the groups of its /etc/group, by name.

    Lines that are no account are passed over, as the C library does.
    """
    members: dict[str, set[int]] = {}
    for _, fields in table(tree, "/etc/group", 4):
        if not fields[1].isdecimal():
            continue
        for member in fields[2].split(","):
            members.setdefault(member, set()).add(int(fields[1]))
    return {
        name: Principal(name, int(fields[1]), int(fields[2]), frozenset(members.get(name, ())))
        for name, fields in reversed(table(tree, "/etc/passwd", 7))
        if fields[1].isdecimal() and fields[2].isdecimal()
    }


def access(tree: Tree, path: str, principal: Principal) -> int:
    """What ``principal`` may do with ``path``, links followed, as bits of READ, WRITE and EXECUTE.

    0 where the path does not exist or cannot be reached. On a directory EXECUTE is entering it
    and WRITE without EXECUTE is of no use; the sticky bit is not looked at.

    Raises:
        ValueError: ``path`` is relative.
    """
    if not path.startswith("/"):
        raise ValueError(f"path is {path!r}, expected an absolute one")
    parts = [part for part in path.split("/") if part][::-1]
    here, links = "/", 0
    while parts:
        if not _bits(tree.get(here), principal) & EXECUTE:
            return 0
        part = parts.pop()
        name = here if part == "." else posixpath.dirname(here) if part == ".." else posixpath.join(here, part)
        node = tree.get(name)
        if node is None or (parts and node.kind not in ("directory", "symlink")):
            return 0
        if node.kind != "symlink":
            here = name
            continue
        links += 1
        if links > MAX_LINKS:
            return 0
        here = "/" if node.target.startswith("/") else here
        parts += [each for each in node.target.split("/") if each][::-1]
    return _bits(tree.get(here), principal)


class Reach:
    """What one principal may do in one tree; folders that were asked for are remembered.

    Args:
        tree: The files.
        principal: Who asks.
    """

    def __init__(self, tree: Tree, principal: Principal) -> None:
        self._tree = tree
        self._who = principal
        self._entered: dict[str, bool] = {}

    def bits(self, path: str) -> int:
        """The same as :func:`access` for a path that leads through no link and is none; 0 for others."""
        node = self._tree.get(path)
        if node is None or node.kind == "symlink" or not (path == "/" or self._enters(path.rpartition("/")[0] or "/")):
            return 0
        return _bits(node, self._who)

    def rights(self, path: str) -> int:
        """READ, WRITE and RUN_AS, as far as they are of use.

        To enter a folder, or to execute what one can read, is no right by itself. Nor is it to run a program
        with a number that one has: that of one's own group.
        """
        bits = self.bits(path)
        node = self._tree[path] if bits else None
        if node is None:
            return 0
        rights = bits & READ
        if bits & WRITE and (node.kind != "directory" or bits & EXECUTE):
            rights |= WRITE
        others = (node.mode & 0o4000 and node.uid != self._who.uid) or (
            node.mode & 0o2000 and node.gid not in self._who.groups | {self._who.gid}
        )
        return rights | (RUN_AS if others and bits & EXECUTE and node.kind == "file" else 0)

    def _enters(self, folder: str) -> bool:
        known = self._entered.get(folder)
        if known is None:
            node = self._tree.get(folder)
            known = node is not None and node.kind == "directory" and bool(self.bits(folder) & EXECUTE)
            self._entered[folder] = known
        return known


def shown(bits: int) -> str:
    """``"rw-"`` for READ and WRITE, and so on."""
    return "".join(letter if bits & bit else "-" for letter, bit in (("r", READ), ("w", WRITE), ("x", EXECUTE)))


def _bits(node: Node | None, who: Principal) -> int:
    if node is None:
        return 0
    if who.uid == 0:
        anybody = node.kind == "directory" or node.mode & 0o111
        return READ | WRITE | (EXECUTE if anybody else 0)
    groups = who.groups | {who.gid}
    if node.acl and node.mode & 0o070:  # with an empty mask Linux does not look at the list at all
        return _acl_bits(node, who.uid, groups)
    shift = 6 if who.uid == node.uid else 3 if node.gid in groups else 0
    return node.mode >> shift & 7


def _acl_bits(node: Node, uid: int, groups: frozenset[int]) -> int:
    """The rule of acl(5): owner, named users, then any group that grants, then others."""
    entries = node.acl
    mask = next((entry.bits for entry in entries if entry.tag == "m"), 7)
    if uid == node.uid:
        return next(entry.bits for entry in entries if entry.tag == "u" and entry.id is None)
    for entry in entries:
        if entry.tag == "u" and entry.id == uid:
            return entry.bits & mask
    of_groups = [
        entry.bits for entry in entries if entry.tag == "g" and (node.gid if entry.id is None else entry.id) in groups
    ]
    if of_groups:
        union = 0
        for bits in of_groups:
            union |= bits
        return union & mask
    return next(entry.bits for entry in entries if entry.tag == "o")
