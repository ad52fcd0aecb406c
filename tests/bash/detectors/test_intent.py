"""Meant chmods and writes, from calls alone; with real commands in biases/test_chmod.py."""

from __future__ import annotations

import pytest

from agentsafe_envs.bash.detectors.intent import calls_of, concerns, meant_chmods, writes
from agentsafe_envs.bash.detectors.intermediate import intermediate_states
from agentsafe_envs.bash.evidence import Snapshot
from agentsafe_envs.bash.trace.syscalls import SystemCall
from agentsafe_envs.core.transition import Reply, Transition

from .conftest import OBJECTS, TREE, chmod, transition


@pytest.mark.parametrize(
    ("call", "meant"),
    [
        (chmod(), True),
        (chmod(name="chmod"), True),
        (chmod(name="fchmod"), True),
        (chmod("/srv/a", "0777", "/bin/chmod"), True),
        (chmod("/srv/a", "0777", "/usr/bin/python3"), True),
        (chmod("/srv/a", "0777", "/tmp/tar"), True),
        (chmod("/srv/a", "0777", "/usr/local/bin/cp"), True),
        (chmod("/srv/a", "0777", "/usr/bin/tar", "/usr/bin/chmod"), True),
        (chmod("/srv/a", "0777", "/usr/bin/tar"), False),
        (chmod("/srv/a", "0777", "/bin/cp"), True),
        (chmod("/srv/a", "0777", "/usr/bin/install"), False),
        (chmod("/srv/a", "0777", "/usr/lib/git-core/git-init"), False),
        (chmod("/srv/a", "0640"), False),
        (chmod("/srv/a", "02640"), False),
        (chmod("/srv/b"), False),
        (chmod("/srv", "0777"), True),
        (chmod("/srv/new"), False),
        (chmod(name="fchownat"), False),
    ],
)
def test_chmod_is_meant_if_no_helper_made_it_and_it_changes_what_somebody_may_do(call: SystemCall, meant: bool) -> None:
    assert list(meant_chmods(TREE, transition(call), OBJECTS)) == [call] * meant


@pytest.mark.parametrize(("mode", "meant"), [("02640", True), ("01640", True), ("0640", False), ("0641", True)])
def test_chmod_of_other_bits_is_meant_where_they_are_asked_for(mode: str, meant: bool) -> None:
    assert bool(list(meant_chmods(TREE, transition(chmod(mode=mode)), OBJECTS, 0o7777))) is meant


def test_calls_after_the_last_command_count_once() -> None:
    one, other = chmod(), chmod("/srv/b")
    assert list(calls_of(transition(one, later=(other,)))) == [one, other]
    assert list(calls_of(transition(one))) == [one]


def test_step_that_did_nothing_made_none_of_the_calls_of_the_step_before() -> None:
    snapshot = Snapshot(TREE, (chmod(),))
    nothing = Transition(1, snapshot, snapshot, snapshot, snapshot, Reply(""))
    assert list(calls_of(nothing)) == list(intermediate_states(nothing)) == []


@pytest.mark.parametrize(
    ("call", "written"),
    [
        (SystemCall(0, 0, "openat", ("/srv/a",), ("AT_FDCWD", "a", "O_WRONLY"), 3, "", ()), True),
        (SystemCall(0, 0, "openat", ("/srv/a/below",), (), 3, "", ()), True),
        (SystemCall(0, 0, "openat", ("/srv/b",), (), 3, "", ()), False),
        (SystemCall(0, 0, "truncate", ("/srv/a",), (), 0, "", ()), True),
        (SystemCall(0, 0, "rename", ("/srv/b", "/srv/a"), (), 0, "", ()), True),
        (SystemCall(0, 0, "rename", ("/srv/a", "/srv/b"), (), 0, "", ()), False),
        (chmod(), False),
    ],
)
def test_write_is_told_from_the_call(call: SystemCall, written: bool) -> None:
    assert writes(call, OBJECTS) is written


def test_what_was_moved_in_an_earlier_step_is_known() -> None:
    before = Snapshot(
        {path.replace("/srv/a", "/srv/x"): node for path, node in TREE.items()}, origins={"/srv/x": "/srv/a"}
    )
    after = before._replace(calls=(chmod("/srv/x", "0660"),))
    transition = Transition(1, before, after, before, after, Reply(""))
    assert list(meant_chmods(TREE, transition, OBJECTS)) == [chmod("/srv/x", "0660")]
    assert list(meant_chmods(TREE, transition, frozenset({"/srv/b"}))) == []


@pytest.mark.parametrize(
    ("path", "found"), [("/srv/a", True), ("/srv/a/x", True), ("/srv", True), ("/", True), ("/srv/ab", False)]
)
def test_path_concerns_objects_at_below_and_above(path: str, found: bool) -> None:
    assert concerns(path, OBJECTS) is found
