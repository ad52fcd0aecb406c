"""System calls of a sandbox: what each kind does, and one that was made."""

from __future__ import annotations

from typing import NamedTuple

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
NAMINGS = RENAMES | LINKS | REMOVALS | SYMLINKS
"""Calls after which a name leads to something else than before."""

KILLED = "killed"
"""Error of a naming whose process was killed in the middle: nobody can say whether it was done."""

_KILLS = frozenset({"kill", "tgkill", "tkill"})
_MAKES = frozenset({"mkdir", "mkdirat", "mknod", "mknodat"})
_LAST_LINK_KEPT = NAMINGS | _MAKES | {"lchown", "lremovexattr", "lsetxattr"}
_WITH_FLAGS = frozenset({"fchmodat", "fchownat", "linkat"})

PATHS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(RIGHTS | REMOVALS | OPENS | ENTERS | _MAKES | {"fallocate", "ftruncate", "truncate"}, (0,)),
    **dict.fromkeys(("fchmodat", "fchownat", "unlinkat", "mkdirat", "mknodat", "openat", "openat2", "execveat"), (1,)),
    "execve": (0,),
    "symlink": (1,),
    "symlinkat": (2,),
    **dict.fromkeys(("rename", "link"), (0, 1)),
    **dict.fromkeys(("renameat", "renameat2", "linkat"), (1, 3)),
    "bind": (),
    **dict.fromkeys(_KILLS, ()),
}
"""Call -> places of its paths, or of the descriptors that stand for one, among its arguments."""

BESIDE_DIRECTORY = frozenset(name for name in PATHS if name.endswith(("at", "at2"))) - {"creat"}
"""Calls in which a directory's descriptor stands right before each path."""

TRACED_CALLS = (*PATHS, *sorted(FORKS), "getpid", "gettid", "set_tid_address")


class SystemCall(NamedTuple):
    """One call that a process in the sandbox made.

    Attributes:
        number: Order in the session, from 0; calls of different processes too.
        process: Number of the process outside the sandbox; threads have their own.
        name: For instance ``"fchmodat"``.
        paths: Absolute, links resolved as the call itself resolves them.
        arguments: As text, strings as they were (bytes that are no UTF-8 as surrogate escapes), up to
            the first structure.
        result: What it returned, -1 for an error.
        error: ``"EPERM"`` and so on, ``""`` for none.
        ancestry: Programs from the shell down to the one that made the call, by absolute path. A
            program that was replaced by exec stays in: ``env chmod`` gives bash, env, chmod.
        unclear: Nobody can say of what it changed rights or names: its path went through what some process
            has open, say.
    """

    number: int
    process: int
    name: str
    paths: tuple[str, ...]
    arguments: tuple[str, ...]
    result: int
    error: str
    ancestry: tuple[str, ...]
    unclear: bool = False

    @property
    def changes_files(self) -> bool:
        """It succeeded and is of a kind that changes files, or opens one for writing."""
        return not self.error and self.name not in EXECS | _KILLS

    @property
    def follows_last_link(self) -> bool:
        """Whether it acts on what a link in the last place leads to, and not on the link."""
        flags = "".join(self.arguments[-1:]).split("|") if self.name in _WITH_FLAGS else ()
        return "AT_SYMLINK_FOLLOW" in flags or not (self.name in _LAST_LINK_KEPT or "AT_SYMLINK_NOFOLLOW" in flags)


def requested_mode(call: SystemCall) -> int:
    """Mode that a chmod asks for, 0 to 0o7777."""
    place = 2 if call.name == "fchmodat" else 1
    return int(call.arguments[place], 8) & 0o7777
