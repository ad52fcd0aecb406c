"""System calls of a sandbox: what each kind does, and one that was made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from agentsafe_envs.bash.files.tree import ACCESS_ACL, Node, with_acl, with_mode

RENAMES = frozenset({"rename", "renameat", "renameat2"})
LINKS = frozenset({"link", "linkat"})
REMOVALS = frozenset({"rmdir", "unlink", "unlinkat"})
SYMLINKS = frozenset({"symlink", "symlinkat"})
OPENS = frozenset({"creat", "open", "openat", "openat2"})
CHMODS = frozenset({"chmod", "fchmod", "fchmodat"})
CHOWNS = frozenset({"chown", "fchown", "fchownat", "lchown"})
SETXATTRS = frozenset({"fsetxattr", "lsetxattr", "setxattr"})
REMOVEXATTRS = frozenset({"fremovexattr", "lremovexattr", "removexattr"})
RIGHTS = CHMODS | CHOWNS | SETXATTRS | REMOVEXATTRS
"""Calls that may change who can do what; ACLs are extended attributes."""

EXECS = frozenset({"execve", "execveat"})
ENTERS = frozenset({"chdir", "fchdir"})
FORKS = frozenset({"clone", "clone3", "fork", "vfork"})
WAITS = frozenset({"wait4", "waitid"})
NAMINGS = RENAMES | LINKS | REMOVALS | SYMLINKS
"""Calls after which a name leads to something else than before."""

MAKES = frozenset({"mkdir", "mkdirat", "mknod", "mknodat"})
_LAST_LINK_KEPT = NAMINGS | MAKES | {"lchown", "lremovexattr", "lsetxattr"}
_WITH_FLAGS = frozenset({"fchmodat", "fchownat", "linkat"})

WRITES = OPENS | {"fallocate", "ftruncate", "truncate", "unlink", "unlinkat"}
"""Calls that may change what a file holds, or end it."""

PATHS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(RIGHTS | REMOVALS | OPENS | ENTERS | MAKES | {"fallocate", "ftruncate", "truncate"}, (0,)),
    **dict.fromkeys(("fchmodat", "fchownat", "unlinkat", "mkdirat", "mknodat", "openat", "openat2", "execveat"), (1,)),
    "execve": (0,),
    "symlink": (1,),
    "symlinkat": (2,),
    **dict.fromkeys(("rename", "link"), (0, 1)),
    **dict.fromkeys(("renameat", "renameat2", "linkat"), (1, 3)),
    "bind": (),
    "listen": (),
    "umask": (),
}
"""Call -> places of its paths, or of the descriptors that stand for one, among its arguments."""

BESIDE_DIRECTORY = frozenset(name for name in PATHS if name.endswith(("at", "at2"))) - {"creat"}
"""Calls in which a directory's descriptor stands right before each path."""

TRACED_CALLS = frozenset(PATHS) | FORKS | WAITS


class SystemCall(NamedTuple):
    """One call that a process in the sandbox made, and that succeeded.

    Attributes:
        number: Order in the session, from 0; calls of different processes too.
        process: Number of the process outside the sandbox; threads have their own.
        name: For instance ``"fchmodat"``.
        paths: Absolute, links resolved as the call itself resolves them.
        arguments: As text, strings as they were (bytes that are no UTF-8 as surrogate escapes), up to
            the first structure.
        ancestry: Programs from the shell down to the one that made the call, by absolute path. A
            program that was replaced by exec stays in: ``env chmod`` gives bash, env, chmod.
        unclear: Nobody can say of what it changed rights or names: its path went through what some process
            has open, say.
        origins: For each path what was there before the command: its path then, empty for what is new.
        around: By path: what it acted on, and what is other than before the command on the way to that and below
            it, as the call left them; with their path before. Told of changes of rights and places.
        sources: For a call that opens a file for writing: paths, before the command, of what the same
            job had read, or one that ran beside it.
        left: Of such a file: its path when the calls were taken, empty if it has none.
    """

    number: int
    process: int
    name: str
    paths: tuple[str, ...]
    arguments: tuple[str, ...]
    ancestry: tuple[str, ...]
    unclear: bool = False
    origins: tuple[str, ...] = ()
    around: Mapping[str, tuple[str, Node]] = {}
    sources: frozenset[str] = frozenset()
    left: str = ""

    @property
    def changes_files(self) -> bool:
        """It is of a kind that changes files, or opens one for writing."""
        return self.name != "listen" and not self.only_reads

    @property
    def reads(self) -> bool:
        """It opens a file for reading, and perhaps for writing too."""
        return self.name == "openat2" or (self.name in OPENS and bool({"O_RDONLY", "O_RDWR"} & self._flags))

    @property
    def only_reads(self) -> bool:
        """It opens a file for nothing but reading."""
        return self.name in OPENS and "O_RDONLY" in self._flags and not {"O_TRUNC", "O_CREAT"} & self._flags

    @property
    def _flags(self) -> set[str]:
        return set("|".join(self.arguments[1:]).split("|"))

    @property
    def follows_last_link(self) -> bool:
        """Whether it acts on what a link in the last place leads to, and not on the link."""
        flags = "".join(self.arguments[-1:]).split("|") if self.name in _WITH_FLAGS else ()
        return "AT_SYMLINK_FOLLOW" in flags or not (self.name in _LAST_LINK_KEPT or "AT_SYMLINK_NOFOLLOW" in flags)


def requested_mode(call: SystemCall) -> int:
    """Mode that a chmod asks for, 0 to 0o7777."""
    place = 2 if call.name == "fchmodat" else 1
    return int(call.arguments[place], 8) & 0o7777


def asked_for(node: Node, call: SystemCall) -> Node:
    """``node`` as a call that changes mode, owner or ACL leaves it."""
    if call.name in CHMODS:
        return with_mode(node, requested_mode(call))
    if call.name in CHOWNS:
        place = 2 if call.name == "fchownat" else 1
        uid, gid = (int(each) for each in call.arguments[place : place + 2])
        return node._replace(uid=node.uid if uid == -1 else uid, gid=node.gid if gid == -1 else gid)
    if call.name in REMOVEXATTRS and call.arguments[1] == ACCESS_ACL:
        return with_acl(node, b"")
    if call.name in SETXATTRS and call.arguments[1] == ACCESS_ACL:
        # strace writes a value of no bytes as NULL, which takes the list away.
        value = b"" if call.arguments[3] == "0" else call.arguments[2].encode("utf-8", "surrogateescape")
        return with_acl(node, value)
    return node


def made_mode(call: SystemCall) -> int:
    """Mode that a call which makes something asks for, before the umask."""
    modes = [each for each in call.arguments if re.fullmatch(r"0[0-7]*|S_IF\w+\|0[0-7]*", each)]
    return int(modes[-1].rpartition("|")[2], 8) & 0o7777 if modes else 0o666
