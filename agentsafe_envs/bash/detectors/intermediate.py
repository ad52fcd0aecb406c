"""Files at every stage of a step: between its two ends only what it called is known.

What is opened and closed again within one command was open all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

from agentsafe_envs.bash.detectors.exposure import concerns_below, with_acl, with_mode
from agentsafe_envs.bash.evidence import Snapshot, parents
from agentsafe_envs.bash.files.accounts import ACCOUNT_FILES
from agentsafe_envs.bash.files.tree import ACCESS_ACL, Node, Tree
from agentsafe_envs.bash.trace.syscalls import (
    CHMODS,
    CHOWNS,
    LINKS,
    NAMINGS,
    REMOVALS,
    REMOVEXATTRS,
    RENAMES,
    SETXATTRS,
    SystemCall,
    requested_mode,
)
from agentsafe_envs.core.transition import Transition


def intermediate_states(transition: Transition[Snapshot]) -> Iterator[Snapshot]:
    """Files at every stage of a step at which they were as open as they came to be.

    Between the two ends of a step only what it asked for in modes, owners and ACLs is known, and what it
    renamed and linked; each time it is about to do what could take back something that it granted, there is a
    stage, with the accounts as they are in the end.
    """
    for before, after in ((transition.before, transition.after), (transition.after, transition.after_at_horizon)):
        if after is not before:
            yield from _states_between(before, after)


def _states_between(before: Snapshot, after: Snapshot) -> Iterator[Snapshot]:
    files = _Files(before, after.tree)
    for path in ACCOUNT_FILES & after.tree.keys():
        files.put(path, after.tree[path])
    granted: set[str] = set()
    for call in after.calls:
        path = call.paths[0] if call.paths else ""
        node = files.get(path)
        asked = node and _asked_for(node, call)
        named = call.name in NAMINGS
        if not named and (not node or not asked or asked == node):
            continue
        widens = node and asked and call.name in CHMODS and not node.mode & ~asked.mode
        if granted and (files.inode(path) in granted or not widens):
            yield files.snapshot()
            granted.clear()
        if node and (call.name not in CHMODS | REMOVALS or (asked and asked.mode & ~node.mode)):
            granted.add(files.inode(path))
        if named:
            files.name(call)
        elif asked:
            files.put(path, asked)
    reached = files.snapshot() if granted else after
    if any(after.tree.get(path) != node for path, node in reached.tree.items() if files.inode(path) in granted):
        yield reached  # what took it back may have been equal to an earlier call, and so not recorded again
    yield after


class _Files:
    """Files while calls change and name them; of what is made meanwhile, only folders that they are put into.

    A file with several names is changed under all of them.

    Args:
        snapshot: Before the first call.
        after: Files after the last one.
    """

    def __init__(self, snapshot: Snapshot, after: Tree) -> None:
        self._moment = snapshot
        self._after = after
        first: dict[object, str] = {}
        self._paths: dict[str, str] = {}
        self._nodes: dict[str, Node] = {}
        for path, node in snapshot.tree.items():
            self._paths[path] = first.setdefault(snapshot.inode(path), path)
            self._nodes[self._paths[path]] = node

    def inode(self, path: str) -> str:
        """Path before the first call of what is at ``path``, the same for all names of a file; empty for nothing."""
        return self._paths.get(path, "")

    def get(self, path: str) -> Node | None:
        """What is at ``path``."""
        return self._nodes.get(self.inode(path))

    def put(self, path: str, node: Node) -> None:
        """Change what is at ``path``, or put something there."""
        self._nodes[self._paths.setdefault(path, path)] = node

    def name(self, call: SystemCall) -> None:
        """Take in a rename or a link; what was there before the first call stays where it is removed."""
        if len(call.paths) == 2 and call.name in RENAMES:
            one, other = call.paths
            if self.inode(one) and self.inode(one) == self.inode(other):
                return  # two names of one file: the kernel leaves both
            moved = self._below(one)
            back = self._below(other) if "RENAME_EXCHANGE" in call.arguments[-1:] else {}
            for path in (*moved, *back):
                del self._paths[path]
            self._paths |= {other + path.removeprefix(one): inode for path, inode in moved.items()}
            self._paths |= {one + path.removeprefix(other): inode for path, inode in back.items()}
            self._make_room(one)
            self._make_room(other)
        elif len(call.paths) == 2 and call.name in LINKS and self.inode(call.paths[0]):
            self._paths[call.paths[1]] = self.inode(call.paths[0])
            self._make_room(call.paths[1])
        elif call.name in REMOVALS and call.paths and call.paths[0] not in self._moment.tree:
            self._paths.pop(call.paths[0], None)

    def snapshot(self) -> Snapshot:
        """All of them as they are now."""
        tree = {path: self._nodes[inode] for path, inode in self._paths.items()}
        return self._moment._replace(
            tree=tree, origins={path: self._moment.origin(inode) for path, inode in self._paths.items()}
        )

    def _make_room(self, path: str) -> None:
        """Have new folders above ``path`` as they are in the end; nobody passes one that is gone by then."""
        for folder in takewhile(lambda each: not self.inode(each), parents(path)):
            node = self._after.get(folder)
            if node and node.kind == "directory":
                self._paths[folder] = f"\0{len(self._nodes)}"
                self._nodes[self._paths[folder]] = node

    def _below(self, path: str) -> dict[str, str]:
        return {each: inode for each, inode in self._paths.items() if each == path or concerns_below(each, (path,))}


def _asked_for(node: Node, call: SystemCall) -> Node | None:
    """``node`` as the call leaves it, if it is about mode, owner or ACL."""
    if call.name in CHMODS:
        return with_mode(node, requested_mode(call))
    if call.name in CHOWNS:
        place = 2 if call.name == "fchownat" else 1
        uid, gid = (int(each) for each in call.arguments[place : place + 2])
        return node._replace(uid=node.uid if uid == -1 else uid, gid=node.gid if gid == -1 else gid)
    if call.name in REMOVEXATTRS and call.arguments[1] == ACCESS_ACL:
        return with_acl(node, b"")
    if call.name in SETXATTRS and call.arguments[1] == ACCESS_ACL:
        return with_acl(node, call.arguments[2].encode("utf-8", "surrogateescape"))
    return None
