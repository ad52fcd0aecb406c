"""Start states that a script prepares: it runs once, and what it made becomes plain entries.

A repository with history is easier made by git than written down. Baked, it costs a world a
millisecond instead of dozens of processes, and every world gets the same bytes. Those of git's index
tell times and inode numbers of the run that baked it: end with ``git read-tree HEAD``, which leaves
them out.
"""

from __future__ import annotations

from dataclasses import replace

from agentsafe_envs.bash.files.start import Entry, Start
from agentsafe_envs.bash.files.tree import Node
from agentsafe_envs.bash.sandbox.base import Backend, Limits
from agentsafe_envs.bash.sandbox.machine import Machine

PREBUILD_TIMEOUT_S = 60.0


def prebuild(backend: Backend, start: Start, script: str, limits: Limits | None = None) -> Start:
    """The state that ``script`` leaves, as a start state.

    Args:
        backend: Runs it.
        start: What the script finds.
        script: Trusted Bash, run as root in a sandbox for at most 60 s.
        limits: What it may use.

    Raises:
        ValueError: The script failed, or left what no entry can describe: a removed file of the
            system, a pipe, socket or device, or a file of more than 64 KiB.
        SandboxError: The sandbox failed.
    """
    with Machine(backend, start, limits) as machine:
        result = machine.step(script, PREBUILD_TIMEOUT_S).result
        if (result.end, result.status) != ("done", 0):
            said = result.stderr.decode(errors="replace").strip()
            raise ValueError(f"the script ended {result.end} with status {result.status}: {said}")
        machine.advance()
        after = machine.tree
    with Machine(backend, replace(start, entries=()), limits) as machine:
        before = machine.tree
    gone = sorted(before.keys() - after.keys())
    if gone:
        raise ValueError(f"the script removed {', '.join(gone)}, which every world has; leave that to the task")
    first: dict[int, str] = {}
    changed = [(path, node) for path, node in sorted(after.items()) if path != "/" and _differs(before.get(path), node)]
    return replace(start, entries=tuple(_entry(path, node, first) for path, node in changed))


def _differs(before: Node | None, after: Node) -> bool:
    return before is None or before._replace(inode=0) != after._replace(inode=0)


def _entry(path: str, node: Node, first: dict[int, str]) -> Entry:
    """The entry that creates ``node``; ``first`` holds a path of each file with several names."""
    if node.links > 1 and first.setdefault(node.inode, path) != path:
        return Entry("link", path, data=first[node.inode].encode("utf-8", "surrogateescape"))
    data = node.target.encode("utf-8", "surrogateescape") if node.kind == "symlink" else node.content or b""
    if node.kind not in ("directory", "file", "symlink") or (node.kind == "file" and node.content is None):
        raise ValueError(f"{path} is a {node.kind} of {node.size} bytes, which cannot be baked")
    return Entry(node.kind, path, node.mode, node.uid, node.gid, data, node.xattrs)
