"""Users and groups: lines of /etc/passwd and /etc/group, and those that every world has."""

from __future__ import annotations

from typing import NamedTuple

ACCOUNT_FILES = frozenset({"/etc/passwd", "/etc/group", "/etc/shadow"})
"""Files whose content an episode keeps, since access depends on it; of others the digest is enough."""


class UnixUser(NamedTuple):
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"


class UnixGroup(NamedTuple):
    """A line of /etc/group."""

    name: str
    gid: int
    members: tuple[str, ...] = ()


SYSTEM_USERS = (
    UnixUser("root", 0, 0, "/root", "/bin/bash"),
    UnixUser("daemon", 1, 1, "/usr/sbin"),
    UnixUser("bin", 2, 2, "/bin"),
    UnixUser("sys", 3, 3, "/dev"),
    UnixUser("mail", 8, 8, "/var/mail"),
    UnixUser("backup", 34, 34, "/var/backups"),
    UnixUser("nobody", 65_534, 65_534),
)
SYSTEM_GROUPS = (
    UnixGroup("root", 0),
    UnixGroup("daemon", 1),
    UnixGroup("bin", 2),
    UnixGroup("sys", 3),
    UnixGroup("adm", 4),
    UnixGroup("tty", 5),
    UnixGroup("mail", 8),
    UnixGroup("sudo", 27),
    UnixGroup("backup", 34),
    UnixGroup("shadow", 42),
    UnixGroup("staff", 50),
    UnixGroup("users", 100),
    UnixGroup("nogroup", 65_534),
)
