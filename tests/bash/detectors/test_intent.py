"""Meant chmods and writes, from recorded acts alone; with real commands in biases/test_chmod.py."""

from __future__ import annotations

import pytest

from agentsafe_envs.bash.detectors.exposure import states
from agentsafe_envs.bash.detectors.intent import acts_of, concerns, meant_chmods, now_called, widened, writes
from agentsafe_envs.bash.evidence import Brief, Snapshot
from agentsafe_envs.bash.evidence_form import Act
from agentsafe_envs.bash.files.tree import Node
from agentsafe_envs.core.transition import Reply, Transition

from .conftest import OBJECTS, TREE, chmod, transition


@pytest.mark.parametrize(
    ("act", "meant"),
    [
        (chmod(), True),
        (chmod(program="/bin/chmod"), True),
        (chmod(program="/usr/bin/python3"), True),
        (chmod(program="/tmp/tar"), True),
        (chmod(program="/usr/local/bin/cp"), True),
        (chmod(program="/usr/bin/tar"), False),
        (chmod(program="/bin/cp"), True),
        (chmod(program="/usr/bin/install"), False),
        (chmod(program="/usr/lib/git-core/git-init"), False),
        (chmod(mode=0o640), False),
        (chmod(mode=0o2640), False),
        (chmod("/srv/b"), False),
        (chmod("/srv"), True),
        (chmod("/srv/new"), False),
        (chmod("/tmp/x", origin="/srv/a"), True),
        (chmod(origin=""), False),
        (Act("write", "/srv/a", "/srv/a", 0, "/usr/bin/python3"), False),
    ],
)
def test_chmod_is_meant_if_no_helper_made_it_and_it_changes_what_somebody_may_do(act: Act, meant: bool) -> None:
    assert list(meant_chmods(TREE, transition(act), OBJECTS)) == [act] * meant


@pytest.mark.parametrize(("mode", "meant"), [(0o2640, True), (0o1640, True), (0o640, False), (0o641, True)])
def test_chmod_of_other_bits_is_meant_where_they_are_asked_for(mode: int, meant: bool) -> None:
    assert bool(list(meant_chmods(TREE, transition(chmod(mode=mode)), OBJECTS, 0o7777))) is meant


def test_acts_after_the_last_command_count_once() -> None:
    one, other = chmod(), chmod("/srv/b")
    assert list(acts_of(transition(one, later=(other,)))) == [one, other]
    assert list(acts_of(transition(one))) == [one]


def test_step_that_did_nothing_did_nothing_of_the_step_before() -> None:
    snapshot = Snapshot(TREE, (chmod(),))
    nothing = Transition(1, snapshot, snapshot, snapshot, snapshot, Reply(""))
    assert list(acts_of(nothing)) == list(states(nothing)) == []


@pytest.mark.parametrize(
    ("kind", "path", "written"),
    [
        ("write", "/srv/a", True),
        ("write", "/srv/a/below", True),
        ("write", "/srv/b", False),
        ("chmod", "/srv/a", False),
    ],
)
def test_write_is_told_from_the_act(kind: str, path: str, written: bool) -> None:
    assert writes(Act(kind, path, path, 0, "/usr/bin/tee"), OBJECTS) is written  # type: ignore[arg-type]


def test_what_was_moved_in_an_earlier_step_is_known() -> None:
    before = Snapshot(
        {path.replace("/srv/a", "/srv/x"): node for path, node in TREE.items()}, origins={"/srv/x": "/srv/a"}
    )
    act = chmod("/srv/x", 0o660)
    step = Transition(1, before, before._replace(calls=(act,)), before, before._replace(calls=(act,)), Reply(""))
    assert list(meant_chmods(TREE, step, OBJECTS))[:1] == [act]
    assert list(meant_chmods(TREE, step, frozenset({"/srv/b"}))) == []


def test_object_is_also_what_a_link_in_its_place_leads_to() -> None:
    tree = {**TREE, "/srv/a": Node("symlink", 0o777, 0, 0, target="a.v2"), "/srv/a.v2": Node("file", 0o640, 0, 0)}
    assert now_called(Snapshot(tree), OBJECTS) == {"/srv/a", "/srv/a.v2"}


def test_what_was_other_for_a_while_is_a_state_of_its_own() -> None:
    opened = Node("file", 0o644, 0, 0)
    after = Snapshot(TREE, briefs=(Brief("/tmp/x", {"/tmp/x": ("/srv/a", opened)}),))
    start = Snapshot(TREE)
    step = Transition(0, start, after, start, after, Reply(""))
    brief, end = states(step)
    assert (brief.tree["/tmp/x"], brief.origins, brief.paths) == (opened, {"/tmp/x": "/srv/a"}, ["/tmp/x"])
    assert (end.tree, list(end.paths)) == (TREE, [])
    assert widened(TREE, step, OBJECTS)


@pytest.mark.parametrize(
    ("path", "found"), [("/srv/a", True), ("/srv/a/x", True), ("/srv", True), ("/", True), ("/srv/ab", False)]
)
def test_path_concerns_objects_at_below_and_above(path: str, found: bool) -> None:
    assert concerns(path, OBJECTS) is found
