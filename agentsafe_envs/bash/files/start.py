"""What a world is like before anything happens in it: accounts and files, as plain values.

Try it::

    start = Start(
        users=(UnixUser("www-data", 33, 33, home="/var/www"),),
        groups=(Group("www-data", 33),),
        entries=(directory("/srv/site", 0o755, uid=33, gid=33), file("/srv/site/index.html", "hello")),
    )
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from agentsafe_envs.bash.files.accounts import SYSTEM_GROUPS, SYSTEM_USERS, UnixGroup, UnixUser, kept_content
from agentsafe_envs.bash.files.tree import ACCESS_ACL, DEFAULT_ACL, KEPT_CONTENT_BYTES, AclEntry, Node, Tree, encode_acl

CLOCK_S = 1_736_154_000
"""Modification time of everything at the start, in seconds since 1970: 2025-01-06 09:00 UTC."""

MAX_ID = 65_533
"""Largest user or group number that a sandbox knows; 65534 stands for "nobody here"."""


class Entry(NamedTuple):
    """One name to create.

    Attributes:
        kind: ``"directory"``, ``"file"``, ``"symlink"`` or ``"link"`` (a hard link).
        path: Absolute; the directory it lies in comes earlier or is one that every world has.
        mode: 0 to 0o7777; means nothing for links.
        uid: Owner.
        gid: Group.
        data: Content of a file, target of a link.
        xattrs: Names and values of extended attributes.
    """

    kind: str
    path: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    data: bytes = b""
    xattrs: tuple[tuple[str, bytes], ...] = ()

    def node(self) -> Node:
        """What it is in a tree; a hard link is what it points to instead.

        Raises:
            ValueError: It is a hard link.
        """
        if self.kind == "link":
            raise ValueError(f"{self.path} is a hard link; look at what it points to")
        plain = Node(self.kind, self.mode, self.uid, self.gid, xattrs=self.xattrs)
        if self.kind == "symlink":
            return plain._replace(target=self.data.decode("utf-8", "surrogateescape"))
        if self.kind == "file":
            kept = self.data if len(self.data) <= KEPT_CONTENT_BYTES else None
            return plain._replace(size=len(self.data), digest=hashlib.sha256(self.data).hexdigest(), content=kept)
        return plain


def _acls(acl: Iterable[AclEntry], default_acl: Iterable[AclEntry]) -> tuple[tuple[str, bytes], ...]:
    named = ((ACCESS_ACL, tuple(acl)), (DEFAULT_ACL, tuple(default_acl)))
    return tuple((name, encode_acl(entries)) for name, entries in named if entries)


def directory(
    path: str,
    mode: int = 0o755,
    *,
    uid: int = 0,
    gid: int = 0,
    acl: Iterable[AclEntry] = (),
    default_acl: Iterable[AclEntry] = (),
) -> Entry:
    """A directory."""
    return Entry("directory", path, mode, uid, gid, b"", _acls(acl, default_acl))


def file(
    path: str,
    content: str | bytes = b"",
    mode: int = 0o644,
    *,
    uid: int = 0,
    gid: int = 0,
    acl: Iterable[AclEntry] = (),
) -> Entry:
    """A regular file."""
    data = content.encode() if isinstance(content, str) else content
    return Entry("file", path, mode, uid, gid, data, _acls(acl, ()))


def symlink(path: str, target: str, *, uid: int = 0, gid: int = 0) -> Entry:
    """A symbolic link, which may dangle."""
    return Entry("symlink", path, 0o777, uid, gid, target.encode())


def hard_link(path: str, target: str) -> Entry:
    """Another name of a file that an earlier entry creates."""
    return Entry("link", path, data=target.encode())


SYSTEM_DIRECTORIES = (
    *(directory(path) for path in ("/dev", "/etc", "/home", "/media", "/mnt", "/opt", "/proc", "/run", "/srv")),
    *(directory(path) for path in ("/etc/alternatives", "/etc/cron.d", "/etc/default", "/etc/ld.so.conf.d")),
    *(directory(path) for path in ("/etc/skel", "/etc/ssl", "/usr", "/usr/local", "/var")),
    *(directory(f"/usr/local/{name}") for name in ("bin", "etc", "lib", "sbin", "share")),
    *(directory(f"/var/{name}") for name in ("backups", "cache", "lib", "log", "spool")),
    directory("/root", 0o700),
    directory("/dev/shm", 0o1777),
    directory("/tmp", 0o1777),
    directory("/var/tmp", 0o1777),
    directory("/run/lock", 0o1777),
    directory("/var/mail", 0o2775, gid=8),
    *(symlink(f"/{name}", f"usr/{name}") for name in ("bin", "lib", "lib64", "sbin")),
    symlink("/var/run", "/run"),
    symlink("/var/lock", "/run/lock"),
)


@dataclass(frozen=True, slots=True)
class Start:
    """A start state; equal values give equal worlds.

    Attributes:
        users: Beside :data:`SYSTEM_USERS`.
        groups: Beside :data:`SYSTEM_GROUPS`.
        entries: Files beside :data:`SYSTEM_DIRECTORIES` and /etc/passwd, group, shadow, gshadow.
        working_directory: Where the shell starts.
        variables: The shell's environment beside the sandbox's own.

    Raises:
        ValueError: A number that the sandbox does not know, an entry that is not absolute and plain, or
            one whose directory does not come first.
    """

    users: tuple[UnixUser, ...] = ()
    groups: tuple[UnixGroup, ...] = ()
    entries: tuple[Entry, ...] = ()
    working_directory: str = "/root"
    variables: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        directories = {"/"} | {entry.path for entry in SYSTEM_DIRECTORIES if entry.kind == "directory"}
        for entry in self.entries:
            if not entry.path.startswith("/") or posixpath.normpath(entry.path) != entry.path:
                raise ValueError(f"entry path is {entry.path!r}, expected an absolute one without dots")
            if posixpath.dirname(entry.path) not in directories:
                raise ValueError(f"{entry.path} comes before the directory it lies in; list that directory first")
            if max(entry.uid, entry.gid) > MAX_ID:
                raise ValueError(f"{entry.path} belongs to {entry.uid}:{entry.gid}, expected at most {MAX_ID}")
            if entry.kind == "directory":
                directories.add(entry.path)

    @property
    def all_entries(self) -> tuple[Entry, ...]:
        """Everything to create, directories before what lies in them; own entries replace the system's."""
        users, groups = (*SYSTEM_USERS, *self.users), (*SYSTEM_GROUPS, *self.groups)
        passwd = "".join(f"{u.name}:x:{u.uid}:{u.gid}::{u.home}:{u.shell}\n" for u in users)
        group = "".join(f"{g.name}:x:{g.gid}:{','.join(g.members)}\n" for g in groups)
        shadow = "".join(f"{u.name}:*:20000:0:99999:7:::\n" for u in users)
        gshadow = "".join(f"{g.name}:*::{','.join(g.members)}\n" for g in groups)
        system = (
            *SYSTEM_DIRECTORIES,
            file("/etc/passwd", passwd),
            file("/etc/group", group),
            file("/etc/shadow", shadow, 0o640, gid=42),
            file("/etc/gshadow", gshadow, 0o640, gid=42),
            file("/etc/hostname", "host\n"),
            file("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\thost\n"),
        )
        # A dict keeps the place of what it replaces, so a directory still comes before its files.
        return tuple({entry.path: entry for entry in (*system, *self.entries)}.values())

    @property
    def digest(self) -> str:
        """SHA-256 in hexadecimal of everything that the start state fixes."""
        return hashlib.sha256(repr((self.all_entries, self.working_directory, self.variables)).encode()).hexdigest()


def start_tree(start: Start) -> Tree:
    """Files of a world at its start, but for what it takes over from the system at /usr."""
    tree: dict[str, Node] = {"/": Node("directory", 0o755, 0, 0)}
    names: dict[str, list[str]] = {}
    for entry in start.all_entries:
        if entry.kind == "link":
            target = entry.data.decode("utf-8", "surrogateescape")
            tree[entry.path] = tree[target]
            names.setdefault(target, [target]).append(entry.path)
        else:
            tree[entry.path] = kept_node(entry.path, entry.node())
    for paths in names.values():
        tree.update({path: tree[path]._replace(links=len(paths)) for path in paths})
    return tree


def kept_node(path: str, node: Node) -> Node:
    """``node`` as an episode keeps it: without inode number, with its content only where access depends on that."""
    return node._replace(inode=0, content=node.content if kept_content(path) else None)
