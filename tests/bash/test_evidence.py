"""What is recorded tells all that detectors need, in plain JSON, and nothing else is believed."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.bash.evidence import (
    MOST_CALLS,
    MOST_WORK,
    Snapshot,
    equivalent,
    follow,
    record,
    start_snapshot,
    start_tree,
    with_old_names,
)
from agentsafe_envs.bash.files.accounts import ACCOUNT_FILES, UnixUser
from agentsafe_envs.bash.files.lines import Lines
from agentsafe_envs.bash.files.start import Entry, Start, directory, file, hard_link, symlink
from agentsafe_envs.bash.files.tree import KEPT_CONTENT_BYTES, AclEntry, Change, Node, Tree, tree_changes
from agentsafe_envs.bash.files.unpack import MOST_UNPACKED_BYTES
from agentsafe_envs.bash.sandbox.base import Backend
from agentsafe_envs.bash.sandbox.machine import Machine
from agentsafe_envs.bash.trace.syscalls import KILLED, SystemCall

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
        path: node._replace(inode=0, content=node.content if path in ACCOUNT_FILES else None)
        for path, node in tree.items()
    }


def call(*paths: str, name: str = "fchmodat", error: str = "") -> SystemCall:
    return SystemCall(7, 4711, name, paths, ("AT_FDCWD", "x", "0777"), -1 if error else 0, error, ("/usr/bin/chmod",))


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
    evidence = json.loads(json.dumps(record(step.changes, step.calls, NOTHING, known, {}, OBSERVERS, False)))
    found = follow(Snapshot({**known, **missing}), evidence, OBSERVERS)
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
    evidence = json.loads(json.dumps(record(step.changes, step.calls, NOTHING, start.tree, {}, OBSERVERS, False)))
    found = follow(start, evidence, OBSERVERS)
    assert {path: found.held.get(found.tree[path].digest, 0) == line for path in held} == held


def test_what_unpacks_to_more_than_can_be_looked_at_is_tampering() -> None:
    bomb = gzip.compress(bytes(MOST_UNPACKED_BYTES + 1))
    node = Node("file", 0o644, 0, 0, len(bomb), "digest", content=bomb)
    assert record([changed("/f", None, node)], (), NOTHING, {}, {}, OBSERVERS, False)["tampered"]


def test_content_is_kept_of_accounts_only() -> None:
    accounts = ("/etc/passwd", "/etc/group", "/etc/shadow")
    tree = {path: Node("file", 0o644, 0, 0, 3, "digest", content=b"\xff:a") for path in (*accounts, "/f")}
    evidence = record(tree_changes({}, tree), (), NOTHING, {}, {}, OBSERVERS, False)
    found = follow(Snapshot({}), json.loads(json.dumps(evidence)), OBSERVERS).tree
    assert {path: node.content for path, node in found.items()} == dict.fromkeys(accounts, b"\xff:a") | {"/f": None}


def test_calls_are_kept_that_succeeded_on_what_was_there_once_each() -> None:
    node = Node("file", 0o644, 0, 0)
    calls = [
        call("/f"),
        call("/new"),
        call("/f", error="EPERM"),
        call("/f"),
        call("/f", name="execve"),
        call("/x", "/f"),
    ]
    evidence = record((), calls, NOTHING, {"/f": node}, {}, OBSERVERS, False)
    assert evidence["calls"] == [
        ["fchmodat", ["/f"], ["AT_FDCWD", "x", "0777"], ["/usr/bin/chmod"]],
        ["fchmodat", ["/x", "/f"], ["AT_FDCWD", "x", "0777"], ["/usr/bin/chmod"]],
    ]


def test_calls_under_a_new_name_of_what_was_there_are_kept() -> None:
    known = {path: Node("directory", 0o755, 0, 0) for path in ("/d", "/d/f")}
    renamed = call("/d")._replace(name="rename", paths=("/d", "/e"))
    calls = [renamed, call("/e/f"), call("/e"), call("/x"), renamed._replace(paths=("/e", "/d")), call("/d")]
    kept = [paths for _, paths, _, _ in record((), calls, NOTHING, known, {}, OBSERVERS, False)["calls"]]
    assert kept == [["/d", "/e"], ["/e/f"], ["/e"], ["/e", "/d"], ["/d"]]
    assert [old for _, old in with_old_names(Snapshot({}), calls)] == [
        ("/d", "/e"),
        ("/d/f",),
        ("/d",),
        ("/x",),
        ("/d", "\x001"),
        ("/d",),
    ]


def test_runs_are_alike_whatever_they_call_what_comes_and_goes() -> None:
    def run(folder: str, name: str, mode: str = "0600", made: str = "/new") -> dict[str, Any]:
        inside = f"{folder}/{name}"
        calls = [
            call("/f", inside, name="rename")._replace(arguments=("/f", inside)),
            call(inside)._replace(arguments=("AT_FDCWD", name, mode)),
            call(inside, "/f", name="rename")._replace(arguments=(inside, "/f")),
        ]
        changes = [changed(made, None, Node("file", 0o644, 0, 0))]
        step = record(changes, calls, NOTHING, {"/f", "/d"}, {}, OBSERVERS, False)
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


def test_names_are_followed_up_to_a_number() -> None:
    chain = [call("/0")._replace(name="rename", paths=(f"/{each}", f"/{each + 1}")) for each in range(2 * MOST_CALLS)]
    for length, most in ((MOST_CALLS, False), (MOST_CALLS + 1, True)):
        evidence = record((), chain[:length], NOTHING, {"/0"}, {}, OBSERVERS, False)
        assert (len(evidence["calls"]), "tampered" in evidence) == (MOST_CALLS, most)
    assert "tampered" not in record((), chain, NOTHING, {"/another"}, {}, OBSERVERS, False)


def test_changes_of_rights_are_kept_up_to_a_number_that_falls_with_that_of_files() -> None:
    calls = [call("/f")._replace(arguments=("AT_FDCWD", "x", f"{mode:04o}")) for mode in range(400)]
    many = Snapshot({f"/{each}": Node("file", 0o644, 0, 0) for each in range(MOST_WORK // 100)})
    for before, most in ((NOTHING, 400), (many, 100)):
        evidence = record((), calls, before, {"/f"}, {}, OBSERVERS, False)
        assert (len(evidence["calls"]), "tampered" in evidence) == (most, most < 400)


def test_equal_calls_on_different_things_and_equal_namings_are_all_kept() -> None:
    link, remove = call("/f", "/n", name="link"), call("/n", name="unlink")
    calls = [link, call("/n"), call("/n"), remove, call("/g", "/n", name="link"), call("/n"), remove, link, remove]
    evidence = record((), calls, NOTHING, {"/f", "/g"}, {}, OBSERVERS, False)
    names = ["link", "fchmodat", "unlink", "link", "fchmodat", "unlink", "link", "unlink"]
    assert [name for name, *_ in evidence["calls"]] == names


def test_what_has_another_name_is_known_by_its_inode() -> None:
    node = Node("file", 0o644, 0, 0, inode=7)
    known, inodes = {"/f", "/g"}, {7: "/f", 8: "/g"}
    moved = record([changed("/x", None, node), changed("/f", node, None)], (), NOTHING, known, inodes, OBSERVERS, False)
    start = Snapshot({"/f": node._replace(inode=0)})
    after = follow(start, json.loads(json.dumps(moved)), OBSERVERS)
    assert (after.origins, after.origin("/x"), after.origin("/f")) == ({"/x": "/f"}, "/f", "/f")
    replaced = record([changed("/x", node, node._replace(inode=9))], (), after, known, inodes, OBSERVERS, False)
    assert follow(after, replaced, OBSERVERS).origin("/x") == "/x"
    removed = record([changed("/x", node, None)], (), after, known, inodes, OBSERVERS, False)
    assert follow(after, removed, OBSERVERS).origins == {}
    swapped = [changed("/f", node, node._replace(inode=8)), changed("/g", node._replace(inode=8), node)]
    assert record(swapped, (), NOTHING, known, inodes, OBSERVERS, False)["origins"] == {"/f": "/g", "/g": "/f"}


def test_hard_link_of_the_start_is_known_as_its_target() -> None:
    assert start_snapshot(START, OBSERVERS).origin("/srv/other") == "/srv/d/f"


def test_calls_of_which_nobody_can_say_what_they_changed_are_tampering() -> None:
    assert "tampered" not in record((), [call("/new")], NOTHING, {"/f"}, {}, OBSERVERS, False)
    assert record((), [call("/new")._replace(unclear=True)], NOTHING, {"/f"}, {}, OBSERVERS, False)["tampered"]
    killed = call("/f", "/g", name="rename", error=KILLED)
    assert record((), [killed], NOTHING, {"/f"}, {}, OBSERVERS, False)["tampered"]
    assert "tampered" not in record((), [killed], NOTHING, {"/x"}, {}, OBSERVERS, False)


def test_process_numbers_are_not_recorded() -> None:
    evidence = record((), [call("/f")], NOTHING, {"/f": Node("file", 0o644, 0, 0)}, {}, OBSERVERS, False)
    assert "4711" not in json.dumps(evidence)


def test_step_without_effect_leaves_the_moment_itself() -> None:
    snapshot = Snapshot({"/": Node("directory", 0o755, 0, 0)})
    assert follow(snapshot, record((), (), NOTHING, snapshot.tree, {}, OBSERVERS, False), OBSERVERS) is snapshot
    assert follow(snapshot, {}, OBSERVERS) is snapshot


def test_other_inode_behind_a_name_is_no_change() -> None:
    one, other = (Node("file", 0o644, 0, 0, 1, "d", inode=number) for number in (1, 2))
    assert record([changed("/f", one, other)], (), NOTHING, {}, {}, OBSERVERS, False)["changes"] == {}


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
    assert record([changed("/f", None, node)], (), NOTHING, {}, {}, OBSERVERS, False).get("tampered", False) is hidden


@pytest.mark.parametrize(
    ("node", "hidden"),
    [
        (Node("file", 0o644, 0, 0, 3, "d", content=b"a:b"), False),
        (Node("file", 0o644, 0, 0, 1 << 20, "d"), True),
        (Node("symlink", 0o777, 0, 0, target="/tmp/x"), True),
    ],
)
def test_hiding_the_accounts_is_tampering(node: Node, hidden: bool) -> None:
    assert (
        record([changed("/etc/passwd", None, node)], (), NOTHING, {}, {}, OBSERVERS, False).get("tampered", False)
        is hidden
    )


def test_evidence_of_another_start_is_refused() -> None:
    one, other = (Node("file", mode, 0, 0, 1, "d") for mode in (0o644, 0o600))
    evidence = record([changed("/f", one, other)], (), NOTHING, {}, {}, OBSERVERS, False)
    with pytest.raises(ValueError, match="/f was another file before the step"):
        follow(Snapshot({"/f": other}), evidence, OBSERVERS)


@pytest.mark.parametrize(
    "evidence",
    [
        {"changes": {"/f": [None]}, "calls": []},
        {"changes": {"/f": [None, ["file"]]}, "calls": []},
        {"changes": 3, "calls": []},
        {"changes": {"/f": [None, None]}},
        {"changes": {}, "calls": [["chmod"]]},
        {"changes": {}, "calls": [3]},
        {"changes": {"/f": [None, None]}, "calls": [], "held": 3},
        {"changes": {}, "calls": [], "origins": {"/f": 3}},
        {"changes": {}, "calls": [], "origins": ["/f"]},
        {"changes": {"/f": [None, None]}, "calls": [], "held": {"digest": [[3]]}},
        {"changes": {"/f": [None, None]}, "calls": [], "held": {"digest": [["a", "b"]]}},
        {"changes": {"/f": [None, None]}, "calls": [], "held": {"digest": [[0, 1 << 60]]}},
    ],
)
def test_evidence_of_another_shape_is_refused(evidence: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot be read|unpack|lines 0 to"):
        follow(Snapshot({}), evidence, OBSERVERS)


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
    evidence = record(tree_changes(before, after), (), NOTHING, before, {}, OBSERVERS, False)
    stored = json.loads(json.dumps(evidence))
    if json.loads(json.dumps(list(after))) == list(after):  # two halves of a surrogate pair become one in storage
        assert follow(Snapshot(before), stored, OBSERVERS).tree == after


def test_entry_of_a_hard_link_is_described_by_its_target() -> None:
    with pytest.raises(ValueError, match="hard link"):
        Entry("link", "/a", data=b"/b").node()
