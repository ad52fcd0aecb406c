from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest
from typer.testing import CliRunner

from agentsafe_envs.bash.files.start import Start
from agentsafe_envs.bash.sandbox import image
from agentsafe_envs.bash.sandbox.base import SandboxError
from agentsafe_envs.bash.sandbox.build import PACKAGES, build_tarball
from agentsafe_envs.bash.sandbox.docker import IMAGE_VARIABLE, DockerBackend, docker_client
from agentsafe_envs.bash.sandbox.machine import Machine
from agentsafe_envs.cli.app import app

BASE = "agentsafe/test-base"


class Builder:
    """Docker, as far as building from a Dockerfile asks it."""

    def __init__(self, *said: dict[str, str]) -> None:
        self.said = said
        self.files: dict[str, str] = {}

    def build(self, fileobj: io.BytesIO, **_: Any) -> list[dict[str, str]]:
        with tarfile.open(fileobj=fileobj) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None
                self.files[member.name] = content.read().decode()
        return list(self.said)


def test_dockerfile_has_the_same_packages_and_brings_its_program_along() -> None:
    builder = Builder({"stream": "done"})
    image.build_with(builder, "any")
    assert builder.files.keys() == {"Dockerfile", "relocate.py"}
    text = builder.files["Dockerfile"]
    assert text.startswith("FROM debian:bookworm-slim\n")
    assert f"--include={','.join(PACKAGES)}" in text
    assert all(name in text for name in image.DAEMON_PACKAGES)
    compile(builder.files["relocate.py"], "relocate.py", "exec")


@pytest.mark.needs("docker")
def test_image_of_these_packages_is_kept_and_another_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert image.image_is_current()
    monkeypatch.setattr(image, "build_image", None)
    assert CliRunner().invoke(app, ["sandbox", "build", "--docker", "--if-missing"]).exit_code == 0
    monkeypatch.setattr(image, "REQUESTED_PACKAGES", "bookworm one-more")
    assert not image.image_is_current()


def test_failed_build_is_told_in_dockers_words() -> None:
    with pytest.raises(SandboxError, match="no route to the index"):
        image.build_with(Builder({"stream": "..."}, {"error": "no route to the index"}), "any")


def test_command_takes_a_folder_or_docker(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["sandbox", "build", "--docker", str(tmp_path)])
    assert found.exit_code == 2
    assert "leave out DIR" in found.output


@pytest.fixture
def base_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Stands for debian:bookworm-slim, which a machine without a network of containers cannot pull."""
    tarball = tmp_path / "base.tar"
    build_tarball(("apt",), tarball)
    build = docker.APIClient.build
    monkeypatch.setattr(docker.APIClient, "build", lambda *a, **k: build(*a, network_mode="host", **k))
    monkeypatch.setattr(image, "BASE_IMAGE", f"{BASE}:latest")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with closing(docker_client()) as client:
        client.import_image_from_file(str(tarball), repository=BASE, tag="latest")
        yield client
        client.remove_image(BASE, force=True)


@pytest.mark.slow
@pytest.mark.needs("docker", "mmdebstrap")
def test_image_from_the_dockerfile_keeps_every_promise(base_image: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "agentsafe/test-bash"
    built = image.build_image(name)
    monkeypatch.setenv(IMAGE_VARIABLE, name)
    backend = DockerBackend()
    try:
        assert built.digest in backend.system.describe()
        with Machine(backend, Start()) as machine:
            said = machine.step("stat -c %U /usr; python3 -c 'print(1)'; setfacl -m u:7:r /srv; echo $?").result
        assert said.stdout == b"root\n1\n0\n"
    finally:
        backend.close()
        base_image.remove_image(name, force=True)
