"""What a sandbox promises, looked at from inside before anything runs in it.

Once for each process: the first failed probe refuses the backend and says how to mend it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from agentsafe_envs.bash.files.access import STRANGER, access, shown
from agentsafe_envs.bash.files.start import Start, directory, file
from agentsafe_envs.bash.sandbox.base import Backend, Limits, SandboxError
from agentsafe_envs.bash.sandbox.bubblewrap import BubblewrapBackend
from agentsafe_envs.bash.sandbox.docker import DockerBackend
from agentsafe_envs.bash.sandbox.machine import CommandRun, Machine

PROBE_LIMITS = Limits()
PROBE_TIMEOUT_S = 0.3
_REPORT = "report it: the sandbox should refuse this on every machine"
_BUILD = "run `agentsafe sandbox build`, or install the missing program on this machine"


class Probe(NamedTuple):
    """One promise and how to see that it is kept.

    Attributes:
        promise: In a few words.
        command: Run in a sandbox.
        expected: What it must print, without the last newline.
        fix: What to do where it prints something else.
    """

    promise: str
    command: str
    expected: str
    fix: str = _REPORT


PROBES = (
    Probe("the shell answers", "echo ready", "ready"),
    Probe("chown to any user", "touch /tmp/a; chown 1234:5678 /tmp/a; stat -c %u:%g /tmp/a", "1234:5678"),
    Probe("chmod with all bits", "chmod 6777 /tmp/a; stat -c %a /tmp/a", "6777"),
    Probe(
        "access control lists", "setfacl -m u:1234:rw /tmp/a; getfacl -cp /tmp/a | grep 1234", "user:1234:rw-", _BUILD
    ),
    Probe(
        "seven capabilities and no way to more",
        "grep -E '^(CapPrm|CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\\n\\t'",
        "CapPrm:00000000000000fbCapEff:00000000000000fbNoNewPrivs:1Seccomp:2",
    ),
    Probe("no nested user namespace", "unshare -U true 2>&-; echo $?; cat /proc/sys/user/max_user_namespaces", "1\n0"),
    Probe("no mounting", "mount -t tmpfs none /mnt 2>&-; echo $(($? > 0))", "1"),
    Probe(
        "only its own network",  # without the fallback tunnels that some kernels give each network: they lead nowhere
        "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | "
        "grep -vE '^(erspan|gre|gretap|ip6?_vti|ip6gre|ip6tnl|sit|tunl)0'",
        "lo",
    ),
    Probe("no way out of it", "(exec 3<>/dev/tcp/192.0.2.1/80) 2>&1 | grep -o unreachable | head -1", "unreachable"),
    Probe("only its own processes", "echo /proc/[0-9]*", "/proc/1 /proc/2"),
    Probe("no tracer in sight", "grep -h TracerPid /proc/[12]/status | tr -d '\\n\\t'", "TracerPid:0TracerPid:0"),
    Probe("a process group of its own", "read -r _ _ _ _ group _ < /proc/$$/stat; echo $((group > 0))", "1"),
    Probe("nothing to read in its first process", "cat /proc/1/environ | wc -c", "0"),
    Probe("a closed /usr and /dev", "touch /usr/a /dev/a 2>&1 | grep -c Read-only", "2"),
    Probe("nothing of the machine", "ls /home /media /mnt /opt /srv -A | grep -v :; hostname", "\n\n\n\nhost"),
    Probe(
        "limits of the disk",
        "df --output=size,itotal -B1 / | tail -1 | xargs",
        f"{PROBE_LIMITS.disk_bytes} {PROBE_LIMITS.inodes}",
    ),
    Probe(
        "limits of a process",
        "ulimit -Hv; ulimit -Hn; ulimit -Ht; ulimit -Hc",
        f"{PROBE_LIMITS.process_memory_bytes // 1024}\n{PROBE_LIMITS.open_files}\n{PROBE_LIMITS.cpu_s}\n0",
    ),
)


class Kept(NamedTuple):
    """Whether a promise is kept.

    Attributes:
        promise: In a few words.
        ok: It is.
        found: What was seen where it is not, else ``""``.
        fix: What to do then.
    """

    promise: str
    ok: bool
    found: str
    fix: str


def probe(backend: Backend) -> list[Kept]:
    """Look at every promise of ``backend`` in a sandbox of its own.

    Raises:
        SandboxError: No sandbox can be opened at all.
    """
    start = Start(entries=(directory("/srv/a", 0o750, gid=1234), file("/srv/a/b", "x", 0o666)))
    found = []
    with Machine(backend, Start(), PROBE_LIMITS) as machine:
        for probe in PROBES:
            result = machine.step(probe.command).result
            said = result.stdout.decode(errors="replace").rstrip("\n")
            problem = "" if said == probe.expected else f"{said!r} {result.stderr.decode(errors='replace')!r}"
            found.append(Kept(probe.promise, not problem, problem, probe.fix))
    with Machine(backend, start, PROBE_LIMITS) as machine:
        for promise, look in _LOOKS.items():
            problem = look(machine)
            found.append(Kept(promise, not problem, problem, _REPORT))
    return found


SANDBOXES: dict[str, Callable[[], Backend]] = {"bubblewrap": BubblewrapBackend, "docker": DockerBackend}
"""Name of each way to isolate -> what makes one, in the order in which they are tried."""

SANDBOX_VARIABLE = "AGENTSAFE_SANDBOX"
"""Names the way to isolate where nothing else does; workers inherit it."""

BACKENDS: dict[tuple[int, str], Backend] = {}
"""Examined backends by process id and name."""


def checked_backend(name: str | None = None) -> Backend:
    """The process's backend, examined before it is given out for the first time; another where it has died.

    Args:
        name: ``"bubblewrap"`` or ``"docker"``. None takes what ``AGENTSAFE_SANDBOX`` names, else what the process
            has already, else the first that can be had.

    Raises:
        ValueError: No way to isolate has that name.
        SandboxError: It cannot be had, or breaks a promise; nothing is run unconfined instead.
    """
    name = name or os.environ.get(SANDBOX_VARIABLE) or None
    require_sandbox(name)
    # A forked process cannot share its parent's daemon. Nor does a process change its sandbox in the middle of a run.
    chosen = [kind for kind in SANDBOXES if (os.getpid(), kind) in BACKENDS]
    obstacles = []
    for each in [name] if name else chosen[:1] or SANDBOXES:
        try:
            return _examined(each)
        except SandboxError as error:
            obstacles.append(error)
    raise SandboxError("; or ".join(map(str, obstacles)))


def require_sandbox(name: str | None) -> None:
    """Refuse a name that is none of a way to isolate.

    Raises:
        ValueError: ``name`` is neither None nor one of :data:`SANDBOXES`.
    """
    if name is not None and name not in SANDBOXES:
        raise ValueError(f"sandbox is {name!r}, expected one of {', '.join(SANDBOXES)}")


@contextmanager
def using_sandbox(name: str | None) -> Iterator[None]:
    """Let everything in the block, and the processes it starts, be isolated by ``name``; None changes nothing.

    Raises:
        ValueError: No way to isolate has that name.
    """
    require_sandbox(name)
    before = os.environ.get(SANDBOX_VARIABLE)
    if name is not None:
        os.environ[SANDBOX_VARIABLE] = name
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(SANDBOX_VARIABLE, None)
        else:
            os.environ[SANDBOX_VARIABLE] = before


def _examined(name: str) -> Backend:
    key = os.getpid(), name
    backend = BACKENDS.get(key)
    if backend is None or not backend.running:
        if backend is not None:
            backend.close()
        backend = SANDBOXES[name]()
        try:
            for each in probe(backend):
                if not each.ok:
                    raise SandboxError(f"the sandbox does not keep {each.promise!r}: found {each.found}; {each.fix}")
        except BaseException:
            backend.close()
            raise
        BACKENDS[key] = backend
    return backend


def _trace_tells(machine: Machine) -> str:
    step = machine.step("env chmod 0700 /srv/a/b")
    calls = [call for call in step.calls if call.name in ("chmod", "fchmodat", "fchmodat2")]
    expected = ("/usr/bin/bash", "/usr/bin/env", "/usr/bin/chmod")
    if [(call.paths, call.ancestry) for call in calls] == [(("/srv/a/b",), expected)]:
        return ""
    return f"calls {calls} of {_summary(step)}"


def _tree_tells(machine: Machine) -> str:
    step = machine.step("echo more >> /srv/a/b; chown 7:8 /srv/a/b")
    changes = [(change.path, sorted(change.aspects)) for change in step.changes]
    return "" if changes == [("/srv/a/b", ["content", "group", "owner"])] else f"{changes} of {_summary(step)}"


def _access_agrees(machine: Machine) -> str:
    machine.step("chmod 0757 /srv/a; chmod 0604 /srv/a/b")
    paths = ["/srv/a", "/srv/a/b", "/root"]
    computed = [access(machine.tree, path, STRANGER) for path in paths]
    asked = machine.sandbox.permitted(STRANGER, paths)
    return "" if computed == asked else f"computed {[*map(shown, computed)]}, the kernel says {[*map(shown, asked)]}"


def _time_is_limited(machine: Machine) -> str:
    step = machine.step("sleep 60 & sleep 60", timeout_s=PROBE_TIMEOUT_S)
    left = machine.step("echo /proc/[0-9]*").result.stdout.decode().strip()
    if step.result.end == "timeout" and left == "/proc/1 /proc/2":
        return ""
    return f"{_summary(step)}, left over: {left}"


def _summary(step: CommandRun) -> str:
    return f"a command that ended {step.result.end} {step.result.status}"


_LOOKS: dict[str, Callable[[Machine], str]] = {
    "calls are traced with ancestry": _trace_tells,
    "changes of files are seen": _tree_tells,
    "access is computed as the kernel decides": _access_agrees,
    "a command over its time dies with all it started": _time_is_limited,
}
