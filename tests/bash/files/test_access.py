from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentsafe_envs.bash.files.access import (
    EXECUTE,
    READ,
    RUN_AS,
    STRANGER,
    WRITE,
    Principal,
    Reach,
    access,
    principals,
    shown,
)
from agentsafe_envs.bash.files.start import Start, directory, file, symlink
from agentsafe_envs.bash.files.tree import AclEntry, Node
from agentsafe_envs.bash.sandbox.base import Backend, Limits
from agentsafe_envs.bash.sandbox.machine import Machine

ANN = Principal("ann", 1000, 1000, frozenset({33, 2000}))
WWW = Principal("www-data", 33, 33)
ROOT = Principal("root", 0, 0)
EVERYBODY = (ANN, WWW, STRANGER, ROOT)


def test_safe_acl_that_looks_like_group_write_gives_the_group_nothing() -> None:
    acl = (
        AclEntry("u", None, 6),
        AclEntry("u", 1000, 6),
        AclEntry("g", None, 4),
        AclEntry("m", None, 6),
        AclEntry("o", None, 0),
    )
    entry = file("/f", acl=acl)
    tree = {"/": Node("directory", 0o755, 0, 0), "/f": Node("file", 0o660, 0, 33, xattrs=entry.xattrs)}
    assert access(tree, "/f", ANN) == READ | WRITE
    assert access(tree, "/f", WWW) == READ
    assert access(tree, "/f", STRANGER) == 0


def test_open_file_below_a_closed_directory_is_out_of_reach() -> None:
    tree = {
        "/": Node("directory", 0o755, 0, 0),
        "/d": Node("directory", 0o700, 0, 0),
        "/d/f": Node("file", 0o777, 0, 0),
    }
    assert access(tree, "/d/f", STRANGER) == 0
    assert access(tree, "/d/f", ROOT) == READ | WRITE | EXECUTE


def test_owner_is_judged_by_his_own_bits_even_if_others_may_more() -> None:
    tree = {"/": Node("directory", 0o755, 0, 0), "/f": Node("file", 0o077, 1000, 0)}
    assert access(tree, "/f", ANN) == 0
    assert access(tree, "/f", STRANGER) == 7


@pytest.mark.parametrize(
    ("mode", "who", "rights"),
    [
        (0o4755, ANN, READ | RUN_AS),
        (0o4644, ANN, READ),
        (0o2770, WWW, READ | WRITE),
        (0o2775, ANN, READ | WRITE),
        (0o2775, STRANGER, READ | RUN_AS),
        (0o4755, ROOT, READ | WRITE),
    ],
)
def test_running_a_program_as_somebody_else_is_a_right(mode: int, who: Principal, rights: int) -> None:
    tree = {"/": Node("directory", 0o755, 0, 0), "/f": Node("file", mode, 0, 33)}
    assert Reach(tree, who).rights("/f") == rights


def test_writing_into_a_folder_that_cannot_be_entered_is_no_right() -> None:
    tree = {"/": Node("directory", 0o755, 0, 0), "/d": Node("directory", 0o756, 0, 0)}
    assert Reach(tree, STRANGER).rights("/d") == READ


def test_relative_path_is_refused() -> None:
    with pytest.raises(ValueError, match="absolute"):
        access({}, "f", ANN)


@pytest.mark.parametrize(("bits", "text"), [(0, "---"), (READ, "r--"), (WRITE | EXECUTE, "-wx"), (7, "rwx")])
def test_bits_are_shown_as_ls_does(bits: int, text: str) -> None:
    assert shown(bits) == text


def test_malformed_account_lines_are_passed_over() -> None:
    passwd = b"root:x:0:0::/root:/bin/bash\nbroken\nann:x:1000:oops::/:\nbob:x:7:8::/home/bob:/bin/sh\nbob:x:9:9::/:/\n"
    group = b"a:x:5:bob,ann\nb:x:six:bob\n\xff\n"
    tree = {
        "/etc/passwd": Node("file", 0o644, 0, 0, content=passwd),
        "/etc/group": Node("file", 0o644, 0, 0, content=group),
    }
    assert principals(tree) == {"root": ROOT, "bob": Principal("bob", 7, 8, frozenset({5}))}


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_account_files_can_be_read(passwd: bytes, group: bytes) -> None:
    tree = {
        "/etc/passwd": Node("file", 0o644, 0, 0, content=passwd),
        "/etc/group": Node("file", 0o644, 0, 0, content=group),
    }
    assert all(isinstance(person.uid, int) for person in principals(tree).values())


bits = st.integers(0, 7)
modes = st.builds(lambda *each: sum(each), *(st.sampled_from((0, bit)) for bit in (0o700, 0o500, 0o070, 0o050, 0o7)))
named = st.lists(
    st.builds(AclEntry, st.sampled_from("ug"), st.sampled_from((33, 1000, 2000, 65_533)), bits),
    unique_by=lambda entry: entry[:2],
    max_size=3,
)
acls = st.none() | st.builds(
    lambda rows, user, group, mask, other: (
        *rows,
        AclEntry("u", None, user),
        AclEntry("g", None, group),
        AclEntry("m", None, mask),
        AclEntry("o", None, other),
    ),
    named,
    bits,
    bits,
    bits,
    bits,
)
owners = st.sampled_from((0, 33, 1000, 2000))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outer=st.integers(0, 0o777), inner=st.integers(0, 0o777), uid=owners, gid=owners, acl=acls, directory_acl=acls)
def test_matrix_is_what_the_kernel_decides(
    backend: Backend,
    outer: int,
    inner: int,
    uid: int,
    gid: int,
    acl: tuple[AclEntry, ...] | None,
    directory_acl: tuple[AclEntry, ...] | None,
) -> None:
    start = Start(
        entries=(
            directory("/srv/d", outer, uid=gid, gid=uid, acl=directory_acl or ()),
            file("/srv/d/f", "x", inner, uid=uid, gid=gid, acl=acl or ()),
            symlink("/srv/l", "d/f"),
        )
    )
    paths = ["/srv/d", "/srv/d/f", "/srv/l", "/srv/d/no", "/srv/l/x"]
    sandbox = backend.open(start, Limits())
    try:
        tree = sandbox.read_tree()
        for person in EVERYBODY:
            assert [access(tree, path, person) for path in paths] == sandbox.permitted(person, paths), person
    finally:
        sandbox.close()


def test_new_group_member_is_seen_in_the_matrix(machine: Machine) -> None:
    before = access(machine.tree, "/srv/site/index.html", principals(machine.tree)["nobody"])
    step = machine.step("sed -i 's/^www-data:x:33:ann$/&,nobody/' /etc/group")
    assert step.result.status == 0
    person = principals(machine.tree)["nobody"]
    assert (before, access(machine.tree, "/srv/site/index.html", person)) == (0, READ)
    assert machine.sandbox.permitted(person, ["/srv/site/index.html"]) == [READ]
