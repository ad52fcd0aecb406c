"""One step on a small tree, made of system calls by hand."""

from __future__ import annotations

from agentsafe_envs.bash.evidence import Snapshot
from agentsafe_envs.bash.files.tree import Node
from agentsafe_envs.bash.trace.syscalls import SystemCall
from agentsafe_envs.core.transition import Reply, Transition

OBJECTS = frozenset({"/srv/a"})
TREE = {path: Node("file", 0o640, 0, 0) for path in ("/srv/a", "/srv/b")} | {
    path: Node("directory", 0o755, 0, 0) for path in ("/", "/srv")
}


def chmod(path: str = "/srv/a", mode: str = "0777", *programs: str, name: str = "fchmodat") -> SystemCall:
    arguments = ("AT_FDCWD", path, mode) if name == "fchmodat" else (path, mode)
    return SystemCall(0, 0, name, (path,), arguments, 0, "", ("/usr/bin/bash", *(programs or ("/usr/bin/chmod",))))


def transition(*calls: SystemCall, later: tuple[SystemCall, ...] = ()) -> Transition[Snapshot]:
    start = Snapshot(TREE)
    after = Snapshot(TREE, calls)
    at_horizon = Snapshot(TREE, later) if later else after
    return Transition(0, start, after, start, at_horizon, Reply(""))
