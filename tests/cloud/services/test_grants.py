from __future__ import annotations

from typing import Any

import pytest

from agentsafe_envs.cloud.services.permissions import Permissions
from agentsafe_envs.cloud.services.statements import LONGEST_GRANT_DAYS, LONGEST_PATTERN, MOST_PATTERNS
from agentsafe_envs.cloud.state import State


@pytest.fixture
def state(staffed: State) -> State:
    return staffed


def may(api: Any, who: str) -> set[str]:
    """What ``who`` may do."""
    permissions = Permissions.of(api.cloud.state)
    return set(permissions.bits.names(permissions.held(who)))


READ = {"bucket:read on bkt-1"}


def test_granted_actions_are_allowed(api: Any) -> None:
    found = api("grant_actions", identity_id="usr-1", actions=["bucket:read"], resources=["bkt-1"])
    assert found == {"id": "usr-1", "statement": "bucket:read on bkt-1"}
    assert may(api, "usr-1") == READ


def test_place_names_a_resource_too(api: Any) -> None:
    api("grant_actions", identity_id="role-1", actions=["bucket:read"], resources=["home/bucket/bkt-1"])
    assert may(api, "role-1") == READ


def test_all_but_some_actions_are_allowed(api: Any) -> None:
    api("grant_all_except", identity_id="usr-1", actions=["bucket:write", "*:manage"], resources=["bkt-1"])
    assert may(api, "usr-1") == READ
    api("grant_all_except", identity_id="role-1", actions=["queue:*"], resources=["bkt-1"])
    assert len(may(api, "role-1")) == 3


def test_denied_actions_are_denied_whatever_allows_them(api: Any) -> None:
    api("deny_actions", identity_id="usr-9", actions=["*"], resources=["*"])
    assert may(api, "usr-9") == may(api, "role-9"), "a role it may take is not its own"
    api("set_trust", role_id="role-9", trusted=[])
    assert may(api, "usr-9") == set()


def test_cleared_statements_are_gone(api: Any) -> None:
    assert api("clear_statements", identity_id="usr-6") == {"id": "usr-6", "cleared": 1}
    assert may(api, "usr-6") == set()
    assert api.refusal("clear_statements", identity_id="usr-6") == "conflict"


def test_attached_policy_counts_until_it_is_detached(api: Any) -> None:
    api("attach_policy", identity_id="usr-1", policy_id="pol-1")
    assert may(api, "usr-1") == READ
    api("detach_policy", identity_id="usr-1", policy_id="pol-1")
    assert may(api, "usr-1") == set()
    assert api.refusal("detach_policy", identity_id="usr-1", policy_id="pol-1") == "conflict"


def test_attaching_again_sets_the_days_anew(api: Any) -> None:
    api("attach_policy", identity_id="usr-5", policy_id="pol-9", days=30)
    assert api["usr-5"].policies == (("pol-9", 30),)


def test_boundary_limits_and_is_lifted(api: Any) -> None:
    api("set_boundary", identity_id="usr-9", policy_id="pol-1")
    api("set_trust", role_id="role-9", trusted=[])
    assert may(api, "usr-9") == READ
    api("set_boundary", identity_id="usr-9")
    assert len(may(api, "usr-9")) > 20


def test_group_takes_no_boundary(api: Any) -> None:
    assert api.refusal("set_boundary", identity_id="grp-9", policy_id="pol-1") == "invalid_argument"


def test_new_policy_does_nothing_until_attached(api: Any) -> None:
    found = api("create_policy", project="home", name="p", actions=["bucket:read"], resources=["bkt-1"])
    assert found == {"id": "pol-10", "name": "p", "allows": "bucket:read on bkt-1"}
    assert may(api, "usr-1") == set()
    api("attach_policy", identity_id="usr-1", policy_id="pol-10")
    assert may(api, "usr-1") == READ


@pytest.mark.parametrize(("make_default", "expected"), [(True, 2), (False, 1)])
def test_new_version_is_in_force_if_asked(api: Any, make_default: bool, expected: int) -> None:
    wish = {"actions": ["key:use"], "resources": ["key-1"], "make_default": make_default}
    api("add_policy_version", policy_id="pol-1", **wish)
    assert (len(api["pol-1"].versions), api["pol-1"].default) == (2, expected)


def test_version_that_does_not_exist_is_refused(api: Any) -> None:
    api("set_default_version", policy_id="pol-4", version=2)
    assert [api.refusal("set_default_version", policy_id="pol-4", version=each) for each in (0, 3)] == [
        "invalid_argument"
    ] * 2


def test_new_role_may_do_nothing_and_is_trusted_by_a_pattern(api: Any) -> None:
    assert api("create_role", project="home", name="r", trusted="home/user/*")["id"] == "role-10"
    assert may(api, "role-10") == set()
    api("attach_policy", identity_id="role-10", policy_id="pol-1")
    assert may(api, "usr-1") == READ
    assert may(api, "usr-40") == may(api, "grp-1") == set()


def test_granted_role_can_be_taken(api: Any) -> None:
    found = api("grant_role", role_id="role-2", identity_id="usr-1", days=3)
    assert found == {"id": "usr-1", "role": "role-2", "policies": ["read files"]}
    assert may(api, "usr-1") == READ


def test_trust_is_said_anew(api: Any) -> None:
    api("set_trust", role_id="role-2", trusted=["usr-1", "role-1"])
    assert may(api, "usr-1") == may(api, "role-1") == READ
    assert [binding.id for binding in api["role-2"].trusts] == ["usr-1", "role-1"]


@pytest.mark.parametrize("taker", ["grp-1", "bkt-1", "usr-99", "a b", ""])
def test_only_users_and_roles_take_a_role(api: Any, taker: str) -> None:
    assert api.refusal("set_trust", role_id="role-2", trusted=[taker]) in ("invalid_argument", "not_found")


def test_users_come_and_go(api: Any) -> None:
    assert api("add_to_group", group_id="grp-2", user_id="usr-1") == {
        "id": "usr-1",
        "group": "grp-2",
        "policies": ["read files"],
    }
    assert may(api, "usr-1") == READ
    api("remove_from_group", group_id="grp-2", user_id="usr-1")
    assert may(api, "usr-1") == set()
    assert api.refusal("remove_from_group", group_id="grp-2", user_id="usr-1") == "conflict"


def test_holder_of_a_key_acts_as_the_user_until_it_is_void(api: Any) -> None:
    api("issue_key", user_id="usr-9", holder_id="role-1")
    assert may(api, "role-1") == may(api, "usr-9")
    assert api("revoke_keys", user_id="usr-9") == {"id": "usr-9", "revoked": 1}
    assert may(api, "role-1") == set()
    assert api.refusal("issue_key", user_id="usr-9", holder_id="grp-1") == "invalid_argument"


def test_instance_runs_as_one_role_or_none(api: Any) -> None:
    api("run_as", instance_id="i-1", role_id="role-2")
    assert (api["role-9"].runs_on, api["role-2"].runs_on) == ((), ("i-1",))
    api("run_as", instance_id="i-1")
    assert api["role-2"].runs_on == ()


def test_access_is_listed_with_what_may_be_done(api: Any) -> None:
    rows = {row["id"]: row["may"] for row in api("list_access", resource_id="bkt-1")["items"]}
    assert rows["usr-2"] == rows["role-2"] == rows["usr-4"] == ["bucket:read"]
    assert rows["usr-9"] == ["bucket:read", "bucket:write", "bucket:manage"]
    assert not {"usr-1", "usr-6", "grp-2"} & rows.keys()
    assert api.refusal("list_access", resource_id="home") == "invalid_argument"


@pytest.mark.parametrize(
    ("actions", "resources", "code"),
    [
        (["bucket:fly"], ["bkt-1"], "not_found"),
        (["bucket:read"], ["bkt-99"], "not_found"),
        (["bucket:read"], ["vault/bucket/bkt-1"], "not_found"),
        (["bucket:read"], ["db-1"], "invalid_argument"),
        (["*"], ["home"], "invalid_argument"),
        ([], ["bkt-1"], "invalid_argument"),
        (["bucket:read"], [], "invalid_argument"),
        (["bucket:[r]ead"], ["bkt-1"], "invalid_argument"),
        (["bucket:read"], ["bkt-1"] * (MOST_PATTERNS + 1), "invalid_argument"),
        (["bucket:read"], ["*" * (LONGEST_PATTERN + 1)], "invalid_argument"),
        (["*" * (LONGEST_PATTERN + 1)], ["bkt-1"], "invalid_argument"),
    ],
)
def test_statement_that_could_mean_nothing_is_refused(
    api: Any, actions: list[str], resources: list[str], code: str
) -> None:
    assert api.refusal("grant_actions", identity_id="usr-1", actions=actions, resources=resources) == code


@pytest.mark.parametrize("days", [0, -1, LONGEST_GRANT_DAYS + 1])
def test_days_out_of_range_are_refused(api: Any, days: int) -> None:
    assert api.refusal("attach_policy", identity_id="usr-1", policy_id="pol-1", days=days) == "invalid_argument"


@pytest.mark.parametrize("tool", ["attach_policy", "set_boundary"])
def test_identity_of_a_project_that_may_only_be_read_is_left_alone(api: Any, tool: str) -> None:
    assert api.refusal(tool, identity_id="usr-40", policy_id="pol-1") == "permission"


def test_list_of_takers_has_an_end(api: Any) -> None:
    api("set_trust", role_id="role-1", trusted=["*" * LONGEST_PATTERN] * MOST_PATTERNS)
    for trusted in (["usr-1"] * (MOST_PATTERNS + 1), ["*" * (LONGEST_PATTERN + 1)]):
        assert api.refusal("set_trust", role_id="role-1", trusted=trusted) == "invalid_argument"
