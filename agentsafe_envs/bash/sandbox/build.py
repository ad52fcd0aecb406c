"""Building the system that stands at /usr in sandboxes, with mmdebstrap.

Its files belong to the sandboxes' root, so they are unpacked, and an older system is removed, within
the user namespace of a daemon; that needs no rights beyond those that sandboxes need.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agentsafe_envs.bash.files.start import CLOCK_S
from agentsafe_envs.bash.sandbox import relocate
from agentsafe_envs.bash.sandbox.base import SandboxError
from agentsafe_envs.bash.sandbox.client import find_program, local_daemon
from agentsafe_envs.bash.sandbox.relocate import MANIFEST, SUITE
from agentsafe_envs.bash.sandbox.rootfs import System

MMDEBSTRAP = "mmdebstrap"
PACKAGES = (
    "acl",
    "attr",
    "bash",
    "bc",
    "bzip2",
    "ca-certificates",
    "coreutils",
    "cpio",
    "cron",
    "curl",
    "file",
    "findutils",
    "gawk",
    "git",
    "iproute2",
    "jq",
    "less",
    "lsof",
    "make",
    "openssl",
    "passwd",
    "patch",
    "perl-base",
    "procps",
    "psmisc",
    "python3",
    "rsync",
    "tar",
    "tree",
    "unzip",
    "util-linux",
    "vim-tiny",
    "xxd",
    "xz-utils",
    "zip",
    "zstd",
)
LEFT_OUT = ("doc", "info", "locale", "man")
"""Folders of /usr/share that no task reads."""

_TREES = ("./usr", "./etc")


def is_current(folder: Path) -> bool:
    """Whether a system of :data:`PACKAGES` is in ``folder``."""
    file = folder / MANIFEST
    return file.is_file() and json.loads(file.read_text()).get("requested") == [SUITE, *PACKAGES]


def build(folder: Path) -> System:
    """Build a system and put it into ``folder``, in place of one that is there.

    Args:
        folder: Its parent is made if missing. About 600 MB, half of them for the time of building.

    Raises:
        SandboxError: A program is missing, or the packages cannot be had; the message says more.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="agentsafe-", dir=folder.parent) as work:
        tarball = Path(work) / "system.tar"
        build_tarball(PACKAGES, tarball)
        return unpack(tarball, folder)


def build_tarball(packages: Sequence[str], tarball: Path) -> None:
    """Make the tarball of a Debian system.

    Args:
        packages: Beside the essential ones.
        tarball: File to write.

    Raises:
        SandboxError: mmdebstrap is missing, or the packages cannot be had.
    """
    command = [find_program(MMDEBSTRAP, MMDEBSTRAP), *mmdebstrap_arguments(packages, str(tarball))]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(CLOCK_S)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-3:]
        raise SandboxError(f"mmdebstrap failed with status {done.returncode}: {' / '.join(said)}")


def mmdebstrap_arguments(packages: Sequence[str], tarball: str) -> list[str]:
    """What mmdebstrap is told, on this machine or another one."""
    exclusions = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
    return ["--variant=essential", *exclusions, f"--include={','.join(packages)}", SUITE, tarball]


def unpack(tarball: Path, folder: Path) -> System:
    """Put the /usr and /etc of ``tarball`` into ``folder``, in place of a system that is there.

    Raises:
        SandboxError: The tarball holds no Debian system.
    """
    with tempfile.TemporaryDirectory(prefix="agentsafe-", dir=folder.parent) as work:
        fresh = Path(work) / "rootfs"
        fresh.mkdir()
        fresh.chmod(0o777)  # for the namespace's root; nobody else gets through the folder around it
        shutil.copyfile(tarball, fresh / tarball.name)
        _run_in(fresh, ["tar", "-x", "-p", "--numeric-owner", "-f", tarball.name, *_TREES])
        (fresh / tarball.name).unlink()
        try:
            described = relocate.manifest(tarball) | {"requested": [SUITE, *PACKAGES]}
        except ValueError as error:
            raise SandboxError(str(error)) from error
        (fresh / MANIFEST).write_text(json.dumps(described, indent=2) + "\n")
        fresh.chmod(0o755)
        if folder.exists():
            remove_system(folder)
        fresh.rename(folder)
    return System(folder, True)


def remove_system(folder: Path) -> None:
    """Remove a built system.

    Raises:
        SandboxError: ``folder`` is not one.
    """
    if not (folder / MANIFEST).is_file():
        raise SandboxError(f"{folder} holds no {MANIFEST}, so it is no system built here; remove it yourself")
    folder.chmod(0o777)
    _run_in(folder, ["rm", "-rf", *_TREES])
    shutil.rmtree(folder)


def _run_in(folder: Path, command: list[str]) -> None:
    program, *arguments = command
    daemon = local_daemon(System(folder, True))
    try:
        status = daemon.ask("run", [find_program(program, program), *arguments])
    finally:
        daemon.close()
    if status != 0:
        raise SandboxError(f"{' '.join(command)} failed with status {status} in {folder}")
