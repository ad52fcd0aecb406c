from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentsafe_envs.bash.files.start import Start
from agentsafe_envs.bash.sandbox import build, rootfs
from agentsafe_envs.bash.sandbox.base import SandboxError
from agentsafe_envs.bash.sandbox.bubblewrap import BubblewrapBackend
from agentsafe_envs.bash.sandbox.machine import Machine
from agentsafe_envs.cli.app import app

STATUS = "Package: bash\nStatus: install ok\nVersion: 5.2\n\nPackage: acl\nVersion: 2.3\nDescription: x\n y: z\n"


def tarball(path: Path, files: dict[str, str]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return tarball(
        tmp_path / "t.tar", {"./usr/bin/x": "x", "./etc/y": "y", "./var/lib/dpkg/status": STATUS, "./boot/z": ""}
    )


@pytest.mark.needs("bubblewrap")
def test_system_is_unpacked_with_its_own_owner_and_a_manifest(tmp_path: Path, small: Path) -> None:
    system = build.unpack(small, tmp_path / "rootfs")
    assert sorted(os.listdir(system.root)) == ["etc", "manifest.json", "usr"]
    assert (system.root / "usr/bin/x").stat().st_uid not in (0, os.getuid())
    assert system.describe().startswith("bookworm, 2 packages, sha256 ")
    build.remove_system(system.root)


@pytest.mark.needs("bubblewrap")
def test_system_replaces_an_older_one(tmp_path: Path, small: Path) -> None:
    first = build.unpack(small, tmp_path / "rootfs")
    newer = tarball(tmp_path / "n.tar", {"./usr/bin/n": "", "./etc/n": "", "./var/lib/dpkg/status": STATUS})
    build.unpack(newer, first.root)
    assert os.listdir(first.root / "usr/bin") == ["n"]
    build.remove_system(first.root)
    assert not first.root.exists()


@pytest.mark.needs("bubblewrap")
def test_tarball_without_a_system_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    empty = tarball(tmp_path / "e.tar", {"./usr/x": "", "./etc/x": ""})
    with pytest.raises(SandboxError, match="expected a Debian system"):
        build.unpack(empty, tmp_path / "rootfs")
    assert os.listdir(tmp_path) == ["e.tar"]


def test_folder_that_was_not_built_is_never_removed(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="remove it yourself"):
        build.remove_system(tmp_path)


def test_named_system_that_is_none_is_refused_with_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(rootfs.ROOTFS_VARIABLE, str(tmp_path))
    with pytest.raises(SandboxError, match="agentsafe sandbox build"):
        rootfs.find_system()


def test_without_a_built_system_the_machines_own_is_used_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(rootfs.ROOTFS_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert rootfs.default_folder() == tmp_path / "agentsafe" / "rootfs"
    if Path("/bin").is_symlink():
        assert rootfs.find_system().describe().startswith("the machine's own /usr (")


def test_command_says_what_to_install_where_mmdebstrap_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    found = CliRunner().invoke(app, ["sandbox", "build", str(tmp_path / "r")])
    assert found.exit_code == 2
    assert "apt-get install mmdebstrap" in found.output


@pytest.mark.slow
@pytest.mark.needs("bubblewrap", "mmdebstrap")
def test_built_system_has_the_promised_programs(tmp_path: Path) -> None:
    system = build.build(tmp_path / "rootfs")
    backend = BubblewrapBackend(system)
    names = "bash ls find setfacl git ps python3 perl openssl curl tar rsync make cron usermod attr"
    try:
        with Machine(backend, Start()) as machine:
            said = machine.step(
                f"for p in {names}; do command -v $p > /dev/null || echo $p; done; stat -c %U /usr"
            ).result
        assert said.stdout == b"root\n"
    finally:
        backend.close()
        build.remove_system(system.root)


def test_system_is_built_again_only_where_other_packages_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "rootfs"
    folder.mkdir()
    assert not build.is_current(folder)
    (folder / "manifest.json").write_text(json.dumps({"requested": [build.SUITE, *build.PACKAGES]}))
    assert build.is_current(folder)
    result = CliRunner().invoke(app, ["sandbox", "build", "--if-missing", str(folder)])
    assert (result.exit_code, result.output) == (0, "")
    monkeypatch.setattr(build, "PACKAGES", ("bash",))
    assert not build.is_current(folder)


def test_system_that_cannot_be_built_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = CliRunner().invoke(app, ["sandbox", "build", "--if-missing", str(tmp_path / "rootfs")])
    assert result.exit_code == 0
    assert "sandboxes show this machine's own /usr: mmdebstrap is not installed" in result.output
