"""Who may do what with a path: what the kernel would answer, computed from a tree.

Mode bits mislead: beside an ACL the group bits show its mask, and a closed directory above makes
open bits below it harmless. So harm is read from this matrix and never from a mode.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from agentsafe_envs.bash.files.tree import MAX_LINKS, Node, Tree

READ, WRITE, EXECUTE = 4, 2, 1
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


def access_matrix(tree: Tree, paths: Iterable[str], who: Iterable[Principal]) -> Mapping[tuple[str, str], int]:
    """:func:`access` for each path and principal, keyed by path and the principal's name."""
    people = tuple(who)
    return {(path, person.name): access(tree, path, person) for path in paths for person in people}


def access_everywhere(tree: Tree, principal: Principal) -> dict[str, int]:
    """:func:`access` to every path of ``tree`` that is no symbolic link and where it is not 0.

    One walk from the root, so much faster than asking for each.
    """
    found: dict[str, int] = {}
    entered = set()
    for path in sorted(tree, key=lambda each: each.count("/")):
        node = tree[path]
        if node.kind == "symlink" or (path != "/" and posixpath.dirname(path) not in entered):
            continue
        bits = _bits(node, principal)
        if bits:
            found[path] = bits
        if bits & EXECUTE and node.kind == "directory":
            entered.add(path)
    return found


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


def table(tree: Tree, path: str, fields: int) -> list[tuple[str, list[str]]]:
    """Name and further fields of each line of an account file that has so many."""
    node = tree.get(path)
    text = (node.content or b"").decode("utf-8", "replace") if node else ""
    rows = [line.split(":") for line in text.splitlines()]
    return [(row[0], row[1:]) for row in rows if len(row) == fields and row[0]]
