"""What policies allow, and what somebody can come to from there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.cloud.services.identity import ACTIONS, Binding, Group, Identity, Policy, Role, Statement, User
from agentsafe_envs.cloud.services.permissions import AccessTargets, Permissions
from agentsafe_envs.cloud.services.storage import Bucket
from agentsafe_envs.cloud.state import Project, State


def allow(*pairs: str) -> tuple[Statement, ...]:
    """Statements from ``"<action> on <resource>"``."""
    return tuple(Statement("allow", (each.split(" on ")[0],), (each.split(" on ")[1],)) for each in pairs)


def with_(state: State, key: str, **fields: Any) -> State:
    return {**state, key: replace(state[key], **fields)}


def reachable(state: State, who: str) -> set[str]:
    permissions = Permissions.of(state)
    return set(permissions.bits.names(permissions.reachable(who)))


def held(state: State, who: str) -> set[str]:
    permissions = Permissions.of(state)
    return set(permissions.bits.names(permissions.held(who)))


def everything(state: State, project: str = "home") -> set[str]:
    permissions = Permissions.of(state)
    return set(permissions.bits.names(permissions.bits.of_project(project)))


WAYS = {
    "edit itself": ("identity:edit on usr-1",),
    "attach to itself": ("identity:attach on usr-1",),
    "edit a group of it": ("identity:edit on grp-1",),
    "attach to a group of it": ("identity:attach on grp-1",),
    "join the admins": ("identity:join on grp-9",),
    "edit a policy of it": ("identity:edit on pol-1",),
    "trust itself": ("identity:trust on role-9",),
    "make a key": ("identity:issue_key on usr-9",),
    "pass a role to an instance": ("identity:pass on role-9", "instance:run on i-2"),
    "log in where a role runs": ("instance:login on i-1",),
    "in two steps": ("identity:trust on role-1", "identity:pass on role-2"),
    "attach a policy that it may edit": ("identity:attach on usr-1", "identity:edit on pol-2"),
    "by a pattern": ("identity:* on home/role/*",),
    "all identity actions": ("identity:* on *",),
}
"""Statements of usr-1, who is in grp-1 and has pol-1, from which everything in `home` can be reached."""

DEAD_ENDS = {
    "pass a role and run nothing": ("identity:pass on role-9", "instance:restart on i-2"),
    "run and pass nothing": ("instance:run on i-2", "identity:trust on role-2"),
    "log in where no role runs": ("instance:login on i-2",),
    "edit somebody else": ("identity:edit on usr-2",),
    "edit a policy of somebody else": ("identity:edit on pol-3",),
    "attach to a role that it may not take": ("identity:attach on role-9",),
    "trust a role that may read": ("identity:trust on role-2",),
    "join the readers": ("identity:join on grp-2",),
    "make a key of a reader": ("identity:issue_key on usr-3",),
    "use a key": ("key:* on *",),
}
"""Statements from which it cannot."""


@pytest.fixture
def state(staffed: State) -> State:
    """Here usr-1 is in grp-1 and has pol-1, and role-1 may pass role-9 and run instances."""
    changed = with_(staffed, "usr-1", policies=(Binding("pol-1"),))
    changed = with_(changed, "grp-1", users=(Binding("usr-1"),))
    return with_(changed, "role-1", statements=allow("identity:pass on role-9", "instance:run on i-2"))


@pytest.mark.parametrize("way", WAYS)
def test_everything_is_reached_by_escalating(state: State, way: str) -> None:
    state = with_(state, "usr-1", statements=allow(*WAYS[way]))
    assert everything(state) <= reachable(state, "usr-1")
    assert not everything(state) <= held(state, "usr-1")


@pytest.mark.parametrize("way", DEAD_ENDS)
def test_not_everything_is_reached_from_a_dead_end(state: State, way: str) -> None:
    state = with_(state, "usr-1", statements=allow(*DEAD_ENDS[way]))
    assert not everything(state) <= reachable(state, "usr-1")


def test_boundary_holds_against_escalation_of_its_own(state: State) -> None:
    state = with_(state, "usr-1", statements=allow("identity:edit on usr-1"), boundary="pol-3")
    assert reachable(state, "usr-1") == {"bucket:read on bkt-1"}, "the boundary allows no identity action"
    state = {**state, "pol-3": replace(state["pol-3"], versions=(allow("*:edit on usr-1", "bucket:* on *"),))}
    assert {each.split(":")[0] for each in reachable(state, "usr-1")} == {"identity", "bucket"}


def test_taken_role_has_its_own_boundary(state: State) -> None:
    state = with_(state, "usr-1", statements=allow("identity:trust on role-9"), boundary="pol-1")
    assert reachable(state, "usr-1") == {"bucket:read on bkt-1"}
    state = with_(with_(state, "usr-1", boundary=None), "role-9", boundary="pol-1")
    assert reachable(state, "usr-1") == {"bucket:read on bkt-1", "identity:trust on role-9"}


def test_statements_of_its_own_making_open_no_other_project(state: State) -> None:
    state = with_(state, "usr-1", statements=allow("identity:edit on usr-1"))
    assert everything(state) == reachable(state, "usr-1")


def test_boundary_that_is_no_more_allows_nothing(state: State) -> None:
    assert held(with_(state, "usr-1", boundary="pol-99"), "usr-1") == set()


def test_denied_action_is_not_attached_away(state: State) -> None:
    state = with_(state, "pol-9", binned_on=0)  # with it, a role that is not denied could be taken
    denied = Statement("deny", ("bucket:read",), ("*",))
    state = with_(state, "usr-1", statements=(*allow("identity:attach on usr-1"), denied))
    assert "bucket:read on bkt-1" not in reachable(state, "usr-1")
    assert "bucket:write on bkt-1" in reachable(state, "usr-1")


def test_denial_and_boundary_that_can_be_rewritten_hold_nobody_back(state: State) -> None:
    own = allow("bucket:* on bkt-2", "identity:edit on pol-2")
    denied = with_(state, "usr-1", statements=own, policies=(Binding("pol-2"),))
    assert "bucket:read on bkt-2" in reachable(denied, "usr-1") - held(denied, "usr-1")
    wide = (allow("identity:edit on pol-3", "bucket:read on bkt-1"),)
    bound = with_({**state, "pol-3": replace(state["pol-3"], versions=wide)}, "usr-1", boundary="pol-3")
    bound = with_(bound, "usr-1", statements=allow("identity:edit on pol-3", "key:use on key-1"))
    assert held(bound, "usr-1") == {"identity:edit on pol-3", "bucket:read on bkt-1"}
    assert "key:use on key-1" in reachable(bound, "usr-1")


def test_group_that_is_denied_denies_its_users(state: State) -> None:
    state = with_(state, "grp-1", statements=(Statement("deny", ("*",), ("bkt-1",)),))
    assert held(state, "usr-1") == set()


def test_binned_identities_and_policies_count_for_nothing(state: State) -> None:
    assert held(with_(state, "pol-1", binned_on=0), "usr-1") == set()
    assert "grp-9" not in Permissions.of(with_(state, "grp-9", binned_on=0)).identities
    trusted = with_(with_(state, "role-9", binned_on=0), "usr-1", statements=allow("identity:trust on role-9"))
    assert not everything(trusted) <= reachable(trusted, "usr-1")


def test_chain_of_roles_is_followed_and_a_circle_ends(state: State) -> None:
    state = with_(state, "role-2", trusts=(Binding("role-1"), Binding("usr-1")))
    state = with_(state, "role-1", trusts=(Binding("role-2"),))
    assert {"identity:pass on role-9", "bucket:read on bkt-1"} <= held(state, "usr-1")


def test_what_came_later_has_no_bits(state: State) -> None:
    known = Permissions.of(state).bits
    later = {**state, "bkt-50": Bucket(id="bkt-50", name="new", project="home")}
    before, after = (
        Permissions.of(state),
        Permissions.of(later, AccessTargets((r.id, r.kind, r.project) for r in _counted(state))),
    )
    assert after.bits.bit.keys() == known.bit.keys()
    assert after.reachable("usr-9") == before.reachable("usr-9")


def _counted(state: State) -> list[Any]:
    return [record for record in state.values() if record.kind in ACTIONS]


keys = st.sampled_from(["usr-1", "usr-2", "role-1", "role-2", "grp-1", "grp-2", "pol-1", "pol-2", "bkt-1", "*", "p/*"])
statements = st.builds(
    Statement,
    st.sampled_from(["allow", "allow", "deny", "allow_except"]),
    st.tuples(st.sampled_from([*sorted({each for kind in ACTIONS.values() for each in kind}), "*", "identity:*"])),
    st.tuples(keys),
)


def test_who_may_do_nothing_new_can_still_be_rewritten() -> None:
    fields = {"name": "x", "project": "home"}
    powers = allow("identity:edit on usr-2", "identity:issue_key on usr-2", "bucket:read on bkt-1")
    records = [
        Project(id="home", **fields),
        Bucket(id="bkt-1", **fields),
        User(id="usr-1", statements=powers, **fields),
        User(id="usr-2", statements=allow("bucket:read on bkt-1"), **fields),
    ]
    state = {record.id: record for record in records}
    assert reachable(state, "usr-1") == everything(state)


few = st.lists(statements, max_size=2).map(tuple)
bindings = st.lists(keys.map(Binding), max_size=2).map(tuple)
boundaries = st.none() | st.just("pol-1")


@st.composite
def states(draw: st.DrawFn) -> State:
    fields = {"name": "x", "project": "p"}
    records: list[Any] = [Project(id="p", **fields), Bucket(id="bkt-1", **fields)]
    records += [Policy(id=f"pol-{n}", versions=(draw(few),), **fields) for n in (1, 2)]
    for kind, own, prefix in ((User, "keys", "usr"), (Role, "trusts", "role"), (Group, "users", "grp")):
        for n in (1, 2):
            drawn: dict[str, Any] = {own: draw(bindings), "statements": draw(few), "policies": draw(bindings)}
            records.append(kind(id=f"{prefix}-{n}", boundary=draw(boundaries), **drawn, **fields))
    return {record.id: record for record in records}


@given(states(), statements, st.sampled_from(["usr-1", "role-1", "grp-1"]))
def test_more_allowed_is_never_less_and_more_denied_never_more(state: State, more: Statement, key: str) -> None:
    before = Permissions.of(state)
    identity = state[key]
    assert isinstance(identity, Identity)
    after = Permissions.of(with_(state, key, statements=(*identity.statements, more)))
    for who in before.identities:
        assert before.held(who) & ~before.reachable(who) == 0
        if more.effect == "deny":
            assert after.held(who) & ~before.held(who) == 0
            assert after.reachable(who) & ~before.reachable(who) == 0
        else:
            assert before.held(who) & ~after.held(who) == 0
            assert before.reachable(who) & ~after.reachable(who) == 0


@given(states(), st.randoms(use_true_random=False))
def test_order_of_records_does_not_matter(state: State, random: Any) -> None:
    shuffled = list(state.values())
    random.shuffle(shuffled)
    other = {record.id: record for record in shuffled}
    for who in Permissions.of(state).identities:
        assert (held(state, who), reachable(state, who)) == (held(other, who), reachable(other, who))
