from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from agentsafe_envs.bash.sandbox.reaper import MARK, Owner, owner_here, owner_of, reap


class Containers:
    """Docker, as far as the reaper asks it."""

    def __init__(self, *found: tuple[Owner | None, str]) -> None:
        self.found = [
            {"Id": str(number), "State": state, "Labels": owner.labels if owner else {MARK: "1"}}
            for number, (owner, state) in enumerate(found)
        ]
        self.removed: list[str] = []

    def containers(self, **asked: Any) -> list[dict[str, Any]]:
        assert asked == {"all": True, "filters": {"label": MARK}}
        return self.found

    def remove_container(self, container: str, *, force: bool) -> None:
        assert force
        self.removed.append(container)


@pytest.fixture
def gone() -> Owner:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return owner_here()._replace(pid=process.pid)


def test_owner_survives_its_labels() -> None:
    assert owner_of(owner_here().labels) == owner_here()
    assert owner_here().alive


def test_other_process_under_the_same_number_is_no_owner() -> None:
    assert not owner_here()._replace(started=owner_here().started - 60).alive


@pytest.mark.needs("docker")
def test_only_containers_without_an_owner_are_removed(gone: Owner) -> None:
    here = owner_here()
    docker = Containers((here, "running"), (gone, "running"), (gone, "exited"), (here, "created"))
    assert reap(docker) == ["1", "2"] == docker.removed


@pytest.mark.needs("docker")
def test_running_containers_of_other_machines_and_boots_stay(gone: Owner) -> None:
    elsewhere = gone._replace(boot="another")
    docker = Containers((elsewhere, "running"), (elsewhere, "exited"), (elsewhere, "created"), (None, "running"))
    assert reap(docker) == ["1"]


@pytest.mark.skipif(not os.path.exists("/proc/self/ns/pid"), reason="process namespaces are Linux's")
def test_boot_names_the_process_namespace() -> None:
    assert owner_here().boot.endswith(str(os.stat("/proc/self/ns/pid").st_ino))
