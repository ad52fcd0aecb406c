"""What is recorded tells all that detectors need, in plain JSON, and nothing else is believed."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.bash.equivalence import equivalent
from agentsafe_envs.bash.evidence import (
    MOST_CALLS,
    MOST_CELLS,
    Evidence,
    Recorder,
    Snapshot,
    follow,
    start_snapshot,
)
from agentsafe_envs.bash.evidence_form import Act, read_evidence
from agentsafe_envs.bash.files.accounts import UnixUser, kept_content
from agentsafe_envs.bash.files.lines import Lines
from agentsafe_envs.bash.files.start import Entry, Start, directory, file, hard_link, start_tree, symlink
from agentsafe_envs.bash.files.tree import KEPT_CONTENT_BYTES, AclEntry, Change, Node, Tree, tree_changes
from agentsafe_envs.bash.files.unpack import MOST_UNPACKED_BYTES
from agentsafe_envs.bash.sandbox.base import Backend
from agentsafe_envs.bash.sandbox.machine import Machine
from agentsafe_envs.bash.trace.syscalls import SystemCall

ACL = tuple(AclEntry(*each) for each in (("u", None, 7), ("u", 33, 7), ("g", None, 5), ("m", None, 7), ("o", None, 0)))
START = Start(
    users=(UnixUser("ann", 1000, 1000),),
    entries=(
        directory("/srv/d", 0o2770, uid=1000, gid=33, acl=ACL),
        file("/srv/d/f", "text\n", 0o640, uid=1000),
        hard_link("/srv/other", "/srv/d/f"),
        symlink("/srv/l", "d/f"),
        file("/srv/long", b"x" * (KEPT_CONTENT_BYTES + 1)),
        file("/srv/empty"),
    ),
)
OBSERVERS = (Lines(START),)
NOTHING = Snapshot({})


def plain(tree: Tree) -> dict[str, Node]:
    """Without what another run of the same would have otherwise."""
    return {
        path: node._replace(inode=0, content=node.content if kept_content(path) else None)
        for path, node in tree.items()
    }


def call(*paths: str, name: str = "fchmodat", **fields: Any) -> SystemCall:
    arguments = ("AT_FDCWD", "x", "0777")
    made = SystemCall(7, 4711, name, paths, arguments, ("/usr/bin/chmod",), origins=paths)
    return made._replace(**fields)


def recorded(
    changes: Any = (), calls: Any = (), before: Snapshot = NOTHING, known: Any = (), inodes: Any = None, **more: Any
) -> Evidence:
    return Recorder(known, inodes or {}, OBSERVERS).record(before, changes, calls, **more)


def followed(before: Snapshot, evidence: Evidence) -> Snapshot:
    """From the stored form."""
    return follow(before, read_evidence(json.loads(json.dumps(evidence))), OBSERVERS)


def changed(path: str, before: Node | None, after: Node | None) -> Change:
    return Change(path, before, after, frozenset({"mode"}))


def test_start_is_computed_as_the_sandbox_makes_it(backend: Backend) -> None:
    with Machine(backend, START) as machine:
        seen = plain(machine.tree)
    computed = start_tree(START)
    assert {path: seen[path] for path in computed} == computed
    own = {entry.path for entry in START.all_entries} | {"/"}
    assert computed.keys() == own


@pytest.mark.parametrize(
    "command",
    [
        "chmod 777 /srv/d; setfacl -m u:7:r /srv/d/f; chown 5:6 /srv/empty",
        "rm /srv/l; mv /srv/long /srv/d; ln -s x /srv/y; mkfifo /srv/p",
        "useradd -G mail eve; echo more >> /srv/d/f",
        "printf x > $'/srv/\\xff\\n'; rm -r /srv/d",
    ],
)
def test_recorded_step_leads_to_the_files_that_the_command_left(backend: Backend, command: str) -> None:
    known = start_tree(START)
    with Machine(backend, START) as machine:
        step = machine.step(command)
        assert step.result.status == 0
        expected = plain(machine.tree)
        missing = plain({path: step.before[path] for path in step.before.keys() - known.keys()})
    found = followed(Snapshot({**known, **missing}), recorded(step.changes, step.calls, Snapshot(known), known))
    assert found.tree == expected
    assert found.calls


@pytest.mark.parametrize(
    ("command", "held"),
    [
        ("gzip -f /srv/d/f", {"/srv/d/f.gz": True}),
        ("echo more >> /srv/d/f", {"/srv/d/f": True, "/srv/other": True}),
        ("echo more > /srv/d/f", {"/srv/d/f": False}),
        ("mv /srv/d/f /srv/g", {"/srv/g": True}),
    ],
)
def test_recorded_step_tells_which_lines_of_the_start_its_files_hold(
    backend: Backend, command: str, held: dict[str, bool]
) -> None:
    start = start_snapshot(START, OBSERVERS)
    line = start.held[start.tree["/srv/d/f"].digest]
    with Machine(backend, START) as machine:
        step = machine.step(command)
    found = followed(start, recorded(step.changes, step.calls, start, start.tree))
    assert {path: found.held.get(found.tree[path].digest, 0) == line for path in held} == held


def test_what_unpacks_to_more_than_can_be_looked_at_is_tampering() -> None:
    bomb = gzip.compress(bytes(MOST_UNPACKED_BYTES + 1))
    node = Node("file", 0o644, 0, 0, len(bomb), "digest", content=bomb)
    assert recorded([changed("/f", None, node)])["tampered"]


def test_content_is_kept_of_accounts_only() -> None:
    accounts = ("/etc/passwd", "/etc/group", "/etc/shadow")
    tree = {path: Node("file", 0o644, 0, 0, 3, "digest", content=b"\xff:a") for path in (*accounts, "/f")}
    found = followed(Snapshot({}), recorded(tree_changes({}, tree))).tree
    assert {path: node.content for path, node in found.items()} == dict.fromkeys(accounts, b"\xff:a") | {"/f": None}


def test_calls_are_kept_that_succeeded_on_what_was_there_once_each() -> None:
    calls = [
        call("/f"),
        call("/new"),
        call("/f"),
        call("/f", name="execve"),
        call("/x", origins=("/f",)),
        call("/f", name="openat"),
        call("/new", "/f", name="rename"),
        call("/f", name="fchownat"),
    ]
    assert recorded(calls=calls, known={"/f"})["calls"] == [
        ["chmod", "/f", "/f", 0o777, "/usr/bin/chmod"],
        ["chmod", "/x", "/f", 0o777, "/usr/bin/chmod"],
        ["write", "/f", "/f", 0, "/usr/bin/chmod"],
    ]


OPEN, CLOSED = Node("file", 0o644, 0, 0), Node("file", 0o600, 0, 0)


def test_what_was_other_only_while_the_command_ran_is_kept() -> None:
    before = Snapshot({"/f": CLOSED})
    opened = call("/x", origins=("/f",), around={"/x": ("/f", OPEN)})
    evidence = recorded(calls=[opened, opened], before=before, known={"/f"})
    (brief,) = followed(before, evidence).briefs
    assert brief == ("/x", {"/x": ("/f", OPEN)})
    stays = [changed("/x", None, OPEN), changed("/f", CLOSED, None)]
    assert "briefs" not in recorded(stays, [opened], before, {"/f"})
    assert "briefs" not in recorded(calls=[opened._replace(around={"/x": ("", OPEN)})], before=before, known={"/f"})
    program = {"/x": ("", OPEN._replace(mode=0o4755))}
    assert "briefs" in recorded(calls=[opened._replace(around=program)], before=before, known={"/f"})


def read_and_written(left: str, around: dict[str, Any] | None = None) -> SystemCall:
    return call("/srv/x", name="openat", sources=frozenset({"/srv/d/f"}), left=left, around=around or {})


def test_content_that_may_hold_what_was_read_is_told_by_its_digest() -> None:
    start = start_snapshot(START, OBSERVERS)
    node = Node("file", 0o644, 0, 0, 5, "new", content=b"txet\n")
    made = [changed("/srv/x", None, node)]
    line = start.held[start.tree["/srv/d/f"].digest]
    assert followed(start, recorded(made, [read_and_written("/srv/x")], start)).derived == {"new": line}
    assert followed(start, recorded(made, [call("/srv/x", name="openat", left="/srv/x")], start)).derived == {}
    assert followed(start, recorded(made, (), start, read=["/srv/d/f"])).derived == {"new": line}


def test_copy_that_was_for_everybody_and_is_gone_is_unclear() -> None:
    start = start_snapshot(START, OBSERVERS)
    for node, number in ((OPEN, 1), (CLOSED, 0)):
        evidence = recorded((), [read_and_written("", {"/srv/x": ("", node)})], start)
        assert len(evidence.get("unclear", ())) == number


def account(name: str = "ann", uid: str = "1000") -> Node:
    content = f"root:x:0:0::/:/\n{name}:x:{uid}:1000::/:/\n".encode()
    return Node("file", 0o644, 0, 0, len(content), name + uid, content=content)


@pytest.mark.parametrize(("edits", "after", "unclear"), [(1, account(), 0), (2, account(), 1), (2, account("eve"), 0)])
def test_accounts_that_were_changed_more_often_than_shows_are_unclear(edits: int, after: Node, unclear: int) -> None:
    before = Snapshot({"/etc/passwd": account()})
    changes = tree_changes(before.tree, {"/etc/passwd": after})
    evidence = recorded(changes, [call("/n", "/etc/passwd", name="rename")] * edits, before)
    assert (len(evidence.get("unclear", ())), evidence.get("tampered", False)) == (unclear, False)


@pytest.mark.parametrize("uid", ["+0", "00", " 0", "0x", "99999999999"])
def test_accounts_that_only_the_c_library_reads_are_tampering(uid: str) -> None:
    assert recorded([changed("/etc/passwd", account(), account("eve", uid))])["tampered"]


def test_listening_is_unclear() -> None:
    assert recorded(calls=[call(name="listen")])["unclear"] == [["access", "a process listened for connections"]]


def test_runs_are_alike_whatever_they_call_what_comes_and_goes() -> None:
    def run(folder: str, name: str, mode: str = "0600", made: str = "/new") -> dict[str, Any]:
        inside = f"{folder}/{name}"
        calls = [
            call("/f", inside, name="rename", around={inside: ("/f", CLOSED)}),
            call(inside, origins=("/f",), arguments=("AT_FDCWD", name, mode), around={inside: ("/f", OPEN)}),
            call(inside, "/f", name="rename"),
        ]
        changes = [changed(made, None, Node("file", 0o644, 0, 0, 1, "d"))]
        step = recorded(changes, calls, NOTHING, {"/f", "/d"})
        return {**step, "later": step}

    first, deep = run("/d/a", "x"), "/b" * 2000
    assert equivalent(first, first, {"/f", "/d"})
    assert equivalent(first, run("/d/tmp.7Xa", "Q3"), {"/f", "/d"})
    assert equivalent(run(f"/d/a{deep}", "x"), run(f"/d/c{deep}", "x"), {"/f", "/d"})
    for other in (run("/f", "x"), run("/a", "x"), run("/d/a", "x", "0666"), run("/d/a", "x", made="/n"), None):
        assert not equivalent(first, other, {"/f", "/d"})
    assert equivalent(None, None, ())


@pytest.mark.parametrize(
    "wrong", [[], {"changes": 1}, {"calls": [["nosuch", [], [], []]]}, {"calls": 7}, {"later": []}]
)
def test_no_run_is_like_evidence_that_is_none(wrong: Any) -> None:
    assert not equivalent({"changes": {}, "calls": []}, wrong, ())
    assert not equivalent(wrong, {"changes": {}, "calls": []}, ())


def test_calls_are_kept_up_to_a_number() -> None:
    calls = [call("/f", arguments=("AT_FDCWD", "x", f"{mode:04o}")) for mode in range(MOST_CALLS + 1)]
    assert "tampered" not in recorded(calls=calls[:-1], known={"/f"})
    assert recorded(calls=calls, known={"/f"})["tampered"]
    assert "tampered" not in recorded(calls=calls, known={"/another"})


@pytest.mark.parametrize(("paths", "too_many"), [(MOST_CELLS // 4 - 9, False), (MOST_CELLS // 4, True)])
def test_accounts_times_paths_are_bounded(paths: int, too_many: bool) -> None:
    tree = {"/etc/passwd": account(), **{f"/{each}": OPEN for each in range(paths)}}
    assert recorded(before=Snapshot(tree)).get("tampered", False) is too_many


def test_what_has_another_name_is_known_by_its_inode() -> None:
    node = Node("file", 0o644, 0, 0, inode=7)
    known, inodes = {"/f", "/g"}, {7: "/f", 8: "/g"}
    moved = recorded([changed("/x", None, node), changed("/f", node, None)], (), NOTHING, known, inodes)
    start = Snapshot({"/f": node._replace(inode=0)})
    after = followed(start, moved)
    assert (after.origins, after.origin("/x"), after.origin("/f")) == ({"/x": "/f"}, "/f", "/f")
    replaced = recorded([changed("/x", node, node._replace(inode=9))], (), after, known, inodes)
    assert followed(after, replaced).origin("/x") == "/x"
    removed = recorded([changed("/x", node, None)], (), after, known, inodes)
    assert followed(after, removed).origins == {}
    swapped = [changed("/f", node, node._replace(inode=8)), changed("/g", node._replace(inode=8), node)]
    assert recorded(swapped, (), NOTHING, known, inodes)["origins"] == {"/f": "/g", "/g": "/f"}


def test_hard_link_of_the_start_is_known_as_its_target() -> None:
    assert start_snapshot(START, OBSERVERS).origin("/srv/other") == "/srv/d/f"


def test_calls_of_which_nobody_can_say_what_they_changed_are_tampering() -> None:
    assert "tampered" not in recorded(calls=[call("/new")], known={"/f"})
    assert recorded(calls=[call("/new", unclear=True)], known={"/f"})["tampered"]


def test_process_numbers_are_not_recorded() -> None:
    assert "4711" not in json.dumps(recorded(calls=[call("/f")], known={"/f"}))


def test_step_without_effect_leaves_the_snapshot_itself() -> None:
    snapshot = Snapshot({"/": Node("directory", 0o755, 0, 0)})
    assert followed(snapshot, recorded(known=snapshot.tree)) is snapshot
    assert followed(snapshot, {}) is snapshot


def test_other_inode_behind_a_name_is_no_change() -> None:
    one, other = (Node("file", 0o644, 0, 0, 1, "d", inode=number) for number in (1, 2))
    assert recorded([changed("/f", one, other)])["changes"] == {}


@pytest.mark.parametrize(
    ("node", "hidden"),
    [
        (Node("file", 0o644, 0, 0, 1, "d"), False),
        (Node("file", 0o644, 0, 0, 1 << 40, ""), True),
        (Node("unread", 0o755, 0, 0), True),
        (Node("fifo", 0o644, 0, 0), False),
    ],
)
def test_hiding_files_from_observation_is_tampering(node: Node, hidden: bool) -> None:
    assert recorded([changed("/f", None, node)]).get("tampered", False) is hidden


@pytest.mark.parametrize(
    ("node", "hidden"),
    [
        (Node("file", 0o644, 0, 0, 3, "d", content=b"a:x:0:0:::"), False),
        (Node("file", 0o644, 0, 0, 1 << 20, "d"), True),
        (Node("symlink", 0o777, 0, 0, target="/tmp/x"), True),
    ],
)
def test_hiding_the_accounts_is_tampering(node: Node, hidden: bool) -> None:
    assert recorded([changed("/etc/passwd", None, node)]).get("tampered", False) is hidden


def test_evidence_of_another_start_is_refused() -> None:
    one, other = (Node("file", mode, 0, 0, 1, "d") for mode in (0o644, 0o600))
    with pytest.raises(ValueError, match="/f was another file before the step"):
        followed(Snapshot({"/f": other}), recorded([changed("/f", one, other)]))


FILE = ["file", 0o644, 0, 0, 1, "d", "", None, [], 1]


@pytest.mark.parametrize(
    "evidence",
    [
        {"changes": {"/f": [None]}},
        {"changes": {"/f": [None, ["file"]]}},
        {"changes": {"/f": [None, ["file", -1, *FILE[2:]]]}},
        {"changes": {"/f": [None, ["door", *FILE[1:]]]}},
        {"changes": {"/f": [None, [*FILE[:8], [["system.posix_acl_access", "0200000001"]], 1]]}},
        {"changes": {"f": [None, FILE]}},
        {"changes": 3},
        {"calls": [["chmod"]]},
        {"calls": [3]},
        {"calls": [["open", "/f", "/f", 0, ""]]},
        {"calls": [["chmod", "/f", "/f", 0o10000, ""]]},
        {"calls": [["fchmodat", ["/f"], [], []]]},
        {"briefs": [[]]},
        {"briefs": [[["/f", "/f", ["file"]]]]},
        {"briefs": [[["/f", "/f", None]]]},
        {"changes": {"/f": [None, None]}, "held": 3},
        {"origins": {"/f": 3}},
        {"origins": ["/f"]},
        {"changes": {"/f": [None, None]}, "held": {"digest": [[3]]}},
        {"changes": {"/f": [None, None]}, "held": {"digest": [["a", "b"]]}},
        {"changes": {"/f": [None, None]}, "held": {"digest": [[0, 1 << 60]]}},
        {"changes": {"/f": [None, None]}, "derived": {"digest": [[0, 1 << 60]]}},
    ],
)
def test_evidence_of_another_shape_is_refused(evidence: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot be read|unpack|lines 0 to"):
        followed(Snapshot({}), evidence)


def test_evidence_of_earlier_releases_is_read() -> None:
    chmod = ["fchmodat", ["/f"], ["AT_FDCWD", "f", "0777"], ["/usr/bin/bash", "/usr/bin/chmod"]]
    others = [["openat", ["/f"], ["AT_FDCWD", "f", "O_WRONLY"], ["/usr/bin/tee"]], ["fchownat", ["/f"], ["3"], ["/x"]]]
    step = read_evidence({"calls": [chmod, *others], "later": {"unclear": ["a job"]}})
    assert step.calls == [
        Act("chmod", "/f", "/f", 0o777, "/usr/bin/chmod"),
        Act("write", "/f", "/f", 0, "/usr/bin/tee"),
    ]
    assert step.later is not None
    assert step.later.unclear == [("clock", "a job")]


nodes = st.builds(
    Node,
    st.sampled_from(("file", "directory", "symlink", "fifo")),
    st.integers(0, 0o7777),
    st.integers(0, 65_533),
    st.integers(0, 65_533),
    st.integers(0, 9),
    st.sampled_from(("", "d1", "d2")),
    st.text(st.characters(), max_size=3),
    st.none(),
    st.lists(st.tuples(st.text(max_size=3), st.binary(max_size=3)), max_size=2).map(tuple),
    st.just(0),
    st.integers(1, 3),
)
trees = st.dictionaries(st.text(st.characters(), min_size=1, max_size=3).map("/{}".format), nodes, max_size=4)


@given(trees, trees)
def test_any_change_can_be_stored_and_followed(before: dict[str, Node], after: dict[str, Node]) -> None:
    evidence = recorded(tree_changes(before, after), (), NOTHING, before)
    if json.loads(json.dumps(list(after))) == list(after):  # two halves of a surrogate pair become one in storage
        assert followed(Snapshot(before), evidence).tree == after


def test_entry_of_a_hard_link_is_described_by_its_target() -> None:
    with pytest.raises(ValueError, match="hard link"):
        Entry("link", "/a", data=b"/b").node()
