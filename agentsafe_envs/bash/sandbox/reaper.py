"""Containers whose owner is gone: found by their labels, and removed before a new one starts.

A container ends with its owner's connection, so nothing is usually left. It stays where Docker itself was stopped
meanwhile, or hung.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import psutil

MARK = "agentsafe.sandbox"
"""Label of every container of ours."""

_CLOCK_TICK_S = 2.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")
_ENDED = ("exited", "dead")


class Owner(NamedTuple):
    """The process that a container works for.

    Attributes:
        pid: Its process id.
        started: When it started, seconds since the epoch: process ids come again.
        boot: Which boot of which machine, and on Linux in which process namespace.
    """

    pid: int
    started: float
    boot: str

    @property
    def labels(self) -> dict[str, str]:
        """As labels of a container."""
        return {MARK: "1", **{f"agentsafe.owner.{name}": str(value) for name, value in self._asdict().items()}}

    @property
    def alive(self) -> bool:
        """Whether that process still runs here."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) <= _CLOCK_TICK_S
        except psutil.NoSuchProcess:
            return False


def owner_here() -> Owner:
    """This process."""
    process = psutil.Process()
    return Owner(process.pid, process.create_time(), _boot())


def owner_of(labels: dict[str, str]) -> Owner | None:
    """The owner that labels name; None if they are not ours, or were edited."""
    try:
        pid, started, boot = (labels[f"agentsafe.owner.{name}"] for name in Owner._fields)
        return Owner(int(pid), float(started), boot)
    except (KeyError, ValueError):
        return None


def reap(client: Any) -> list[str]:
    """Remove the containers of processes that are gone; answers their ids.

    Of a machine that was started anew, or of another one, only containers that have ended are removed: whether
    their owners live cannot be seen from here.

    Args:
        client: Docker's API client.
    """
    import docker.errors

    boot, removed = _boot(), []
    for found in client.containers(all=True, filters={"label": MARK}):
        owner = owner_of(found.get("Labels") or {})
        gone = not owner.alive if owner and owner.boot == boot else found["State"] in _ENDED
        if gone:
            with contextlib.suppress(docker.errors.NotFound, docker.errors.APIError):  # somebody else reaps too
                client.remove_container(found["Id"], force=True)
                removed.append(found["Id"])
    return removed


def _boot() -> str:
    if _BOOT_ID.is_file():
        return f"{_BOOT_ID.read_text().strip()}-{os.stat(_PID_NAMESPACE).st_ino}"
    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]  # macOS
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
