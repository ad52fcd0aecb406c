"""What only the second wall promises. What every sandbox promises is tested on both, in the other files."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import docker.errors
import pytest

from agentsafe_envs.bash.files.start import Start
from agentsafe_envs.bash.sandbox import docker as backend_module
from agentsafe_envs.bash.sandbox.base import Limits, SandboxError
from agentsafe_envs.bash.sandbox.docker import (
    CONTAINER_CAPABILITIES,
    IMAGE,
    IMAGE_VARIABLE,
    PYTHON,
    ContainerLimits,
    DockerBackend,
    container_options,
    docker_client,
    require_wall,
    seccomp_profile,
)
from agentsafe_envs.bash.sandbox.handover import Handover
from agentsafe_envs.bash.sandbox.machine import Machine

LIMITS = ContainerLimits(memory_bytes=1 << 30, processes=200)
INFO = {"Architecture": "x86_64", "SecurityOptions": ["name=seccomp,profile=builtin"]}
needs_docker = pytest.mark.needs("docker")


HERE_OR_NOT = {"params": [True, False], "ids": ["here", "elsewhere"]}
"""Docker on this machine, and Docker as it is on another kernel: its streams carry everything."""


@pytest.fixture(scope="module", **HERE_OR_NOT)
def backend(request: pytest.FixtureRequest) -> Iterator[DockerBackend]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend_module, "runs_here", lambda info: request.param)
        backend = DockerBackend()
    yield backend
    backend.close()


@pytest.fixture
def client() -> Iterator[Any]:
    with closing(docker_client()) as client:
        yield client


def options(**info: Any) -> dict[str, Any]:
    return container_options(docker.APIClient(version="1.41"), INFO | info, LIMITS)


# The wall, as it is asked for.


def test_container_has_no_network_and_two_capabilities() -> None:
    found = options()
    assert (found["NetworkMode"], found["CapDrop"], found["CapAdd"]) == ("none", ["ALL"], list(CONTAINER_CAPABILITIES))
    assert not found.get("Privileged")
    assert {"Binds", "VolumesFrom", "Devices", "PidMode", "Mounts"}.isdisjoint(found)


def test_container_is_read_only_keeps_no_log_and_removes_itself() -> None:
    found = options()
    assert (found["ReadonlyRootfs"], found["AutoRemove"], found["IpcMode"]) == (True, True, "none")
    assert found["LogConfig"]["Type"] == "none"


def test_limits_reach_docker_and_swap_is_none() -> None:
    found = options()
    assert found["Memory"] == found["MemorySwap"] == LIMITS.memory_bytes
    assert found["PidsLimit"] == LIMITS.processes


def test_privileges_cannot_grow_and_apparmor_is_named_only_where_it_is() -> None:
    assert "no-new-privileges" in options()["SecurityOpt"]
    assert "apparmor=unconfined" not in options()["SecurityOpt"]
    assert "apparmor=unconfined" in options(SecurityOptions=["name=apparmor"])["SecurityOpt"]


def test_filter_of_the_container_refuses_what_only_isolating_needs_not() -> None:
    refused = set(json.loads(seccomp_profile("x86_64"))["syscalls"][0]["names"])
    assert {"bpf", "keyctl", "io_uring_setup", "init_module", "iopl", "setns", "open_by_handle_at"} <= refused
    assert {"mount", "unshare", "ptrace", "read"}.isdisjoint(refused)


FOUND = {
    "capabilities": "00000000000000c0",
    "no_new_privileges": "1",
    "seccomp": "2",
    "interfaces": "lo",
    "read_only": "True",
    "memory": str(LIMITS.memory_bytes),
    "memory_and_swap": str(LIMITS.memory_bytes),
    "processes": str(LIMITS.processes),
}


def refusal(found: dict[str, str]) -> str:
    """Why a wall is refused; empty if it is accepted."""
    try:
        require_wall(found, LIMITS)
    except SandboxError as error:
        return str(error)
    return ""


def test_whole_wall_is_accepted() -> None:
    assert refusal(FOUND) == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("capabilities", "00000000a80425fb"),
        ("no_new_privileges", "0"),
        ("seccomp", "0"),
        ("interfaces", "eth0 lo"),
        ("read_only", "False"),
        ("memory", "max"),
        ("memory_and_swap", ""),
        ("processes", "max"),
    ],
)
def test_wall_without_a_part_is_refused(name: str, value: str) -> None:
    assert f"does not enforce {name.replace('_', ' ')}" in refusal(FOUND | {name: value})


@needs_docker
@pytest.mark.parametrize(
    ("change", "promise"),
    [
        ({"CapAdd": ["SETGID", "SETUID", "SYS_ADMIN"]}, "capabilities"),
        ({"ReadonlyRootfs": False}, "read only"),
        ({"NetworkMode": "host"}, "interfaces"),
        ({"PidsLimit": 100_000}, "processes"),
        ({"SecurityOpt": ["seccomp=unconfined", "no-new-privileges"]}, "seccomp"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_weaker_container_is_noticed_from_inside_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, client: Any, change: dict[str, Any], promise: str
) -> None:
    whole = backend_module.container_options
    monkeypatch.setattr(backend_module, "container_options", lambda *arguments: whole(*arguments) | change)
    before = owned(client)
    with pytest.raises(SandboxError, match=promise):
        DockerBackend()
    assert owned(client) == before


@needs_docker
def test_warning_of_docker_is_a_refusal(monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    create = docker.APIClient.create_container
    monkeypatch.setattr(
        docker.APIClient, "create_container", lambda *a, **k: create(*a, **k) | {"Warnings": ["no swap limit"]}
    )
    before = owned(client)
    with pytest.raises(SandboxError, match="no swap limit"):
        DockerBackend()
    assert owned(client) == before


# What stands against it is told with the cure.


def test_docker_that_does_not_answer_is_told_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    with pytest.raises(SandboxError, match="start Docker"):
        DockerBackend()


def test_missing_sdk_is_told_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "docker", None)
    with pytest.raises(SandboxError, match=r"pip install .*\[docker\]"):
        DockerBackend()


@needs_docker
def test_missing_image_is_told_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(IMAGE_VARIABLE, "agentsafe/no-such-image")
    with pytest.raises(SandboxError, match="agentsafe sandbox build --docker"):
        DockerBackend()


@needs_docker
def test_image_without_what_the_daemon_needs_is_refused_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    monkeypatch.setattr(backend_module, "PYTHON", "/no/python")
    before = owned(client)
    with pytest.raises(SandboxError, match="/no/python"):
        DockerBackend()
    assert owned(client) == before


# The container, as it is.


@needs_docker
def test_no_process_of_the_container_stays_root(backend: DockerBackend, client: Any) -> None:
    with Machine(backend, Start()) as machine:
        machine.step("sleep 60 &")
        found = client.top(backend.container, "-eo uid,pid,args")["Processes"]
    assert len(found) > 4
    assert "0" not in {user for user, *_ in found}


@needs_docker
def test_nothing_is_logged_or_written(backend: DockerBackend, client: Any) -> None:
    with Machine(backend, Start()) as machine:
        machine.step("yes | head -c 30000000; echo x > /srv/f")
    found = client.inspect_container(backend.container)
    assert not found.get("LogPath")
    with pytest.raises(docker.errors.APIError):
        client.logs(backend.container)
    assert not client.diff(backend.container)


@needs_docker
def test_folder_that_the_container_is_shown_is_gone_once_it_runs(backend: DockerBackend, client: Any) -> None:
    shown = client.inspect_container(backend.container)["Mounts"]
    assert all(not each["RW"] and not Path(each["Source"]).exists() for each in shown)
    daemon = client.inspect_container(backend.container)["State"]["Pid"]
    assert os.listdir(f"/proc/{daemon}/root/media") == []


@needs_docker
def test_docker_that_cannot_show_a_folder_carries_everything_by_its_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handover, "mount", {"Type": "bind", "Source": "/no/such", "Target": "/media"})
    backend = DockerBackend()
    try:
        with Machine(backend, Start()) as machine:
            assert machine.step("echo on").result.stdout == b"on\n"
    finally:
        backend.close()


@needs_docker
def test_system_is_described_with_the_digest_of_the_image(backend: DockerBackend, client: Any) -> None:
    said = backend.system.describe()
    assert said.startswith("bookworm, ")
    assert said.endswith(client.inspect_image(IMAGE)["Id"])


@needs_docker
def test_network_is_denied_where_a_control_container_reaches_it(backend: DockerBackend, client: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 3); print('reached')"
        assert "reached" in output_of(client, code, network_mode="host")
        assert "reached" not in output_of(client, code, network_mode="none")
        with Machine(backend, Start()) as machine:
            said = machine.step(f'python3 -c "{code}"').result
        assert b"reached" not in said.stdout
        assert b"refused" in said.stderr or b"unreachable" in said.stderr


HOSTILE = ("python3", "strace", "bwrap", "sh", "bash", "tar", "env")


@needs_docker
def test_programs_and_path_of_a_hostile_image_are_never_resolved(monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    folders = ("evil", "usr/local/bin", "usr/local/sbin", "system/evil", "system/usr/local/bin")
    scripts = {f"{folder}/{name}": "#!/bin/false\n" for folder in folders for name in HOSTILE}
    lines = [f"FROM {IMAGE}", "ENV PATH=/evil:/system/evil LD_LIBRARY_PATH=/evil PYTHONPATH=/evil PYTHONHOME=/evil"]
    lines += ["COPY evil /evil", "COPY usr /usr", "COPY system /system", "COPY evil/sh /usr/bin/dash"]
    lines += ['ENTRYPOINT ["/evil/sh"]', "WORKDIR /evil"]
    scripts["evil/marshal.py"] = scripts["evil/os.py"] = "raise SystemExit('evil')"
    context = context_of(scripts | {"Dockerfile": "\n".join(lines)})
    said = list(client.build(fileobj=context, custom_context=True, tag="agentsafe/hostile", rm=True, decode=True))
    assert not [line for line in said if "error" in line]
    try:
        monkeypatch.setenv(IMAGE_VARIABLE, "agentsafe/hostile")
        backend = DockerBackend()
        try:
            with Machine(backend, Start()) as machine:
                step = machine.step("type -P sh python3; chmod 700 /srv; sh -c 'echo on'")
            assert step.result.stdout == b"/usr/bin/sh\n/usr/bin/python3\non\n"
            assert [call.ancestry[-1] for call in step.calls if call.name == "fchmodat"] == ["/usr/bin/chmod"]
        finally:
            backend.close()
    finally:
        client.remove_image("agentsafe/hostile", force=True)


# Its end, and what was left.

OWNER = """
import sys, time
from agentsafe_envs.bash.sandbox import docker
from agentsafe_envs.bash.sandbox.machine import Machine
from agentsafe_envs.bash.files.start import Start
docker.runs_here = lambda info: sys.argv[1] == "True"
backend = docker.DockerBackend()
machine = Machine(backend, Start())
machine.step("sleep 600 &")
print(backend.container, flush=True)
time.sleep(600)
"""


@pytest.fixture(**HERE_OR_NOT)
def owner(request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process with a container, and the container's id."""
    command = [sys.executable, "-c", OWNER, str(request.param)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    container = process.stdout.readline().strip()
    yield process, container
    process.kill()
    process.communicate()


@needs_docker
def test_container_ends_with_its_owner_however_that_ends(
    owner: tuple[subprocess.Popen[str], str], client: Any, comes_to: Any
) -> None:
    process, container = owner
    assert is_there(client, container)
    process.send_signal(signal.SIGKILL)
    comes_to(lambda: is_there(client, container), False)


def hang(client: Any, container: str) -> None:
    """Freeze a container. The kernel may not manage it at once on a busy computer, and then Docker gives up."""
    from docker.errors import APIError

    for _ in range(20):
        try:
            client.pause(container)
            return
        except APIError as error:
            if "unable to freeze" not in str(error):
                raise
            time.sleep(0.1)
    pytest.fail("the container could not be frozen")


@needs_docker
def test_container_that_hangs_is_reaped_once_its_owner_is_gone(
    owner: tuple[subprocess.Popen[str], str], client: Any, comes_to: Any
) -> None:
    process, container = owner
    hang(client, container)
    DockerBackend().close()
    assert is_there(client, container), "its owner lives"
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # till it is waited for, no other test's start reaps
    time.sleep(0.3)
    assert is_there(client, container), "nothing was left to reap"
    process.wait()
    DockerBackend().close()
    comes_to(lambda: is_there(client, container), False)  # perhaps another test's start is at it


@needs_docker
@pytest.mark.parametrize("here", [True, False])
def test_closing_removes_the_container_and_its_descriptors(
    monkeypatch: pytest.MonkeyPatch, client: Any, here: bool
) -> None:
    monkeypatch.setattr(backend_module, "runs_here", lambda info: here)
    DockerBackend().close()
    client.close()
    held, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    backend = DockerBackend()
    with Machine(backend, Start()) as machine:
        machine.step("true")
    backend.close()
    backend.close()
    assert (len(os.listdir("/proc/self/fd")), threading.active_count()) == (held, threads)
    assert not is_there(client, backend.container)


@needs_docker
@pytest.mark.parametrize("here", [True, False])
def test_container_that_was_removed_is_a_fault_of_the_sandbox(
    monkeypatch: pytest.MonkeyPatch, client: Any, here: bool
) -> None:
    monkeypatch.setattr(backend_module, "runs_here", lambda info: here)
    backend = DockerBackend()
    try:
        with Machine(backend, Start()) as machine:
            client.remove_container(backend.container, force=True)
            with pytest.raises(SandboxError):
                machine.step("echo on")
        assert not backend.running
        with pytest.raises(SandboxError):
            Machine(backend, Start())
    finally:
        backend.close()


# What goes over the streams.


@needs_docker
def test_output_that_nobody_takes_holds_up_no_other_sandbox(backend: DockerBackend) -> None:
    with Machine(backend, Start()) as loud, Machine(backend, Start()) as other:
        loud.step("(yes & yes >&2 &) ; true")
        time.sleep(0.3)
        assert other.step("echo on").result.stdout == b"on\n"
        assert loud.step("sleep 0.1").result.end in ("done", "output")


@needs_docker
def test_long_commands_and_long_outputs_arrive_whole(backend: DockerBackend) -> None:
    with Machine(backend, Start(), replace(Limits(), command_s=60, output_bytes=32 << 20)) as machine:
        text = "x" * (5 << 20)
        assert machine.step(f"cat <<'END'\n{text}\nEND").result.stdout == f"{text}\n".encode()


# Helpers.


def owned(client: Any) -> set[str]:
    """Containers of this process."""
    labels = {"label": f"agentsafe.owner.pid={os.getpid()}"}
    return {each["Id"] for each in client.containers(all=True, filters=labels)}


def is_there(client: Any, container: str) -> bool:
    try:
        client.inspect_container(container)
    except docker.errors.NotFound:
        return False
    return True


def output_of(client: Any, code: str, **host: Any) -> str:
    """What a container without any wall prints."""
    config = client.create_host_config(**host)
    made = client.create_container(IMAGE, entrypoint=[PYTHON, "-c", code], host_config=config)
    try:
        client.start(made)
        client.wait(made)
        return client.logs(made).decode()
    finally:
        client.remove_container(made, force=True)


def context_of(files: dict[str, str]) -> io.BytesIO:
    """A build context."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content.encode()))
    context.seek(0)
    return context
