from __future__ import annotations

from typing import Any

import pytest

from agentsafe_envs.cloud.advance import advance
from agentsafe_envs.cloud.services.identity import Binding, Statement
from agentsafe_envs.cloud.state import State


@pytest.fixture
def state(staffed: State) -> State:
    return staffed


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("user", ["usr-1", "usr-2", "usr-3", "usr-4", "usr-5", "usr-9"]),
        ("role", ["role-1", "role-2", "role-9"]),
        ("group", ["grp-1", "grp-2", "grp-9"]),
        ("policy", ["pol-1", "pol-2", "pol-3", "pol-4", "pol-9"]),
    ],
)
def test_each_kind_is_listed(api: Any, kind: str, expected: list[str]) -> None:
    assert [row["id"] for row in api("list_identities", kind=kind, project="home")["items"]] == expected


def test_list_of_groups_counts_users_and_names_policies(api: Any) -> None:
    row = api("list_identities", kind="group")["items"][1]
    assert row == {"id": "grp-2", "name": "readers", "users": 1, "policies": ["pol-1"]}


def test_list_of_policies_says_what_is_in_force(api: Any) -> None:
    rows = {row["id"]: row["allows"] for row in api("list_identities", kind="policy")["items"]}
    assert rows["pol-2"] == "deny * on bkt-2"
    assert rows["pol-4"] == "bucket:read on bkt-2"
    api("set_default_version", policy_id="pol-4", version=2)
    assert api("list_identities", kind="policy")["items"][3]["allows"] == "* on *"


def test_list_of_an_unknown_project_is_refused(api: Any) -> None:
    assert api.refusal("list_identities", kind="user", project="moon") == "not_found"


def test_reading_shows_statements_and_bindings(api: Any) -> None:
    api("grant_actions", identity_id="usr-5", actions=["key:use"], resources=["key-1"], days=3)
    shown = api("read_resource", resource_id="usr-5")
    assert shown["policies"] == [{"id": "pol-9", "until": 5}]
    assert shown["statements"] == [{"effect": "allow", "actions": ["key:use"], "resources": ["key-1"], "until": 3}]
    version = [{"effect": "allow", "actions": ["bucket:read"], "resources": ["bkt-1"], "until": None}]
    assert api("read_resource", resource_id="pol-1")["versions"] == [version]


@pytest.mark.parametrize(("day", "left"), [(4, (Binding("pol-9", 5),)), (5, ()), (90, ())])
def test_binding_ends_on_its_day(state: State, day: int, left: tuple[Binding, ...]) -> None:
    assert advance(state, day)["usr-5"].policies == left  # type: ignore[attr-defined]


def test_identity_without_an_end_stays_the_same_record(state: State) -> None:
    assert advance(state, 90)["usr-1"] is state["usr-1"]


@pytest.mark.parametrize(("effect", "said"), [("allow", "a, b on c"), ("allow_except", "allow_except a, b on c")])
def test_statement_says_what_it_says(effect: str, said: str) -> None:
    assert str(Statement(effect, ("a", "b"), ("c",))) == said
