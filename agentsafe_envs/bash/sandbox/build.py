"""Building the system that stands at /usr in sandboxes, with mmdebstrap.

Its files belong to the sandboxes' root, so they are unpacked, and an older system is removed, within
the user namespace of a daemon; that needs no rights beyond those that sandboxes need.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from agentsafe_envs.bash.files.start import CLOCK_S
from agentsafe_envs.bash.sandbox.base import SandboxError
from agentsafe_envs.bash.sandbox.client import DaemonClient, find_program
from agentsafe_envs.bash.sandbox.rootfs import MANIFEST, System

SUITE = "bookworm"
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
_PACKAGE_LIST = "./var/lib/dpkg/status"


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
        exclusions = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
        command = [find_program("mmdebstrap", "mmdebstrap"), "--variant=essential", *exclusions]
        command += [f"--include={','.join(PACKAGES)}", SUITE, str(tarball)]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=os.environ | {"SOURCE_DATE_EPOCH": str(CLOCK_S)}
        )
        if done.returncode:
            said = done.stderr.strip().splitlines()[-3:]
            raise SandboxError(f"mmdebstrap failed with status {done.returncode}: {' / '.join(said)}")
        return unpack(tarball, folder)


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
        (fresh / MANIFEST).write_text(json.dumps(_manifest(tarball), indent=2) + "\n")
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
    daemon = DaemonClient(System(folder, True))
    try:
        status = daemon.ask("run", [find_program(program, program), *arguments])
    finally:
        daemon.close()
    if status != 0:
        raise SandboxError(f"{' '.join(command)} failed with status {status} in {folder}")


def _manifest(tarball: Path) -> dict[str, object]:
    with tarball.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    with tarfile.open(tarball) as archive:
        try:
            member = archive.extractfile(_PACKAGE_LIST)
        except KeyError:
            member = None
        if member is None:
            raise SandboxError(f"{tarball} has no {_PACKAGE_LIST}; expected a Debian system")
        status = member.read().decode()
    packages = {}
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if "Package" in fields:
            packages[fields["Package"]] = fields.get("Version", "")
    return {"suite": SUITE, "requested": [SUITE, *PACKAGES], "sha256": digest, "packages": packages}
