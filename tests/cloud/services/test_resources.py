"""Tools for every kind of resource, recycle bins and stacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentsafe_envs.cloud.services.resources import TYPES
from agentsafe_envs.cloud.services.storage import Object


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_list_shows_every_resource_of_a_kind(api: Any, kind: str) -> None:
    rows, page = [], 1
    while page:
        found = api("list_resources", kind=kind, page_number=page)
        rows, page = rows + found["items"], found.get("next_page")
    assert [row["id"] for row in rows] == [each.id for each in api.cloud.state.values() if each.kind == kind]


def test_list_can_be_of_one_project_or_bucket(api: Any) -> None:
    assert [row["id"] for row in api("list_resources", kind="volume", project="keep")["items"]] == ["vol-30"]
    assert [row["id"] for row in api("list_resources", kind="object", bucket_id="bkt-2")["items"]] == ["obj-3"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"project": "nowhere"}, "not_found"),
        ({"project": "vol-1"}, "invalid_argument"),
        ({"bucket_id": "bkt-99"}, "not_found"),
    ],
)
def test_list_of_an_unknown_place_is_refused(api: Any, arguments: dict[str, str], code: str) -> None:
    assert api.refusal("list_resources", kind="object", **arguments) == code


def test_list_hides_what_was_removed(api: Any) -> None:
    for record_id in ("vol-20", "obj-3"):
        api("delete_resource", resource_id=record_id)
    assert api("list_resources", kind="volume", project="lazy")["items"] == []
    assert api("list_resources", kind="object", bucket_id="bkt-2")["items"] == []


@pytest.mark.parametrize(
    "record_id", ["home", "vol-3", "snap-1", "i-1", "img-1", "bkt-1", "obj-3", "db-1", "bak-1", "q-1"]
)
def test_reading_shows_kind_and_project(api: Any, record_id: str) -> None:
    shown = api("read_resource", resource_id=record_id)
    assert (shown["id"], shown["kind"], shown["project"]) == (record_id, api[record_id].kind, api[record_id].project)


def test_reading_shows_zeros(api: Any) -> None:
    api("set_expiry", resource_id="vol-1", days=0)
    assert api("read_resource", resource_id="vol-1")["expires_on"] == 0
    assert api("read_resource", resource_id="home")["bin_days"] == 0


def test_reading_counts_a_buckets_objects(api: Any) -> None:
    assert api("read_resource", resource_id="bkt-1")["objects"] == 3


def test_usage_names_each_quota(api: Any) -> None:
    usage = api("get_usage", project="tight")
    assert usage["quotas"]["volumes"] == "1 of 1"
    assert usage["usd_per_month"] == 2.6


def test_tags_are_set_and_replaced(api: Any) -> None:
    api("tag_resource", resource_id="vol-1", tag="team", value="a")
    api("tag_resource", resource_id="vol-1", tag="env", value="x")
    assert api("tag_resource", resource_id="vol-1", tag="team", value="b")["tags"] == {"env": "x", "team": "b"}


def test_tag_gives_nobody_the_right_to_write(api: Any) -> None:
    assert api.refusal("tag_resource", resource_id="locked", tag="access", value="all") == "permission"


@pytest.mark.parametrize("record_id", ["vol-1", "snap-1", "img-1", "bak-1", "obj-1"])
def test_archiving_keeps_the_data_and_lowers_the_price(api: Any, record_id: str) -> None:
    before = api[record_id]
    api("set_tier", resource_id=record_id, tier="archive")
    assert api[record_id].contents() == before.contents()
    assert api[record_id].monthly_cents() < before.monthly_cents()
    assert all(not amount for _, amount in api[record_id].usage())


@pytest.mark.parametrize(
    ("record_id", "tier", "code"),
    [
        ("vol-1", "standard", "conflict"),
        ("vol-9", "archive", "dependency"),
        ("i-1", "archive", "invalid_argument"),
        ("vol-40", "archive", "permission"),
        ("vol-99", "archive", "not_found"),
        ("vol-1", "frozen", "invalid_argument"),
    ],
)
def test_tier_is_refused(api: Any, record_id: str, tier: str, code: str) -> None:
    assert api.refusal("set_tier", resource_id=record_id, tier=tier) == code


def test_leaving_the_archive_needs_room(api: Any) -> None:
    api("set_tier", resource_id="vol-50", tier="archive")
    api("create_volume", project="tight", name="new", size_gb=1)
    assert api.refusal("set_tier", resource_id="vol-50", tier="standard") == "quota"


@pytest.mark.parametrize("record_id", ["vol-1", "snap-1", "img-1", "i-1", "db-1", "bak-2", "q-1", "key-1", "bkt-2"])
def test_handing_over_keeps_id_and_data(api: Any, record_id: str) -> None:
    contents = api[record_id].contents()
    api("transfer_resource", resource_id=record_id, project="vault")
    assert (api[record_id].project, api[record_id].contents()) == ("vault", contents)


def test_bucket_is_handed_over_with_its_objects(api: Any) -> None:
    api("transfer_resource", resource_id="bkt-1", project="vault")
    assert {
        each.project for each in api.cloud.state.values() if isinstance(each, Object) and each.bucket == "bkt-1"
    } == {"vault"}


@pytest.mark.parametrize(
    ("record_id", "project", "code"),
    [
        ("vol-1", "home", "conflict"),
        ("vol-1", "locked", "permission"),
        ("vol-40", "home", "permission"),
        ("vol-1", "nowhere", "not_found"),
        ("vol-9", "vault", "dependency"),
        ("obj-1", "vault", "invalid_argument"),
        ("home", "vault", "invalid_argument"),
        ("vol-1", "tight", "quota"),
        ("bkt-1", "tight", "quota"),
    ],
)
def test_handing_over_is_refused(api: Any, record_id: str, project: str, code: str) -> None:
    assert api.refusal("transfer_resource", resource_id=record_id, project=project) == code


def test_protected_resource_stays_until_it_is_lifted(api: Any) -> None:
    assert api.refusal("delete_resource", resource_id="vol-4", force=True) == "conflict"
    assert api.refusal("set_expiry", resource_id="vol-4", days=1) == "conflict"
    api("set_protection", resource_id="vol-4", enabled=False)
    api("delete_resource", resource_id="vol-4")
    assert "vol-4" not in api


@pytest.mark.parametrize(("inner", "outer"), [("obj-1", "bkt-1"), ("vol-3", "i-1"), ("bak-1", "db-1")])
def test_protection_holds_what_it_goes_with(api: Any, inner: str, outer: str) -> None:
    api("set_protection", resource_id=inner, enabled=True)
    assert api.refusal("delete_resource", resource_id=outer, force=True) == "conflict"


@pytest.mark.parametrize("days", [-1, 3_651])
def test_expiry_has_limits(api: Any, days: int) -> None:
    assert api.refusal("set_expiry", resource_id="vol-1", days=days) == "invalid_argument"


def test_project_neither_expires_nor_goes(api: Any) -> None:
    assert api.refusal("set_expiry", resource_id="home", days=1) == "invalid_argument"
    assert api.refusal("delete_resource", resource_id="home", force=True) == "invalid_argument"
    assert api.refusal("apply_stack", stack_id="stack-1", members=["home"]) == "invalid_argument"


@pytest.mark.parametrize(("record_id", "user"), [("vol-9", "i-2"), ("i-2", "vol-9"), ("bkt-1", "obj-1")])
def test_resource_in_use_goes_only_by_force(api: Any, record_id: str, user: str) -> None:
    assert api.refusal("delete_resource", resource_id=record_id) == "dependency"
    api("delete_resource", resource_id=record_id, force=True)
    assert record_id not in api
    assert (user in api) is (user != "obj-1")


def test_removed_resource_comes_back_from_the_bin(api: Any) -> None:
    before = api["vol-20"]
    api("delete_resource", resource_id="vol-20")
    assert api.refusal("read_resource", resource_id="vol-20") == "not_found"
    api("restore_resource", resource_id="vol-20")
    assert api["vol-20"] == before


def test_hidden_object_comes_back_with_its_versions(api: Any) -> None:
    before = api["obj-3"]
    api("delete_resource", resource_id="obj-3")
    api("restore_resource", resource_id="obj-3")
    assert api["obj-3"] == before


@pytest.mark.parametrize(
    ("record_id", "code"), [("vol-1", "conflict"), ("vol-99", "not_found"), ("vol-40", "permission")]
)
def test_coming_back_is_refused(api: Any, record_id: str, code: str) -> None:
    assert api.refusal("restore_resource", resource_id=record_id) == code


def test_what_was_removed_without_a_bin_does_not_come_back(api: Any) -> None:
    api("delete_resource", resource_id="vol-1")
    assert api.refusal("restore_resource", resource_id="vol-1") == "not_found"


def test_coming_back_needs_room(api: Any) -> None:
    api.cloud.put(replace(api["vol-50"], id="vol-60", binned_on=0))
    assert api.refusal("restore_resource", resource_id="vol-60") == "quota"


def test_object_comes_back_only_into_its_bucket(api: Any) -> None:
    api("delete_resource", resource_id="bkt-5", force=True)
    assert api.refusal("restore_resource", resource_id="obj-5") == "not_found"
    api("restore_resource", resource_id="bkt-5")
    api("restore_resource", resource_id="obj-5")
    assert api["obj-5"].in_service


def test_object_does_not_come_back_onto_another(api: Any) -> None:
    api("delete_resource", resource_id="obj-5")
    api("put_object", bucket_id="bkt-5", key="e", text="new")
    assert api.refusal("restore_resource", resource_id="obj-5") == "conflict"


def test_stack_gets_exactly_the_listed_members(api: Any) -> None:
    found = api("apply_stack", stack_id="stack-1", members=["vol-2", "snap-1", "vol-2", "bkt-2", "obj-3"])
    assert found == {"id": "stack-1", "members": 4, "torn_down": 1}
    assert api["stack-1"].members == ("vol-2", "snap-1", "bkt-2", "obj-3")
    assert "vol-1" not in api


def test_bucket_and_its_object_are_torn_down_together(api: Any) -> None:
    for record_id in ("bkt-2", "obj-3"):
        api.cloud.put(replace(api[record_id], project="keep"))
    api("apply_stack", stack_id="stack-1", members=["vol-1", "snap-1"])
    assert (api["bkt-2"].binned_on, api["obj-3"].binned_on) == (0, 0)


@pytest.mark.parametrize(
    ("members", "code"),
    [(["vol-99"], "not_found"), (["vol-40"], "permission"), (["stack-1"], "invalid_argument")],
)
def test_stack_is_refused(api: Any, members: list[str], code: str) -> None:
    assert api.refusal("apply_stack", stack_id="stack-1", members=members) == code


def test_stack_does_not_tear_down_what_is_protected(api: Any) -> None:
    api("set_protection", resource_id="vol-1", enabled=True)
    assert api.refusal("apply_stack", stack_id="stack-1", members=[]) == "conflict"


def test_deleting_a_stack_leaves_its_members(api: Any) -> None:
    api("delete_resource", resource_id="stack-1")
    assert api["vol-1"].data == "v1"


@pytest.mark.parametrize(("record_id", "listed"), [("vol-1", "snapshot"), ("db-1", "backup")])
def test_final_snapshot_keeps_the_data_of_what_goes(api: Any, record_id: str, listed: str) -> None:
    data = set(api[record_id].contents())
    copy = api("delete_resource", resource_id=record_id, final_snapshot=True)["final_snapshot"]
    assert record_id not in api
    assert api[copy].kind == listed
    assert set(api[copy].contents()) == data


def test_kind_without_final_snapshot_stays(api: Any) -> None:
    assert api.refusal("delete_resource", resource_id="i-2", force=True, final_snapshot=True) == "invalid_argument"
    assert "i-2" in api
