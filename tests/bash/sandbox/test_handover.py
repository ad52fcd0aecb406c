from __future__ import annotations

import os
import platform
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.bash.sandbox.client import SocketLink
from agentsafe_envs.bash.sandbox.daemon.frames import HANDOVER_NAME
from agentsafe_envs.bash.sandbox.handover import Handover, runs_here

HERE = {"Name": platform.node(), "KernelVersion": platform.release()}


@pytest.mark.skipif(platform.system() != "Linux", reason="no container runs on another kernel")
def test_docker_on_this_kernel_is_here() -> None:
    assert runs_here(HERE)


@pytest.mark.parametrize(
    "info",
    [{}, HERE | {"Name": "docker-desktop"}, HERE | {"KernelVersion": "6.10.14-linuxkit"}],
    ids=["silent", "other name", "other kernel"],
)
def test_docker_in_a_machine_of_its_own_is_elsewhere(info: dict[str, Any]) -> None:
    assert not runs_here(info)


def test_docker_is_elsewhere_for_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert not runs_here(HERE)


def hand(handover: Handover, descriptor: int) -> None:
    """What the relay does in a container that sees the folder."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{handover.mount['Source']}/{HANDOVER_NAME}")
        socket.send_fds(connection, [b"x"], [descriptor])


def test_socket_that_is_handed_over_is_the_same_one() -> None:
    near, far = socket.socketpair()
    with near, far, Handover() as handover:
        hand(handover, near.fileno())
        with handover.take() as taken:
            taken.sendall(b"over")
            assert far.recv(4) == b"over"


def test_nobody_else_can_enter_the_folder_and_it_is_gone_afterwards() -> None:
    with Handover() as handover:
        shown = Path(handover.mount["Source"])
        assert stat.S_IMODE(shown.parent.stat().st_mode) == 0o700
    assert not shown.parent.exists()


def test_name_of_the_temporary_folder_may_be_longer_than_a_socket_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("x" * 120)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with Handover() as handover:
        assert os.listdir(handover.mount["Source"]) == [HANDOVER_NAME]


def test_only_folders_of_long_ago_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, young, other = (tmp_path / name for name in ("agentsafe-handover-old", "agentsafe-handover-new", "else"))
    for folder in (old, young, other):
        (folder / "shown").mkdir(parents=True)
    for folder in (old, other):
        os.utime(folder, (time.time() - 7200,) * 2)
    with Handover():
        pass
    assert (old.exists(), young.exists(), other.exists()) == (False, True, True)


def test_link_asks_nothing_more_after_an_answer_that_did_not_come() -> None:
    near, far = socket.socketpair()
    with far:
        link = SocketLink(near)
        near.settimeout(0.01)
        with pytest.raises(TimeoutError):
            link.exchange(b"first")
        with pytest.raises(OSError, match="Bad file descriptor"):
            link.exchange(b"second")
