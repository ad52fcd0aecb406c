"""What a world's files are like at one moment, and what differs between two moments.

A tree is a mapping from absolute path to :class:`Node`. Times are left out on purpose: they
differ between two runs of the same episode. Names that are not UTF-8 carry surrogate escapes.
"""

from __future__ import annotations

import hashlib
import posixpath
import struct
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

ACCESS_ACL = "system.posix_acl_access"
DEFAULT_ACL = "system.posix_acl_default"
KEPT_CONTENT_BYTES = 1 << 20
"""Regular files up to this size are kept whole in their node, longer ones as digest only."""

NODE_KINDS = ("file", "directory", "symlink", "fifo", "socket", "device", "unread")

MAX_LINKS = 40
"""Symbolic links followed in one path, as in the kernel."""

_ACL_VERSION = 2
_TAGS = {"u": 0x01, "g": 0x04, "m": 0x10, "o": 0x20}
_NAMED_USER, _NAMED_GROUP = 0x02, 0x08
_LETTERS = {number: tag for tag, number in _TAGS.items()} | {_NAMED_USER: "u", _NAMED_GROUP: "g"}
_NO_ID = 0xFFFFFFFF


class AclEntry(NamedTuple):
    """One entry of an access control list.

    Attributes:
        tag: ``"u"`` owner or named user, ``"g"`` owning or named group, ``"m"`` mask, ``"o"`` others.
        id: The named user's or group's number, else None.
        bits: Permission bits, 0 to 7.
    """

    tag: str
    id: int | None
    bits: int


class Node(NamedTuple):
    """One name in a tree.

    Attributes:
        kind: ``"file"``, ``"directory"``, ``"symlink"``, ``"fifo"``, ``"socket"``, ``"device"``, or
            ``"unread"`` where the world was too deep to look further.
        mode: Permission bits with set-id and sticky bits, 0 to 0o7777.
        uid: Owner's number inside the sandbox.
        gid: Group's number inside the sandbox.
        size: Bytes of a regular file, else 0.
        digest: SHA-256 of a regular file's content in hexadecimal; ``""`` for anything else, and for
            files whose holes make them longer together than twice the disk.
        target: Of a symbolic link, as written; else ``""``.
        content: A regular file's bytes if there are at most :data:`KEPT_CONTENT_BYTES`.
        xattrs: Names and values of extended attributes, ACLs among them, by name.
        inode: Number that hard links share; means nothing in another tree of another run.
        links: Names that share the inode; 1 for a directory.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    size: int = 0
    digest: str = ""
    target: str = ""
    content: bytes | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()
    inode: int = 0
    links: int = 1

    @property
    def acl(self) -> tuple[AclEntry, ...]:
        """The access ACL, empty where the mode says all."""
        return decode_acl(dict(self.xattrs).get(ACCESS_ACL, b"")) if self.xattrs else ()

    @property
    def rights(self) -> tuple[object, ...]:
        """All that says who may do what with it."""
        return self.kind, self.mode, self.uid, self.gid, self.acl

    @property
    def default_acl(self) -> tuple[AclEntry, ...]:
        """The ACL that new files in a directory inherit."""
        return decode_acl(dict(self.xattrs).get(DEFAULT_ACL, b"")) if self.xattrs else ()


Tree = Mapping[str, Node]


class Change(NamedTuple):
    """How one path differs between two trees.

    Attributes:
        path: Absolute.
        before: None if it was created.
        after: None if it was removed.
        aspects: What differs: ``"created"``, ``"removed"``, or some of ``"kind"``, ``"content"``,
            ``"mode"``, ``"owner"``, ``"group"``, ``"acl"``, ``"xattrs"``, ``"target"``,
            ``"identity"`` (another inode behind the name) and ``"links"``.
    """

    path: str
    before: Node | None
    after: Node | None
    aspects: frozenset[str]


def tree_changes(before: Tree, after: Tree) -> tuple[Change, ...]:
    """Every path that differs, sorted."""
    if before is after:
        return ()
    changes = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is new:
            continue
        aspects = _aspects(old, new)
        if aspects:
            changes.append(Change(path, old, new, aspects))
    return tuple(changes)


def tree_digest(tree: Tree) -> str:
    """SHA-256 in hexadecimal over all but inode numbers: equal for equal worlds of different runs.

    Hard links count as the group of paths that share a file.
    """
    groups: dict[int, str] = {}
    total = hashlib.sha256()
    for path in sorted(tree):
        node = tree[path]
        first = groups.setdefault(node.inode, path) if node.links > 1 else path
        total.update(repr((path, first, node._replace(content=None, inode=0))).encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def follow_links(tree: Tree, path: str) -> str:
    """Absolute path without symbolic links and dots; what does not exist is kept as written.

    Raises:
        ValueError: ``path`` is relative.
    """
    if not path.startswith("/"):
        raise ValueError(f"path is {path!r}, expected an absolute one")
    parts = [part for part in path.split("/") if part not in ("", ".")][::-1]
    here, links = "/", 0
    while parts:
        part = parts.pop()
        if part == "..":
            here = posixpath.dirname(here)
            continue
        name = posixpath.join(here, part)
        node = tree.get(name)
        if node is not None and node.kind == "symlink" and links < MAX_LINKS:
            links += 1
            here = "/" if node.target.startswith("/") else here
            parts += [each for each in node.target.split("/") if each not in ("", ".")][::-1]
        else:
            here = name
    return here


def encode_acl(entries: Iterable[AclEntry]) -> bytes:
    """The kernel's form of an ACL, for :data:`ACCESS_ACL` and :data:`DEFAULT_ACL`."""
    named = {"u": _NAMED_USER, "g": _NAMED_GROUP}
    rows = sorted(
        (named[entry.tag] if entry.id is not None else _TAGS[entry.tag], _NO_ID if entry.id is None else entry.id, bits)
        for entry in entries
        for bits in (entry.bits,)
    )
    return struct.pack("<I", _ACL_VERSION) + b"".join(struct.pack("<HHI", tag, bits, who) for tag, who, bits in rows)


def decode_acl(value: bytes) -> tuple[AclEntry, ...]:
    """Inverse of :func:`encode_acl`; empty for no bytes."""
    return tuple(
        AclEntry(_LETTERS[tag], who if tag in (_NAMED_USER, _NAMED_GROUP) else None, bits)
        for tag, bits, who in struct.iter_unpack("<HHI", value[4:])
    )


def to_json(node: Node | None) -> list[Any] | None:
    """A node in plain JSON types, without its inode number."""
    if node is None:
        return None
    content = None if node.content is None else node.content.decode("latin-1")
    return [*node[:7], content, [[name, value.hex()] for name, value in node.xattrs], node.links]


def from_json(plain: Any) -> Node | None:
    """Inverse of :func:`to_json`.

    Raises:
        ValueError: It is none of its making.
    """
    if plain is None:
        return None
    try:
        kind, mode, uid, gid, size, digest, target, content, xattrs, links = plain
        data = None if content is None else content.encode("latin-1")
        attributes = tuple((name, bytes.fromhex(each)) for name, each in xattrs)
        node = Node(kind, mode, uid, gid, size, digest, target, data, attributes, 0, links)
        plain_entries = [{each.tag for each in acl if each.id is None} for acl in (node.acl, node.default_acl) if acl]
        numbers = all(type(each) is int and each >= 0 for each in (mode, uid, gid, size, links))
        texts = all(isinstance(each, str) for each in (digest, target, *(name for name, _ in attributes)))
    except (TypeError, AttributeError, KeyError, ValueError, struct.error) as error:
        raise ValueError(f"not a file: {type(error).__name__}: {error}") from error
    if not (
        numbers
        and texts
        and kind in NODE_KINDS
        and mode <= 0o7777
        and all({"u", "g", "o"} <= each for each in plain_entries)
    ):
        raise ValueError(f"{plain} is no file; expected kind, mode, numbers, and lists of owner, group and others")
    return node


def with_mode(node: Node, mode: int) -> Node:
    """``node`` as chmod to ``mode`` leaves it: beside an ACL the group's bits are its mask."""
    if not node.acl:
        return node._replace(mode=mode)
    # chmod's three classes are the owner's entry, the mask (without one the group's) and the others'.
    group = "m" if any(entry.tag == "m" for entry in node.acl) else "g"
    shifts = {"u": 6, group: 3, "o": 0}
    entries = [
        entry._replace(bits=mode >> shifts[entry.tag] & 7) if entry.id is None and entry.tag in shifts else entry
        for entry in node.acl
    ]
    xattrs = dict(node.xattrs) | {ACCESS_ACL: encode_acl(entries)}
    return node._replace(mode=mode, xattrs=tuple(sorted(xattrs.items())))


def with_acl(node: Node, value: bytes) -> Node:
    """``node`` as an access ACL in the kernel's form leaves it; one of three entries is the mode itself.

    An empty value takes the list away.
    """
    if not value:
        return node._replace(xattrs=tuple(each for each in node.xattrs if each[0] != ACCESS_ACL))
    bits = {entry.tag: entry.bits for entry in decode_acl(value) if entry.id is None}
    group = bits.get("m", bits.get("g", 0))
    mode = node.mode & 0o7000 | bits.get("u", 0) << 6 | group << 3 | bits.get("o", 0)
    xattrs = {name: each for name, each in node.xattrs if name != ACCESS_ACL}
    if "m" in bits:
        xattrs[ACCESS_ACL] = value
    return node._replace(mode=mode, xattrs=tuple(sorted(xattrs.items())))


def _aspects(old: Node | None, new: Node | None) -> frozenset[str]:
    if old is None or new is None:
        return frozenset({"created" if old is None else "removed"})
    pairs = {
        "kind": (old.kind, new.kind),
        "content": ((old.digest, old.size), (new.digest, new.size)),
        "mode": (old.mode, new.mode),
        "owner": (old.uid, new.uid),
        "group": (old.gid, new.gid),
        "acl": ((old.acl, old.default_acl), (new.acl, new.default_acl)),
        "xattrs": (_plain_xattrs(old), _plain_xattrs(new)),
        "target": (old.target, new.target),
        "identity": (old.inode, new.inode),
        "links": (old.links, new.links),
    }
    return frozenset(name for name, (one, other) in pairs.items() if one != other)


def _plain_xattrs(node: Node) -> tuple[tuple[str, bytes], ...]:
    return tuple(each for each in node.xattrs if each[0] not in (ACCESS_ACL, DEFAULT_ACL))
