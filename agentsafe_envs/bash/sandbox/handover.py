"""The daemon's own socket, handed over by a container of this machine: then commands do not pass through Docker.

Over Docker's streams a command takes 0.8 ms longer, so a builtin takes twice as long (decision 018). Docker Desktop
cannot share sockets, and Docker elsewhere shares no files with us: there the streams carry everything (container.py).
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from agentsafe_envs.bash.sandbox.client import ANSWER_S, SocketLink
from agentsafe_envs.bash.sandbox.container import ContainerLink
from agentsafe_envs.bash.sandbox.daemon.frames import HANDOVER_FOLDER, HANDOVER_NAME

_PREFIX = "agentsafe-handover-"
_LEFT_BEHIND_S = 3600.0


def runs_here(info: dict[str, Any]) -> bool:
    """Whether a Docker's containers run on this machine's kernel, going by its answer to ``docker info``."""
    here = (platform.system(), platform.node(), platform.release())
    return here == ("Linux", info.get("Name"), info.get("KernelVersion"))


class Handover:
    """A folder with a socket, shown to one container while it starts; in a ``with`` statement.

    Nobody else can enter it, and it is gone when the container has started.
    """

    def __enter__(self) -> Self:
        _remove_left_behind()
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._shown = self._folder / "shown"
        self._shown.mkdir()
        self._shown.chmod(0o755)  # root of the container is any user to this machine
        self._server = socket.socket(socket.AF_UNIX)
        folder = os.open(self._shown, os.O_PATH | os.O_DIRECTORY)
        try:
            self._server.bind(f"/proc/self/fd/{folder}/{HANDOVER_NAME}")  # the folder's own name may be too long
        finally:
            os.close(folder)
        (self._shown / HANDOVER_NAME).chmod(0o666)
        self._server.listen(1)
        self._server.settimeout(ANSWER_S)
        return self

    @property
    def mount(self) -> dict[str, Any]:
        """Shows the folder to a container, as one of the ``Mounts`` of Docker's ``HostConfig``."""
        return {"Type": "bind", "Source": str(self._shown), "Target": HANDOVER_FOLDER, "ReadOnly": True}

    def take(self) -> socket.socket:
        """The daemon's socket, after the relay has said that it was handed over.

        Raises:
            OSError: It did not come.
        """
        connection, _ = self._server.accept()
        with connection:
            connection.settimeout(ANSWER_S)
            _, (descriptor,), *_ = socket.recv_fds(connection, 1, 1)
        os.set_inheritable(descriptor, False)
        return socket.socket(fileno=descriptor)

    def __exit__(self, *_: object) -> None:
        self._server.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class HandedOverLink(SocketLink):
    """A daemon in a container, asked over its own socket.

    Args:
        connection: What was handed over; owned from here on.
        container: Keeps the container alive, and hears its complaints; owned too.
    """

    def __init__(self, connection: socket.socket, container: ContainerLink) -> None:
        super().__init__(connection)
        self._container = container

    @property
    def running(self) -> bool:
        """Whether there is anybody to ask."""
        return self._container.running and self._socket.fileno() >= 0

    def last_words(self) -> str:
        """The last line on the container's error output."""
        return self._container.last_words()

    def close(self) -> None:
        """End the daemon, and with it the container."""
        self._socket.close()
        self._container.close()


def _remove_left_behind() -> None:
    """Drop folders of processes that were killed while their container started."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            old = time.time() - folder.stat().st_mtime > _LEFT_BEHIND_S
        except OSError:
            continue  # somebody else is at it
        if old:
            shutil.rmtree(folder, ignore_errors=True)
