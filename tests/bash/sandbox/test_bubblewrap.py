from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from agentsafe_envs.bash.files.start import Start, file
from agentsafe_envs.bash.sandbox.base import Backend, Limits, SandboxError
from agentsafe_envs.bash.sandbox.bubblewrap import (
    CAPABILITIES,
    BubblewrapBackend,
    bwrap_arguments,
    resource_limits,
    strace_arguments,
)
from agentsafe_envs.bash.sandbox.client import find_program, find_programs, local_daemon, subordinate_ids
from agentsafe_envs.bash.sandbox.machine import Machine
from agentsafe_envs.bash.sandbox.rootfs import find_system


def pairs(arguments: list[str], option: str, values: int) -> list[tuple[str, ...]]:
    places = [place for place, argument in enumerate(arguments) if argument == option]
    return [tuple(arguments[place + 1 : place + 1 + values]) for place in places]


ARGUMENTS = bwrap_arguments("/mnt", 7, Start(variables=(("KEY", "v"),), working_directory="/srv"))


def test_every_namespace_is_its_own() -> None:
    assert {"--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"} <= set(ARGUMENTS)
    assert not {"--share-net", "--bind-try"} & set(ARGUMENTS)


def test_only_the_world_and_the_system_are_bound() -> None:
    assert pairs(ARGUMENTS, "--ro-bind", 2) == [("/mnt/usr", "/usr")]
    assert pairs(ARGUMENTS, "--dev-bind", 2) == [("/mnt/dev", "/dev")]
    writable = [("/mnt/7", "/"), ("/mnt/7/usr/local", "/usr/local"), ("/mnt/7/dev/shm", "/dev/shm")]
    assert pairs(ARGUMENTS, "--bind", 2) == writable


def test_capabilities_are_dropped_before_seven_are_given() -> None:
    assert pairs(ARGUMENTS, "--cap-drop", 1) == [("ALL",)]
    assert pairs(ARGUMENTS, "--cap-add", 1) == [(name,) for name in CAPABILITIES]
    assert ARGUMENTS.index("--cap-drop") < ARGUMENTS.index("--cap-add")


def test_environment_is_ours_alone() -> None:
    assert "--clearenv" in ARGUMENTS
    given = dict(pairs(ARGUMENTS, "--setenv", 2))
    assert (given["KEY"], given["TZ"], given["PWD_AT_START"]) == ("v", "UTC", "/srv")
    assert ARGUMENTS.index("--clearenv") < ARGUMENTS.index("--setenv")


def test_command_line_tells_nothing_and_the_trace_has_its_own_way_out() -> None:
    argv = strace_arguments("/usr/bin/strace", "/usr/bin/bwrap", "/mnt/7.trace")
    tracer, sandbox = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    assert pairs(tracer, "-o", 1) == [("/mnt/7.trace",)]
    assert {"--follow-forks", "--seccomp-bpf", "-xx", "-y"} <= set(tracer)
    assert sandbox == [
        "/usr/bin/bwrap",
        "--args",
        "5",
        "--",
        "/usr/bin/bash",
        "--noprofile",
        "--norc",
        "/proc/self/fd/199",
    ]


def test_limits_reach_the_kernel_in_its_units() -> None:
    given = dict(resource_limits(Limits(process_memory_bytes=1 << 28, processes=10, cpu_s=5)))
    assert given["RLIMIT_AS"] == 1 << 28
    assert given["RLIMIT_NPROC"] == 13
    assert given["RLIMIT_CPU"] == 5
    assert given["RLIMIT_CORE"] == 0


@pytest.mark.parametrize(("limit", "value"), [("processes", 0), ("command_s", -1), ("open_files", 64)])
def test_senseless_limit_is_refused(limit: str, value: int) -> None:
    with pytest.raises(ValueError, match=limit):
        Limits(**{limit: value})  # type: ignore[arg-type]


def test_range_of_users_is_found_by_number_and_refused_with_the_way_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "subuid"
    table.write_text("other:1:65536\n4242:7000:100\n4242:200000:65536\n")
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert subordinate_ids(table) == 200_000
    table.write_text("other:1:65536\n")
    with pytest.raises(SandboxError, match="usermod --add-subuids"):
        subordinate_ids(table)


def test_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxError, match="apt-get install bubblewrap"):
        find_program("no-such-bwrap", "bubblewrap")
    several = "no-such-strace and no-such-bwrap are not installed.*apt-get install strace bubblewrap`"
    with pytest.raises(SandboxError, match=several):
        find_programs(**{"no-such-strace": "strace", "no-such-bwrap": "bubblewrap"})


def test_elsewhere_than_on_linux_the_way_to_docker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(SandboxError, match=r"pip install .*\[docker\].*agentsafe sandbox build --docker"):
        local_daemon(None)  # type: ignore[arg-type]


@pytest.mark.needs("bubblewrap")
def test_daemon_that_cannot_have_its_namespace_is_refused_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_range(table: Path) -> int:
        raise SandboxError("no range")

    monkeypatch.setattr("agentsafe_envs.bash.sandbox.client.subordinate_ids", no_range)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SandboxError, match="no range"):
        local_daemon(find_system())
    assert len(os.listdir("/proc/self/fd")) == before


def test_daemon_answers_a_failure_with_what_failed(backend: Backend) -> None:
    start = Start(entries=(file("/srv/a", b"x" * 100_000),))
    with pytest.raises(SandboxError, match="No space left"):
        Machine(backend, start, Limits(disk_bytes=50_000))
    with Machine(backend, Start()) as machine:
        assert machine.step("echo on").result.stdout == b"on\n"


def test_broken_start_directory_does_not_leak_a_world(backend: Backend) -> None:
    start = Start(working_directory="/no/such/place")
    with Machine(backend, start) as machine:
        assert machine.step("pwd").result.stdout == b"/\n"


@pytest.mark.needs("bubblewrap")
def test_shell_starts_with_no_signal_ignored_or_blocked_however_we_were_started() -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGHUP, signal.SIGINT)}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        backend = BubblewrapBackend()  # its daemon inherits that, as under nohup
        with Machine(backend, Start()) as machine:
            said = machine.step("grep -E 'Sig(Ign|Blk)' /proc/self/status").result.stdout
        backend.close()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in before.items():
            signal.signal(number, handler)
    settable = sum(1 << number - 1 for number in signal.valid_signals())  # two more belong to the C library
    assert [int(mask, 16) & settable for mask in said.split()[1::2]] == [0, 0]
