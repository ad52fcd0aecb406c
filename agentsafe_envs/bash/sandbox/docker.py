"""Isolation by Docker: the daemon and its bubblewrap sandboxes in a hardened container, as a second wall.

One container holds all sandboxes of a process. It has no network, a read-only root, two capabilities until its first
process has given them away, and none of this machine's files. What Docker does not enforce is refused.

From outside to inside: this process; a socket of Docker; the relay, which is the container's first process and nobody;
and from there as in bubblewrap.py. Where the container runs on this machine, the relay hands the daemon's socket over.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import Any, NamedTuple

from agentsafe_envs.bash.sandbox import seccomp
from agentsafe_envs.bash.sandbox.base import MIB, SandboxError
from agentsafe_envs.bash.sandbox.bubblewrap import DaemonBackend
from agentsafe_envs.bash.sandbox.client import DaemonClient
from agentsafe_envs.bash.sandbox.container import BOOTSTRAP, ContainerLink
from agentsafe_envs.bash.sandbox.handover import HandedOverLink, Handover, runs_here
from agentsafe_envs.core.extras import MissingExtraError, import_extra, install_hint

REMOVAL_S = 10
"""Longest wait until a container that removes itself is gone."""

IMAGE = "agentsafe/bash"
IMAGE_VARIABLE = "AGENTSAFE_IMAGE"
BUILD_IMAGE = "run `agentsafe sandbox build --docker`"

PYTHON, STRACE, BWRAP, BASE = "/usr/bin/python3", "/usr/bin/strace", "/usr/bin/bwrap", "/mnt"
"""In the image's own root, never looked up by a PATH; what the agent sees lies in a folder of it."""

CONTAINER_CAPABILITIES = ("SETGID", "SETUID")
"""To map the users of the daemon's namespace, and to become nobody."""


_ARCHITECTURES = {
    "x86_64": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "aarch64": ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
}
"""Calls of the others would end a process, where the agent's own filter refuses them."""


class ContainerLimits(NamedTuple):
    """What all sandboxes of one process may use together.

    Attributes:
        memory_bytes: Resident memory and files; nothing is swapped.
        processes: At the same time.
        open_files: Descriptors of each process.
    """

    memory_bytes: int = 8192 * MIB
    processes: int = 4096
    open_files: int = 16_384


class SystemImage(NamedTuple):
    """The image that a container is made of.

    Attributes:
        digest: Its id, ``"sha256:"`` and 64 digits.
        manifest: What its system was built from; empty until a container has told.
    """

    digest: str
    manifest: dict[str, Any]

    def describe(self) -> str:
        """One line: which system commands run on."""
        packages = len(self.manifest["packages"])
        built = f"{self.manifest['suite']}, {packages} packages, sha256 {self.manifest['sha256'][:12]}"
        return f"{built}, image {self.digest}"


def docker_client() -> Any:
    """Docker's API client, for the Docker that the ``docker`` command would use too.

    Raises:
        SandboxError: The SDK is missing, or Docker does not answer; the message says how to mend it.
    """
    try:
        docker = import_extra("docker", "docker")
        import_extra("psutil", "docker")
    except MissingExtraError as error:
        raise SandboxError(f"the Docker SDK is not installed; run `{install_hint('docker')}`") from error
    try:
        address = os.environ.get("DOCKER_HOST") or docker.ContextAPI.get_current_context().Host
        if address.startswith("unix://"):
            with socket.socket(socket.AF_UNIX) as tried:  # the SDK would leave one open where nobody listens
                tried.connect(address.removeprefix("unix://"))
        client = docker.APIClient(base_url=address, version="auto", timeout=60)
        client.ping()
    except (docker.errors.DockerException, OSError, ValueError) as error:
        raise SandboxError(f"Docker does not answer: {error}; start Docker Desktop or `dockerd`") from error
    if client.base_url.startswith("https") or address.startswith("ssh"):
        client.close()
        raise SandboxError(f"Docker is at {address}; expected one on this machine or at a plain address")
    return client


def find_image(client: Any) -> SystemImage:
    """The image that is named by ``AGENTSAFE_IMAGE``, or the built one.

    Raises:
        SandboxError: There is none.
    """
    name = os.environ.get(IMAGE_VARIABLE) or IMAGE
    try:
        return SystemImage(client.inspect_image(name)["Id"], {})
    except _errors().ImageNotFound:
        raise SandboxError(f"Docker has no image {name}; {BUILD_IMAGE}") from None


def seccomp_profile(machine: str) -> str:
    """Calls that nothing in the container may make, as Docker takes them.

    The agent's own filter lies within this one and refuses more.

    Args:
        machine: As ``platform.machine()`` names it.
    """
    refused = sorted({*seccomp.SYSTEM_CALLS, *seccomp.OUTDATED_CALLS} - seccomp.NEEDED_TO_ISOLATE)
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": _ARCHITECTURES.get(machine, []),
            "syscalls": [{"names": refused, "action": "SCMP_ACT_ERRNO"}],
        }
    )


def container_options(client: Any, info: dict[str, Any], limits: ContainerLimits) -> dict[str, Any]:
    """Docker's ``HostConfig``: everything that makes the wall.

    Args:
        client: Docker's API client.
        info: Its answer to ``docker info``.
        limits: Of the container.
    """
    import docker.types

    options = ["no-new-privileges", f"seccomp={seccomp_profile(info['Architecture'])}"]
    if any("apparmor" in each for each in info.get("SecurityOptions") or ()):
        options.append("apparmor=unconfined")  # Docker's own profile forbids the daemon's mounts
    files = docker.types.Ulimit(name="nofile", soft=limits.open_files, hard=limits.open_files)
    return {
        **client.create_host_config(
            network_mode="none",
            ipc_mode="none",
            cap_drop=["ALL"],
            cap_add=list(CONTAINER_CAPABILITIES),
            security_opt=options,
            read_only=True,
            privileged=False,
            mem_limit=limits.memory_bytes,
            memswap_limit=limits.memory_bytes,
            pids_limit=limits.processes,
            ulimits=[files],
            log_config=docker.types.LogConfig(type="none"),
            auto_remove=True,
            init=False,
        ),
        # A /proc for each sandbox can be mounted only where the container's own is whole. Who could make use of
        # that is root of this machine, and no process of the container stays root.
        "MaskedPaths": [],
        "ReadonlyPaths": [],
    }


class DockerBackend(DaemonBackend):
    """A daemon in a container of its own.

    Args:
        limits: Of the container.

    Attributes:
        container: Its id.

    Raises:
        SandboxError: Docker cannot be had, or does not enforce all of the wall; the message says more.
    """

    name = "docker"

    def __init__(self, limits: ContainerLimits | None = None) -> None:
        limits = limits or ContainerLimits()
        with contextlib.ExitStack() as undo:
            client = undo.enter_context(contextlib.closing(docker_client()))
            try:
                image, info = find_image(client), client.info()
                with Handover() if runs_here(info) else contextlib.nullcontext() as handover:
                    self.container = _create(client, image, container_options(client, info, limits), handover)
                    undo.callback(_remove, client, self.container)
                    streams = ContainerLink(_start(client, self.container))
                    undo.callback(streams.close)
                    require_wall(streams.hello, limits)
                    link = streams
                    if handover is not None and streams.hello["handed_over"]:
                        link = HandedOverLink(handover.take(), streams)
            except _errors().DockerException as error:
                raise SandboxError(f"Docker refuses the sandbox: {error}") from error
            except OSError as error:
                raise SandboxError(f"the container does not start: {error}") from error
            machine, manifest = streams.hello["machine"], json.loads(streams.hello["manifest"])
            daemon = DaemonClient(link, strace=STRACE, bwrap=BWRAP, base=BASE, machine=machine)
            client.close()  # its idle connections; it may be used again
            self._undo = undo.pop_all()
        super().__init__(daemon, image._replace(manifest=manifest))

    def close(self) -> None:
        """End the daemon and its container, and with it every sandbox; may be called twice."""
        super().close()
        self._undo.close()


def require_wall(found: dict[str, str], limits: ContainerLimits) -> None:
    """Compare what the relay saw around it with what was asked for.

    Args:
        found: As ``look_around`` of the relay tells it.
        limits: Of the container.

    Raises:
        SandboxError: Something is not enforced.
    """
    expected = {
        "capabilities": f"{1 << 6 | 1 << 7:016x}",
        "no_new_privileges": "1",
        "seccomp": "2",
        "interfaces": "lo",
        "read_only": "True",
        "memory": str(limits.memory_bytes),
        "memory_and_swap": str(limits.memory_bytes),
        "processes": str(limits.processes),
    }
    for name, value in expected.items():
        if found[name] != value:
            raise SandboxError(
                f"Docker does not enforce {name.replace('_', ' ')} of the container: found {found[name] or 'nothing'}, "
                f"expected {value}; nothing runs without it"
            )


def _create(client: Any, image: SystemImage, options: dict[str, Any], handover: Handover | None) -> str:
    """A container, not started; answers its id. Those that others left behind are removed before."""
    from agentsafe_envs.bash.sandbox import reaper

    reaper.reap(client)

    def create(**options: Any) -> dict[str, Any]:
        return client.create_container(
            image.digest,
            entrypoint=[PYTHON, "-E", "-s", "-S", "-B", "-c", BOOTSTRAP],
            command=[],
            user="0:0",
            working_dir="/",
            hostname="host",
            stdin_open=True,
            environment={},
            labels=reaper.owner_here().labels,
            host_config=options,
        )

    if handover is None:
        created = create(**options)
    else:
        try:
            created = create(**options, Mounts=[handover.mount])
        except _errors().APIError:  # Docker has files of its own, as snap's has; what else is wrong comes again
            created = create(**options)
    if warnings := created.get("Warnings"):
        _remove(client, created["Id"])
        raise SandboxError(f"Docker does not enforce the sandbox: {' '.join(warnings)}")
    return created["Id"]


def _start(client: Any, container: str) -> socket.socket:
    """Start a container; answers a socket with its standard streams.

    Once that is closed the container's input ends, and with it the relay, whatever became of this process.
    """
    attached = client.attach_socket(container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
    streams = attached._sock.dup()
    attached._sock.close()
    attached.close()
    try:
        client.start(container)
    except BaseException:
        streams.close()
        raise
    return streams


def _remove(client: Any, container: str) -> None:
    """Remove it, and return when it is gone; it may be removing itself already."""
    with contextlib.suppress(_errors().APIError, OSError):
        try:
            client.remove_container(container, force=True)
        except _errors().NotFound:
            return
        except _errors().APIError:  # a conflict with its own removal
            client.wait(container, timeout=REMOVAL_S, condition="removed")


def _errors() -> Any:
    """The SDK's exceptions; it is imported by nothing but this world."""
    import docker.errors

    return docker.errors
