"""Using up whatever can be used up. Nothing takes the host down, and the next world is clean.

Limits here are small and enforced by the kernel or the daemon before any of this runs.
"""

from __future__ import annotations

import os
import resource
import textwrap
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.bash.files.start import Start, file
from agentsafe_envs.bash.files.tree import tree_digest
from agentsafe_envs.bash.sandbox.base import MIB, Backend, Limits, SandboxError
from agentsafe_envs.bash.sandbox.bubblewrap import BubblewrapBackend
from agentsafe_envs.bash.sandbox.machine import Machine

LIMITS = Limits(
    command_s=2,
    disk_bytes=8 * MIB,
    inodes=1_000,
    memory_bytes=96 * MIB,
    process_memory_bytes=160 * MIB,
    processes=20,
    cpu_s=3,
)
START = Start(entries=(file("/srv/kept", "kept\n"),))


@pytest.fixture
def small(backend: Backend) -> Iterator[Machine]:
    """A machine with small limits; whatever was done to it, the next one is as new and the daemon as before."""
    with Machine(backend, START, LIMITS) as clean:
        digest = tree_digest(clean.tree)
    with Machine(backend, START, LIMITS) as machine:
        yield machine
    with Machine(backend, START, LIMITS) as after:
        assert tree_digest(after.tree) == digest
        assert after.step("cat /srv/kept; echo /proc/[0-9]*").result.stdout == b"kept\n/proc/1 /proc/2\n"


@pytest.mark.parametrize(
    "command",
    [
        ":(){ :|:& };:",
        pytest.param("f() { f & f & wait; }; f", marks=pytest.mark.slow),
        pytest.param("while :; do sleep 60 & done", marks=pytest.mark.slow),
        "python3 -c 'import os\nwhile 1:\n try: os.fork()\n except OSError: pass'",
        pytest.param("perl -e 'fork while 1'", marks=pytest.mark.slow),
        pytest.param("while :; do setsid nohup sleep 60 >/dev/null & done", marks=pytest.mark.slow),
    ],
)
def test_fork_bomb_ends_with_its_time(small: Machine, command: str) -> None:
    started = time.monotonic()
    result = small.step(command).result
    assert time.monotonic() - started < LIMITS.command_s + 10
    assert result.end in ("timeout", "exit", "done", "output", "memory")
    small.advance()
    assert small.step("echo /proc/[0-9]*").result.stdout == b"/proc/1 /proc/2\n"


def test_processes_are_limited(small: Machine) -> None:
    said = small.step("for i in $(seq 60); do sleep 1 & done 2>/dev/null; jobs -r | wc -l").result
    running = int(said.stdout or 0)
    assert running <= LIMITS.processes


@pytest.mark.parametrize(
    "command",
    [
        "x=x; while :; do x=$x$x; done",
        "head -c 200000000 /dev/zero | tail",
        "python3 -c 'x = bytearray(1 << 30)'",
        "sort --buffer-size=1G /dev/zero",
    ],
)
def test_memory_of_one_process_is_limited(small: Machine, command: str) -> None:
    result = small.step(command).result
    assert (result.end, result.status) != ("done", 0)


def test_memory_of_all_processes_together_is_limited(small: Machine) -> None:
    hog = "python3 -c 'import time; x = bytearray(60 << 20); time.sleep(30)' & "
    result = small.step(hog * 4 + "wait").result
    assert (result.end, result.status) == ("memory", None)
    assert small.step("echo on").result.stdout == b"on\n"


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(
            """
            zero, held = os.open("/dev/zero", os.O_RDWR), []
            while True:
                held.append(mmap.mmap(zero, 4 << 20))
                held[-1][:] = bytes(4 << 20)
                address = ctypes.addressof(ctypes.c_char.from_buffer(held[-1]))
                libc.munmap(ctypes.c_void_p(address + 4096), ctypes.c_size_t((4 << 20) - 4096))
                time.sleep(0.02)
            """,
            id="of which one page stays mapped",
        ),
        pytest.param(
            """
            held = [mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE, prot=1 + 2 * (each % 2)) for each in range(30_000)]
            time.sleep(60)
            """,
            id="of the kernel for mappings without number",
        ),
    ],
)
def test_memory_that_hides_is_found(small: Machine, code: str) -> None:
    script = f"import ctypes, mmap, os, threading, time\nlibc = ctypes.CDLL(None)\n{textwrap.dedent(code)}"
    result = small.step(f"python3 - <<'END'\n{script}\nEND").result
    assert (result.end, result.status) == ("memory", None)


def test_memory_of_a_process_whose_first_thread_has_ended_is_found(backend: Backend) -> None:
    code = """
        import ctypes, os, threading, time
        def hog():
            time.sleep(0.3)
            held = bytearray(120 << 20)
            time.sleep(60)
        threading.Thread(target=hog).start()
        ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)
    """
    with Machine(backend, START, replace(LIMITS, process_memory_bytes=512 * MIB)) as machine:
        assert machine.step(f"python3 - <<'END'\n{textwrap.dedent(code)}\nEND").result.end == "memory"


def test_memory_is_limited_between_commands_too(small: Machine) -> None:
    hog = "python3 -c 'import time; time.sleep(0.2); x = bytearray(60 << 20); time.sleep(30)' & "
    small.step(hog * 4)
    time.sleep(1.5)
    assert small.step("echo on").result.end in ("memory", "exit")
    assert small.step("echo on").result.stdout == b"on\n"


@pytest.mark.parametrize("place", ["/srv", "/tmp", "/dev/shm", "/var/tmp", "/root", "/usr/local", "/run"])
def test_disk_is_limited_wherever_one_writes(small: Machine, place: str) -> None:
    result = small.step(f"for i in 1 2 3; do head -c 6000000 /dev/zero > {place}/f$i; done; du -sb {place}").result
    assert b"No space left" in result.stderr
    assert int(result.stdout.split()[0]) <= LIMITS.disk_bytes
    small.step(f"rm {place}/f*")
    assert small.step(f"echo room > {place}/f").result.status == 0


def test_one_file_is_limited(small: Machine) -> None:
    assert small.step("truncate -s 100M /srv/f").result.status != 0
    assert small.step("fallocate -l 100M /srv/f").result.status != 0


def test_files_are_limited_in_number(small: Machine) -> None:
    result = small.step("cd /srv; for i in $(seq 3000); do : > f$i || exit 9; done").result
    assert result.status == 9
    assert len(small.tree) <= LIMITS.inodes


def test_holes_cost_neither_time_nor_memory(small: Machine) -> None:
    started = time.monotonic()
    step = small.step("cd /srv; for i in $(seq 600); do truncate -s 8000000 h$i; done; echo dense > dense")
    assert step.result.end in ("done", "timeout")
    assert time.monotonic() - started < LIMITS.command_s + 5
    holes = [node for path, node in small.tree.items() if path.startswith("/srv/h")]
    assert all(node.content is None for node in holes if node.size)
    assert sum(node.size for node in holes if node.digest) <= 2 * LIMITS.disk_bytes


def test_descriptors_are_limited(small: Machine) -> None:
    result = small.step(
        "python3 -c 'import os\nn = 0\ntry:\n while 1: os.open(\"/etc/passwd\", 0); n += 1\nexcept OSError: print(n)'"
    ).result
    assert 0 < int(result.stdout) < LIMITS.open_files


@pytest.mark.parametrize("size", ["", "pair[0].setsockopt(1, 7, 1 << 25)"])
def test_sockets_full_of_data_count_as_memory(backend: Backend, size: str) -> None:
    code = f"""
        import os, socket, time
        for _ in range(3): os.fork()
        held = []
        try:
            while True:
                pair = socket.socketpair()
                held.append(pair)
                {size}
                pair[0].setblocking(False)
                try:
                    while True:
                        pair[0].send(b"x" * 65536)
                except BlockingIOError:
                    pass
        except OSError:
            time.sleep(1)
    """
    with Machine(backend, START, replace(LIMITS, command_s=20, cpu_s=20)) as machine:  # time enough on a busy computer
        result = machine.step(f"python3 - <<'END'\n{textwrap.dedent(code)}\nEND").result
    assert (result.end, result.status) == ("memory", None)


def test_few_sockets_are_no_memory_to_speak_of(small: Machine) -> None:
    command = "python3 -c 'import socket, time; held = [socket.socketpair() for _ in range(30)]; time.sleep(0.2)'"
    assert small.step(command).result.end == "done"


def test_inotify_of_one_sandbox_leaves_instances_and_watches_to_others(small: Machine) -> None:
    command = "python3 -c 'import ctypes; print(sum(ctypes.CDLL(None).inotify_init() > 0 for _ in range(99)))'"
    assert small.step(command).result.stdout == b"8\n"
    watches = "c = ctypes.CDLL(None); i = c.inotify_init(); os.makedirs('/tmp/w')"
    each = "[os.mkdir(f'/tmp/w/{n}') or c.inotify_add_watch(i, b'/tmp/w/%d' % n, 2) > 0 for n in range(600)]"
    assert small.step(f'python3 -c "import ctypes, os; {watches}; print(sum({each}))"').result.stdout == b"512\n"


def test_processor_time_is_limited(backend: Backend) -> None:
    with Machine(backend, START, replace(LIMITS, cpu_s=1)) as machine:
        machine.step("(while :; do :; done) & true")
        deadline = time.monotonic() + 60  # of a busy machine's time
        while machine.step("jobs -r").result.stdout and time.monotonic() < deadline:
            time.sleep(0.1)
        assert machine.step("jobs -r").result.stdout == b""


@pytest.mark.parametrize("command", ["yes", "cat /dev/zero >&2", "yes | tee /dev/stderr", "while :; do echo x; done"])
def test_output_without_end_is_ended(small: Machine, command: str) -> None:
    result = small.step(command).result
    assert result.end in ("output", "timeout")
    assert len(result.stdout) <= LIMITS.output_bytes
    assert len(result.stderr) <= LIMITS.output_bytes


@pytest.mark.slow
def test_flood_of_traced_calls_slows_only_its_author(small: Machine) -> None:
    step = small.step("python3 -c \"import os\nwhile 1: os.chmod('/srv/kept', 0o600); os.chmod('/srv/kept', 0o644)\"")
    assert step.result.end in ("timeout", "trace")
    assert len([call for call in step.calls if call.paths == ("/srv/kept",)]) > 100
    assert small.step("echo on").result.stdout == b"on\n"


def test_deep_folders_are_read_to_a_depth_and_marked(small: Machine) -> None:
    small.step("python3 -c \"import os\nos.chdir('/srv')\nfor i in range(210): os.mkdir('d'); os.chdir('d')\"")
    kinds = {node.kind for path, node in small.tree.items() if "/d" in path}
    assert "unread" in kinds
    small.step("cd /srv; rm -rf d")
    assert not [path for path in small.tree if path.startswith("/srv/d")]


def test_long_paths_are_not_followed_for_ever(small: Machine) -> None:
    code = "import os\nos.chdir('/srv')\nfor i in range(60): os.mkdir('n' * 255); os.chdir('n' * 255)"
    small.step(f'python3 -c "{code}"')
    assert max(map(len, small.tree)) < 5_000
    assert "unread" in {node.kind for node in small.tree.values()}


def test_files_that_block_or_lie_are_not_opened(small: Machine) -> None:
    code = "import socket; socket.socket(1).bind('/srv/s')"
    small.step(
        f'cd /srv; mkfifo p; ln -s p l; ln -s /proc/self/mem m; ln -s loop loop; python3 -c "{code}"; chmod 0 kept'
    )
    kinds = {path: small.tree[f"/srv/{path}"].kind for path in ("p", "l", "m", "loop", "s", "kept")}
    assert kinds == {"p": "fifo", "l": "symlink", "m": "symlink", "loop": "symlink", "s": "socket", "kept": "file"}
    assert small.tree["/srv/kept"].content == b"kept\n"


@pytest.mark.slow
def test_folder_swapped_for_a_link_while_it_is_read_leads_nowhere(small: Machine) -> None:
    swap = (
        "import os\nos.chdir('/srv'); os.mkdir('a'); open('a/in', 'w').close(); os.symlink('/etc', 'b')\n"
        "while 1: os.rename('a', 'c'); os.rename('b', 'a'); os.rename('c', 'b'); "
        "os.rename('a', 'c'); os.rename('b', 'a'); os.rename('c', 'b')"
    )
    small.step(f'python3 -c "{swap}" &')
    for number in range(15):
        step = small.step(f"echo {number} > /srv/n")
        inside = [path for path in step.after if path.startswith(("/srv/a/", "/srv/b/", "/srv/c/"))]
        assert all(path.endswith("/in") for path in inside)


def test_links_made_for_our_own_mounts_lead_nowhere(small: Machine) -> None:
    target = "/oldroot/etc"
    small.step(
        f"mv /etc /srv/etc; ln -s {target} /etc; mv /tmp /srv/t; ln -s /oldroot/tmp /tmp; rm -r /run; ln -s / /run"
    )
    small.step("rm -r /var /home /root /opt /mnt /media; exit")
    assert small.step("echo on; ls -d /etc/passwd 2>&-").result.stdout in (b"on\n", b"")
    assert not Path("/etc/alternatives/agentsafe").exists()


def test_daemons_left_behind_end_with_the_world(backend: Backend, daemon_of: Any, comes_to: Any) -> None:
    daemon = daemon_of(backend)
    with Machine(backend, START, LIMITS) as machine:
        machine.step("for i in 1 2 3; do (setsid sh -c 'trap \"\" TERM HUP; exec -a left-behind sleep 77' &); done")
        assert len(_processes_below(daemon)) > 3
    comes_to(lambda: _processes_below(daemon), [])


def test_child_that_left_its_session_twice_is_gone_before_the_last_look(backend: Backend, daemon_of: Any) -> None:
    code = """
        import os, time
        for _ in range(2):
            if os.fork():
                os._exit(0)
            os.setsid()
        while True:
            open("/srv/alive", "a").write("x")
            time.sleep(0.01)
    """
    with Machine(backend, START, LIMITS) as machine:
        machine.step(f"python3 - <<'END'\n{textwrap.dedent(code)}\nEND\nsleep 0.2")
        assert machine.tree["/srv/alive"].size
        last = machine.advance().after
        assert [each for each in _processes_below(daemon_of(backend)) if _command(each) == "python3"] == []
        assert machine.sandbox.read_tree()["/srv/alive"] == last["/srv/alive"]


def test_killed_tracer_is_a_fault_of_the_sandbox_and_not_a_result(backend: Backend, daemon_of: Any) -> None:
    with Machine(backend, START, LIMITS) as machine:
        (tracer,) = [each for each in _processes_below(daemon_of(backend)) if _command(each).startswith("strace")]
        os.kill(tracer, 9)
        with pytest.raises(SandboxError, match="tracer"):
            machine.step("chmod 600 /srv/kept")
    with Machine(backend, START, LIMITS) as machine:
        assert machine.step("echo on").result.stdout == b"on\n"


def test_killed_daemon_takes_everything_along_and_is_a_fault() -> None:
    held = len(os.listdir("/proc/self/fd"))
    backend = BubblewrapBackend()
    with Machine(backend, START, LIMITS) as machine:
        machine.step("sleep 60 &")
        family = _processes_below(backend.daemon)
        os.kill(backend.daemon, 9)
        with pytest.raises(SandboxError):
            machine.step("exit")
    backend.close()
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{each}").exists() for each in family):
        assert time.monotonic() < deadline, "left behind"
        time.sleep(0.02)
    assert len(os.listdir("/proc/self/fd")) == held


EPISODES = 8


@pytest.mark.parametrize("episodes", [EPISODES, pytest.param(5_000, marks=pytest.mark.slow)])
def test_soak_leaves_nothing_behind(backend: Backend, episodes: int, daemon_of: Any, comes_to: Any) -> None:
    number = daemon_of(backend)

    def held() -> tuple[int, int, int, int]:
        daemon = Path(f"/proc/{number}")
        mounts = (daemon / "mountinfo").read_text().count("\n")
        # Only root may count another user's descriptors, and the daemon is one of the sandboxes' users.
        descriptors = len(os.listdir(daemon / "fd")) if os.geteuid() == 0 else 0
        return len(os.listdir("/proc/self/fd")), descriptors, mounts, len(_processes_below(number))

    def play() -> None:
        with Machine(backend, START, LIMITS) as machine:
            machine.step("echo x > /srv/f; (sleep 600 &) ; chmod 600 /srv/kept")
            machine.step("exit")
            assert machine.step("cat /srv/f").result.stdout == b"x\n"

    play()
    comes_to(lambda: _processes_below(number), [])
    time.sleep(0.2)  # mounts and descriptors follow
    before, memory = held(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(episodes):
        play()
    comes_to(held, before)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 50_000  # KiB


def _processes_below(process: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.parent.name))
    found, left = [], [process]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def _command(process: int) -> str:
    return Path(f"/proc/{process}/comm").read_text()
