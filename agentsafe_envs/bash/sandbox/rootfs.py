"""The system that stands at /usr inside a sandbox: one built for it, or the machine's own.

Build one with ``agentsafe sandbox build``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from agentsafe_envs.bash.sandbox.base import SandboxError
from agentsafe_envs.bash.sandbox.relocate import MANIFEST

ROOTFS_VARIABLE = "AGENTSAFE_ROOTFS"

SYSTEM_FILES = (
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/cron.d",
    "/etc/crontab",
    "/etc/debian_version",
    "/etc/default/useradd",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/login.defs",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/profile",
    "/etc/protocols",
    "/etc/services",
    "/etc/shells",
    "/etc/skel",
    "/etc/ssl/openssl.cnf",
)
"""Taken over from the system's /etc, where they exist."""


class System(NamedTuple):
    """A root directory with a /usr into which /bin, /lib and /sbin are merged.

    Attributes:
        root: Its folder, ``/`` for the machine's own.
        built: Whether it was built for sandboxes.
    """

    root: Path
    built: bool

    def describe(self) -> str:
        """One line: which system commands run on."""
        if not self.built:
            return f"the machine's own /usr ({_release(self.root)})"
        manifest = json.loads((self.root / MANIFEST).read_text())
        return f"{manifest['suite']}, {len(manifest['packages'])} packages, sha256 {manifest['sha256'][:12]}"


def find_system() -> System:
    """The built system if there is one, else the machine's own.

    Raises:
        SandboxError: ``AGENTSAFE_ROOTFS`` names no system, or nothing here can serve as one.
    """
    named = os.environ.get(ROOTFS_VARIABLE)
    built = Path(named) if named else default_folder()
    if (built / MANIFEST).is_file():
        return System(built, True)
    if named:
        raise SandboxError(f"{ROOTFS_VARIABLE} is {named}, which holds no {MANIFEST}; run `agentsafe sandbox build`")
    if Path("/bin").is_symlink() and Path("/usr/bin/bash").is_file():
        return System(Path("/"), False)
    raise SandboxError("this machine keeps /bin and /usr/bin apart; run `agentsafe sandbox build`")


def _release(root: Path) -> str:
    """Name and version of the distribution."""
    file = root / "etc/os-release"
    lines = file.read_text().splitlines() if file.is_file() else []
    named = (line.partition("=")[2].strip('"') for line in lines if line.startswith("PRETTY_NAME="))
    return next(named, "unnamed")


def default_folder() -> Path:
    """Where a built system is kept."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "agentsafe" / "rootfs"
