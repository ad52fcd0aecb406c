from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agentsafe_envs.bash.files.accounts import UnixGroup, UnixUser
from agentsafe_envs.bash.files.start import Start, directory, file, symlink
from agentsafe_envs.bash.sandbox import docker as backend_module
from agentsafe_envs.bash.sandbox.base import MIB, Backend, Limits
from agentsafe_envs.bash.sandbox.bubblewrap import BubblewrapBackend
from agentsafe_envs.bash.sandbox.docker import DockerBackend, docker_client
from agentsafe_envs.bash.sandbox.machine import Machine

LIMITS = Limits(
    command_s=5, disk_bytes=16 * MIB, inodes=2_000, memory_bytes=128 * MIB, process_memory_bytes=192 * MIB, processes=24
)

START = Start(
    users=(UnixUser("ann", 1000, 1000, "/home/ann", "/bin/bash"), UnixUser("www-data", 33, 33, "/srv/site")),
    groups=(UnixGroup("ann", 1000), UnixGroup("www-data", 33, ("ann",)), UnixGroup("team", 2000, ("ann",))),
    entries=(
        directory("/home/ann", 0o750, uid=1000, gid=1000),
        directory("/srv/site", 0o755, uid=33, gid=33),
        file("/srv/site/index.html", "hello\n", 0o640, uid=33, gid=33),
        file("/srv/site/run.sh", "#!/bin/sh\necho ran\n", 0o644),
        symlink("/srv/current", "site"),
    ),
)


def docker_elsewhere() -> DockerBackend:
    """Docker as where it is on no kernel of ours, such as Docker Desktop: its streams carry everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend_module, "runs_here", lambda info: False)
        return DockerBackend()


BACKENDS = [
    pytest.param(BubblewrapBackend, id="bubblewrap", marks=pytest.mark.needs("bubblewrap")),
    pytest.param(DockerBackend, id="docker", marks=pytest.mark.needs("docker")),
    pytest.param(docker_elsewhere, id="docker-elsewhere", marks=(pytest.mark.needs("docker"), pytest.mark.slow)),
]
"""Every test that uses ``backend`` or ``machine`` runs on each: what one sandbox promises, all do."""

SOON_S = 5.0


@pytest.fixture
def comes_to() -> Callable[[Callable[[], object], object], None]:
    """Waits until something has a value: what a closed world leaves goes in the background, within moments."""

    def wait(look: Callable[[], object], value: object) -> None:
        deadline = time.monotonic() + SOON_S
        while (found := look()) != value:
            assert time.monotonic() < deadline, f"{found} after {SOON_S} s, expected {value}"
            time.sleep(0.01)

    return wait


def children_of(process: int) -> list[int]:
    """Processes that a process of this machine has started."""
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.fixture
def daemon_of() -> Callable[[Backend], int]:
    """Process id, on this machine, of the daemon that holds a backend's sandboxes."""

    def find(backend: Backend) -> int:
        if isinstance(backend, BubblewrapBackend):
            return backend.daemon
        assert isinstance(backend, DockerBackend)
        with closing(docker_client()) as client:
            (daemon,) = children_of(client.inspect_container(backend.container)["State"]["Pid"])
        return daemon

    return find


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    backend = request.param()
    yield backend
    backend.close()


@pytest.fixture
def machine(backend: Backend) -> Iterator[Machine]:
    with Machine(backend, START, LIMITS) as machine:
        yield machine
