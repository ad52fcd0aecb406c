from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from agentsafe_envs.bash.sandbox.relocate import relocate

STATUS = "Package: bash\nVersion: 5.2\n\nPackage: acl\nVersion: 2.3\nDescription: x\n y: z\n"


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A tarball like mmdebstrap's."""
    path = tmp_path / "system.tar"
    with tarfile.open(path, "w") as archive:
        for name, content, owner in (("./usr/bin/x", "x", 0), ("./etc/y", "y", 42), ("./boot/z", "z", 0)):
            _add(archive, name, content, owner)
        _add(archive, "./var/lib/dpkg/status", STATUS, 0)
        link = tarfile.TarInfo("./usr/bin/also-x")
        link.type, link.linkname = tarfile.LNKTYPE, "./usr/bin/x"
        archive.addfile(link)
    return path


def relocated(system: Path) -> tarfile.TarFile:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as target:
        relocate(system, target)
    written.seek(0)
    return tarfile.open(fileobj=written)


def test_only_usr_and_etc_come_into_the_folder(system: Path) -> None:
    names = ["system", "system/manifest.json", "system/usr/bin/x", "system/etc/y", "system/usr/bin/also-x"]
    assert relocated(system).getnames() == names


def test_owners_are_shifted_and_links_stay_within(system: Path) -> None:
    found = relocated(system)
    assert (found.getmember("system/etc/y").uid, found.getmember("system/etc/y").gid) == (100_042, 100_042)
    assert found.getmember("system/usr/bin/also-x").linkname == "system/usr/bin/x"
    assert found.getmember("system").uid == 0


def test_manifest_tells_what_it_was_built_from(system: Path) -> None:
    content = relocated(system).extractfile("system/manifest.json")
    assert content is not None
    found = json.load(content)
    assert (found["suite"], found["packages"]) == ("bookworm", {"bash": "5.2", "acl": "2.3"})
    assert len(found["sha256"]) == 64


def test_tarball_without_a_system_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with (
        tarfile.open(fileobj=io.BytesIO(), mode="w") as target,
        pytest.raises(ValueError, match="expected a Debian system"),
    ):
        relocate(tmp_path / "empty.tar", target)


def _add(archive: tarfile.TarFile, name: str, content: str, owner: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.uid, member.gid = len(content), owner, owner
    archive.addfile(member, io.BytesIO(content.encode()))
