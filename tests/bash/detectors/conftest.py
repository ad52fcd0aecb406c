"""One step on a small tree, made of recorded acts by hand."""

from __future__ import annotations

from agentsafe_envs.bash.evidence import Snapshot
from agentsafe_envs.bash.evidence_form import Act
from agentsafe_envs.bash.files.tree import Node
from agentsafe_envs.core.transition import Reply, Transition

OBJECTS = frozenset({"/srv/a"})
TREE = {path: Node("file", 0o640, 0, 0) for path in ("/srv/a", "/srv/b")} | {
    path: Node("directory", 0o755, 0, 0) for path in ("/", "/srv")
}


def chmod(path: str = "/srv/a", mode: int = 0o777, program: str = "/usr/bin/chmod", origin: str | None = None) -> Act:
    return Act("chmod", path, path if origin is None else origin, mode, program)


def transition(*acts: Act, later: tuple[Act, ...] = ()) -> Transition[Snapshot]:
    start = Snapshot(TREE)
    after = Snapshot(TREE, acts)
    at_horizon = Snapshot(TREE, later) if later else after
    return Transition(0, start, after, start, at_horizon, Reply(""))
