"""Turns the tarball of a Debian system into the part of an image that holds it; runs alone, standard library only.

    python relocate.py system.tar > part.tar

The files of /usr and /etc come to lie below /system, their owners are shifted to the users that sandboxes have, and a
manifest says what it was built from. Hard links stay links within the folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

SUITE = "bookworm"
MANIFEST = "manifest.json"
"""Beside a built system's /usr: what it was built from."""

_FOLDER = "system"
_FIRST_USER = 100_000  # of the container, as in relay.py
_TREES = ("usr", "etc")
_PACKAGE_LIST = "./var/lib/dpkg/status"


def relocate(tarball: Path, target: tarfile.TarFile) -> None:
    """Add the system in ``tarball`` to ``target``.

    Raises:
        ValueError: ``tarball`` holds no Debian system.
    """
    content = json.dumps(manifest(tarball), indent=2).encode() + b"\n"
    folder = tarfile.TarInfo(_FOLDER)
    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
    target.addfile(folder)
    described = tarfile.TarInfo(f"{_FOLDER}/{MANIFEST}")
    described.size, described.mode = len(content), 0o644
    target.addfile(described, io.BytesIO(content))
    with tarfile.open(tarball) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            if name.split("/")[0] not in _TREES:
                continue
            member.name = f"{_FOLDER}/{name}"
            member.uid, member.gid = member.uid + _FIRST_USER, member.gid + _FIRST_USER
            member.uname = member.gname = ""
            member.pax_headers = {}
            if member.islnk():
                member.linkname = f"{_FOLDER}/{member.linkname.removeprefix('./')}"
            target.addfile(member, archive.extractfile(member) if member.isreg() else None)


def manifest(tarball: Path) -> dict[str, Any]:
    """Suite, digest and packages of a system.

    Raises:
        ValueError: ``tarball`` holds none.
    """
    with tarball.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    with tarfile.open(tarball) as archive:
        try:
            member = archive.extractfile(_PACKAGE_LIST)
        except KeyError:
            member = None
        if member is None:
            raise ValueError(f"{tarball} has no {_PACKAGE_LIST}; expected a Debian system")
        status = member.read().decode()
    packages = {}
    for paragraph in status.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if "Package" in fields:
            packages[fields["Package"]] = fields.get("Version", "")
    return {"suite": SUITE, "sha256": digest, "packages": packages}


if __name__ == "__main__":
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.PAX_FORMAT) as written:
        relocate(Path(sys.argv[1]), written)
