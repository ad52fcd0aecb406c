"""Ways out of a sandbox. Each attempt prints ESCAPED if it got anywhere; none may."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agentsafe_envs.bash.sandbox import seccomp
from agentsafe_envs.bash.sandbox.base import Backend
from agentsafe_envs.bash.sandbox.machine import Machine

SECRET = "canary-of-the-host"


class Host(NamedTuple):
    """What an escape could reach."""

    file: Path
    port: int
    port6: int
    abstract: str
    process: int


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host")
    file = folder / "secret"
    file.write_text(SECRET)
    listeners = [socket.create_server(("127.0.0.1", 0))]
    try:
        listeners.append(socket.create_server(("::1", 0), family=socket.AF_INET6))
    except OSError:  # a machine without IPv6: the attempt must fail all the same
        listeners.append(socket.create_server(("127.0.0.1", 0)))
    abstract = f"agentsafe-{os.getpid()}"
    for address in (f"\0{abstract}", str(folder / "socket")):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen()
        listeners.append(listener)
    bystander = subprocess.Popen(["sleep", "600"])
    yield Host(file, listeners[0].getsockname()[1], listeners[1].getsockname()[1], abstract, bystander.pid)
    assert bystander.poll() is None, "a process of the host was killed"
    bystander.kill()
    bystander.wait()
    assert file.read_text() == SECRET
    for listener in listeners:
        listener.close()


def python(code: str) -> str:
    """A command that runs ``code``; any exception counts as not having got out."""
    body = textwrap.indent(textwrap.dedent(code).strip(), "    ")
    return (
        "python3 - <<'END'\nimport ctypes, os, socket, struct, sys\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"def escaped():\n    print('ESCAPED', flush=True)\ntry:\n{body}\nexcept (OSError, AssertionError) as e:\n"
        "    print('held', e)\nEND"
    )


def call(name: str, *arguments: str) -> str:
    """A command that makes a system call by its number; success is an escape."""
    number = seccomp.numbers(platform.machine())[name]
    return python(f"""
        r = libc.syscall({", ".join([str(number), *arguments])})
        escaped() if r >= 0 else print('held', os.strerror(ctypes.get_errno()))
    """)


NETWORK = {
    "tcp to the host": python("socket.create_connection(('127.0.0.1', {port}), 2); escaped()"),
    "tcp6 to the host": python("socket.create_connection(('::1', {port6}), 2); escaped()"),
    "tcp to the internet": python("socket.create_connection(('192.0.2.1', 80), 2); escaped()"),
    "udp": python("socket.socket(2, 2).sendto(b'x', ('192.0.2.1', 53)); escaped()"),
    "names": "getent hosts example.org && echo ESCAPED",
    "broadcast": python(
        "s = socket.socket(2, 2); s.setsockopt(1, 6, 1); s.sendto(b'x', ('255.255.255.255', 9)); escaped()"
    ),
    "abstract socket": python("s = socket.socket(1); s.connect(b'\\0{abstract}'); escaped()"),
    "socket file": python("s = socket.socket(1); s.connect('{file}'.replace('secret', 'socket')); escaped()"),
    "packets": python("socket.socket(17, 3, 0x300); escaped()"),
    "raw ip": python("socket.socket(2, 3, 1); escaped()"),
    "log of the machine's audit": python("s = socket.socket(16, 3, 9); s.bind((0, 1)); escaped()"),
    "events of the machine's processes": python("""
        s = socket.socket(16, 2, 11)
        s.bind((0, 1))
        s.settimeout(1)
        s.send(struct.pack('IHHII6I', 40, 3, 0, 0, 0, 1, 1, 0, 0, 4, 1))
        s.recv(999)
        escaped()
    """),
    "vsock": python("socket.socket(40, 1); escaped()"),
    "kernel crypto": python("socket.socket(38, 5); escaped()"),
    "interfaces": "ls /sys/class/net 2>&- && echo ESCAPED; [ $(grep -c : /proc/net/dev) = 1 ] || echo ESCAPED",
}

FILES = {
    "by its path": "cat {file} && echo ESCAPED",
    "root of the first process": "cat /proc/1/root{file} && echo ESCAPED",
    "directory of the first process": "cat /proc/1/cwd{file} && echo ESCAPED",
    "above the root": "cat /../../../..{file} /proc/self/root/..{file} && echo ESCAPED",
    "inherited descriptors": (
        "for d in /proc/*/fd/*; do cat $d/../../..{file} $d{file} 2>&-; done | grep canary && echo ESCAPED"
    ),
    "descriptor of a folder": python("""
        for n in range(3, 256):
            try:
                os.fchdir(n)
            except OSError:
                continue
            escaped()
    """),
    "chroot twice": python("os.mkdir('/tmp/x'); f = os.open('/', 0); os.chroot('/tmp/x'); os.fchdir(f); escaped()"),
    "handle of a file": python("""
        handle = struct.pack('Ii', 8, 1) + struct.pack('II', 2, 0) + bytes(120)
        mount = os.open('/usr', 0)
        f = libc.syscall(304, mount, handle, 0)
        escaped() if f >= 0 else print('held')
    """),
    "disk by device number": "mknod /tmp/d b 254 0 && head -c 1 /tmp/d && echo ESCAPED",
    "memory by device number": "mknod /tmp/m c 1 1 && head -c 1 /tmp/m && echo ESCAPED",
    "memory of the kernel": "head -c 4096 /proc/kcore | grep -q . && echo ESCAPED",
    "kernel log": "dmesg 2>&- | grep -q . && echo ESCAPED; head -c 1 /dev/kmsg 2>&- && echo ESCAPED",
    "writing programs": "echo x > /usr/bin/evil && echo ESCAPED; rm -f /usr/bin/ls; ls / > /dev/null || echo ESCAPED",
    "replacing programs": "mv /usr/bin /usr/old 2>&- && echo ESCAPED; mount -o remount,rw /usr 2>&- && echo ESCAPED",
    "overlaying programs": "mount --bind /srv /usr/bin && echo ESCAPED",
    "device nodes": "rm /dev/null 2>&-; echo x > /dev/evil 2>&- && echo ESCAPED; [ -c /dev/null ] || echo ESCAPED",
    "settings of the kernel": (
        "for f in vm/drop_caches vm/overcommit_memory kernel/printk kernel/pid_max kernel/hostname kernel/modprobe "
        "fs/file-max; do echo 1 > /proc/sys/$f && echo ESCAPED; done"
    ),
    "pages of memory": "head -c 8 /proc/kpageflags | grep -q . && echo ESCAPED",
    "core pattern": "echo '|/bin/sh' > /proc/sys/kernel/core_pattern && echo ESCAPED",
    "binary formats": "echo x > /proc/sys/fs/binfmt_misc/register && echo ESCAPED",
    "sysrq": "echo h > /proc/sysrq-trigger && echo ESCAPED",
    "cgroups": "mkdir /tmp/c; mount -t cgroup n /tmp/c && echo ESCAPED; mount -t cgroup2 n /tmp/c && echo ESCAPED",
    "sysfs and debugfs": "mount -t sysfs none /mnt && echo ESCAPED; mount -t debugfs none /mnt && echo ESCAPED",
    "link out of proc": "ln /proc/1/exe /tmp/e && echo ESCAPED; ln -s {file} /srv/l; cat /srv/l && echo ESCAPED",
}

PROCESSES = {
    "signal to a host process": "kill -9 {process} && echo ESCAPED",
    "signal to everybody": "setsid bash -c 'trap \"\" TERM; kill -TERM -1; kill -9 -1'; true",
    "signal to every number": "for p in $(seq 3 40000); do [ $p = $$ ] || kill -9 $p; done 2>&-; true",
    "signal to the first process": "kill -9 1; kill -SEGV 1; sleep 0.1; [ -d /proc/1 ] || echo ESCAPED",
    "seeing others": "[ $(ls -d /proc/[0-9]* | wc -l) -lt 8 ] || echo ESCAPED; [ -d /proc/{process} ] && echo ESCAPED",
    "environment of the first process": "grep -az . /proc/1/environ && echo ESCAPED",
    "command line of the first process": "tr '\\0' ' ' < /proc/1/cmdline | grep -E '/mnt|tmp|strace' && echo ESCAPED",
    "the tracer's number": "grep TracerPid /proc/*/status | grep -v '[^0-9]0$' && echo ESCAPED",
    "ptrace": python("r = libc.ptrace(16, 1, 0, 0); escaped() if r == 0 else print('held')"),
    "ptrace of the shell": python(
        "r = libc.ptrace(0x4206, os.getppid(), 0, 0); escaped() if r == 0 else print('held')"
    ),
    "being traced by another": python("r = libc.ptrace(0, 0, 0, 0); escaped() if r == 0 else print('held')"),
    "memory of the first process": python("f = open('/proc/1/mem', 'r+b', 0); f.seek(4096); f.write(b'x'); escaped()"),
    "reading another's memory": call("process_vm_readv", "os.getppid()", "0", "0", "0", "0", "0"),
    "another's descriptors": call("pidfd_getfd", "os.pidfd_open(1)", "0", "0"),
    "lower out-of-memory score": "echo -1000 > /proc/self/oom_score_adj && echo ESCAPED",
    "real-time priority": python("os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)); escaped()"),
    "negative niceness": python("os.setpriority(0, 0, -20); escaped()"),
    "higher limits": "for o in '-u 10000' '-v unlimited' '-n 9999' '-f unlimited'; do ulimit $o && echo ESCAPED; done",
    "typing on a terminal": python("import fcntl; f = os.open('/dev/tty', 2); fcntl.ioctl(f, 0x5412, b'x'); escaped()"),
    "the controlling terminal": "echo x > /dev/tty && echo ESCAPED",
}

PRIVILEGES = {
    "user that no sandbox has": python("os.setuid(70000); escaped()"),
    "group that no sandbox has": python("os.setgroups([70000]); escaped()"),
    "root again after another user": python("os.setresuid(1000, 1000, 1000); os.setuid(0); escaped()"),
    "file of root's as another user": "su ann -c 'cat /etc/shadow 2>&-' && echo ESCAPED",
    "rights by su": "su ann -c 'su root -c id </dev/null' 2>&1 | grep uid=0 && echo ESCAPED",
    "set-user-id program": (
        "cp /usr/bin/cat /tmp/c; chown ann /tmp/c; chmod 6755 /tmp/c; grep -h Uid /proc/self/status > /tmp/a; "
        "/tmp/c /proc/self/status | grep Uid | cmp - /tmp/a || echo ESCAPED"
    ),
    "capabilities of a file": python("""
        value = struct.pack('<5I', 0x02000001, 0x200000, 0, 0, 0)
        os.setxattr('/srv/site/run.sh', 'security.capability', value)
        escaped()
    """),
    "capabilities by exec": "grep CapEff /proc/self/status | grep -v 00000000000000fb && echo ESCAPED",
    "ambient capability": python("r = libc.prctl(47, 2, 21, 0, 0); escaped() if r == 0 else print('held')"),
    "capset": python("""
        head = struct.pack('Ii', 0x20080522, 0)
        r = libc.capset(head, b'\\xff' * 24)
        escaped() if r == 0 else print('held')
    """),
    "maps of users": "for f in uid_map gid_map setgroups; do echo 0 0 1 > /proc/self/$f && echo ESCAPED; done",
    "user namespace": "unshare -U true && echo ESCAPED; unshare -Ur id && echo ESCAPED",
    "other namespaces": "for f in -m -p -n -i -u -C -T; do unshare $f true && echo ESCAPED; done",
    "namespace by clone": python("""
        for flag in (0x10000000, 0x00020000, 0x40000000, 0x20000000):
            r = libc.syscall(56 if os.uname().machine == 'x86_64' else 220, flag | 17, 0, 0, 0, 0)
            if r == 0:
                os._exit(0)
            escaped() if r > 0 else print('held')
    """),
    "more namespaces by the setting": "echo 100 > /proc/sys/user/max_user_namespaces && echo ESCAPED",
    "joining a namespace": python("""
        for name in os.listdir('/proc/1/ns'):
            r = libc.setns(os.open('/proc/1/ns/' + name, 0), 0)
            escaped() if r == 0 else print('held')
    """),
    "host name": "hostname evil && echo ESCAPED",
    "the clock": "date -s '2001-01-01' > /dev/null && echo ESCAPED",
    "modules": call("init_module", "0", "0", "0"),
    "another kernel": call("kexec_load", "0", "0", "0", "0"),
    "reboot": call("reboot", "0xfee1dead", "672274793", "0x4321fedc", "0"),
    "swap": call("swapon", "b'/srv/f'", "0"),
}

UNSEEN = {
    "keys that outlive the sandbox": call("add_key", "b'user'", "b'a'", "b'b'", "1", "-4"),
    "the keyring": call("keyctl", "0", "-4", "1"),
    "io_uring": call("io_uring_setup", "1", "(ctypes.c_char * 120)()"),
    "a filter before the tracer's": call("seccomp", "1", "8", "b''"),
    "a filter by prctl": python("r = libc.prctl(22, 2, b'', 0, 0); escaped() if r == 0 else print('held')"),
    "an untraced child": python("""
        r = libc.syscall(56 if os.uname().machine == 'x86_64' else 220, 0x00800000 | 17, 0, 0, 0, 0)
        if r == 0:
            os._exit(0)
        escaped() if r > 0 else print('held')
    """),
    "clone3": call("clone3", "(ctypes.c_uint64 * 8)(0, 0, 0, 0, 17)", "64"),
    "calls newer than the tracer": python("""
        for number in (451, 452, 463, 466, 469, 600):
            r = libc.syscall(number, -100, b'/srv/site/run.sh', 0o777, 0)
            escaped() if r >= 0 or ctypes.get_errno() != 38 else print('held')
    """),
    "32-bit calls": python("""
        import mmap
        assert os.uname().machine == 'x86_64'
        # mov eax, 20 (getpid); int 0x80; ret
        m = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE, prot=7)
        m.write(bytes.fromhex('b814000000cd80c3'))
        f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
        r = f()
        escaped() if r > 0 else print('held', r)
    """),
    "x32 calls": python("""
        assert os.uname().machine == 'x86_64'
        r = libc.syscall(0x40000000 + 39)
        escaped() if r > 0 else print('held')
    """),
    "programs in the kernel": call("bpf", "0", "(ctypes.c_char * 64)()", "64"),
    "counters": call("perf_event_open", "(ctypes.c_char * 128)(0, 0, 0, 0, 128)", "0", "-1", "-1", "0"),
    "handling page faults": call("userfaultfd", "0"),
    "memory that nobody is charged for": call("memfd_create", "b'x'", "0"),
    "memory that stays when it is unmapped": python("import mmap; mmap.mmap(-1, 4096); escaped()"),
    "shared memory of System V": call("shmget", "0", "4096", "0o1777"),
    "opening without a path": call("open_by_handle_at", "-100", "b''", "0"),
}

ATTEMPTS = {**NETWORK, **FILES, **PROCESSES, **PRIVILEGES, **UNSEEN}


def test_there_are_many_attempts() -> None:
    assert len(ATTEMPTS) == sum(map(len, (NETWORK, FILES, PROCESSES, PRIVILEGES, UNSEEN))) >= 80


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_nothing_gets_out(machine: Machine, backend: Backend, host: Host, attempt: str) -> None:
    command = ATTEMPTS[attempt]
    for name, value in host._asdict().items():
        command = command.replace(f"{{{name}}}", str(value))
    result = machine.step(f"( {command}\n)").result
    said = result.stdout + result.stderr
    assert b"ESCAPED" not in said, said
    assert SECRET.encode() not in said
    assert b"Traceback" not in said, "the attempt itself is broken"
    assert result.end in ("done", "exit"), said
    assert machine.step("echo on").result.stdout == b"on\n"


def test_attempts_would_succeed_outside(host: Host) -> None:
    # The network and file attempts are real: the same clients reach the same targets from here.
    assert socket.create_connection(("127.0.0.1", host.port), 2).close() is None
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0{host.abstract}")
    assert subprocess.run(["cat", host.file], capture_output=True, check=True).stdout.decode() == SECRET
    os.kill(host.process, 0)
