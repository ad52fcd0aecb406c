"""Buckets, objects and their versions, lifecycle rules."""

from __future__ import annotations

from typing import Any

import pytest

from agentsafe_envs.cloud.services.storage import Object, Rule, Version


def visible(api: Any, bucket_id: str) -> dict[str, str]:
    rows = api("list_resources", kind="object", bucket_id=bucket_id)["items"]
    return {row["name"]: api[row["id"]].versions[-1].data for row in rows}


def test_bucket_names_are_unique(api: Any) -> None:
    assert api("create_bucket", project="home", name="new", versioning=True) == {"id": "bkt-6", "name": "new"}
    assert api.refusal("create_bucket", project="vault", name="new") == "conflict"


def test_object_is_written_over_without_versioning(api: Any) -> None:
    api("put_object", bucket_id="bkt-1", key="b", text="new")
    assert "o2" not in api["obj-2"].contents()
    assert len(api["obj-2"].versions) == 1


def test_old_versions_stay_with_versioning(api: Any) -> None:
    api("put_object", bucket_id="bkt-2", key="c", text="new")
    assert api["obj-3"].contents()[:2] == ("o3old", "o3")


def test_new_version_of_a_removed_object_brings_it_back(api: Any) -> None:
    api("delete_resource", resource_id="obj-3")
    assert visible(api, "bkt-2") == {}
    api("put_object", bucket_id="bkt-2", key="c", text="new")
    assert len(api["obj-3"].versions) == 3
    assert "c" in visible(api, "bkt-2")


def test_equal_text_is_equal_data(api: Any) -> None:
    api("put_object", bucket_id="bkt-3", key="x", text="same")
    api("put_object", bucket_id="bkt-3", key="y", text="same")
    assert len(set(visible(api, "bkt-3").values())) == 1


def test_copy_holds_the_current_version_under_the_same_key(api: Any) -> None:
    api("copy_object", object_id="obj-4", bucket_id="bkt-3", key="x", tier="archive")
    copy = api["obj-6"]
    assert (copy.contents(), copy.encryption_key, copy.usage()) == (("o4",), "key-1", (("object_gb", 0),))


def test_what_joins_versions_takes_on_their_key(api: Any) -> None:
    api("copy_object", object_id="obj-4", bucket_id="bkt-2", key="c")
    assert (api["obj-3"].contents(), api["obj-3"].encryption_key) == (("o3old", "o3", "o4"), None)


def test_moving_takes_id_and_versions_along(api: Any) -> None:
    api("move_object", object_id="obj-3", bucket_id="bkt-3", key="z")
    assert (api["obj-3"].bucket, api["obj-3"].name, len(api["obj-3"].versions)) == ("bkt-3", "z", 2)


def test_nothing_is_moved_onto_another_key(api: Any) -> None:
    assert api.refusal("move_object", object_id="obj-1", bucket_id="bkt-1", key="b") == "conflict"


def test_storage_is_limited(api: Any) -> None:
    api("put_object", bucket_id="bkt-4", key="x", text="one")
    assert api.refusal("put_object", bucket_id="bkt-4", key="y", text="two") == "quota"
    assert api.refusal("move_object", object_id="obj-1", bucket_id="bkt-4", key="z") == "quota"


def test_writing_over_an_object_needs_no_second_room(api: Any) -> None:
    api("put_object", bucket_id="bkt-4", key="x", text="one")
    api("put_object", bucket_id="bkt-4", key="x", text="two")
    api("set_versioning", bucket_id="bkt-4", enabled=True)
    assert api.refusal("put_object", bucket_id="bkt-4", key="x", text="three") == "quota"


def test_archived_objects_take_no_room(api: Any) -> None:
    api("copy_object", object_id="obj-1", bucket_id="bkt-4", key="x", tier="archive")
    assert api.refusal("set_tier", resource_id="obj-6", tier="standard") == "quota"


def test_syncing_copies_what_is_new_or_changed(api: Any) -> None:
    api("copy_object", object_id="obj-1", bucket_id="bkt-3", key="b")
    api("put_object", bucket_id="bkt-3", key="own", text="mine")
    assert api("sync_bucket", source_id="bkt-3", target_id="bkt-1") == {"copied": 2, "not_in_source": 0}
    assert visible(api, "bkt-1").keys() == {"logs/a", "b", "sealed", "own"}
    assert visible(api, "bkt-1")["b"] == "o1"


def test_syncing_again_changes_nothing(api: Any) -> None:
    api("sync_bucket", source_id="bkt-1", target_id="bkt-3")
    before = api.cloud.state
    api("sync_bucket", source_id="bkt-1", target_id="bkt-3", mirror=True)
    assert api.cloud.state is before


@pytest.mark.parametrize(("bucket_id", "left"), [("bkt-1", set()), ("bkt-2", {"o3", "o3old"})])
def test_mirror_removes_what_the_source_lacks(api: Any, bucket_id: str, left: set[str]) -> None:
    api("sync_bucket", source_id="bkt-3", target_id=bucket_id, mirror=True)
    assert visible(api, bucket_id) == {}
    kept = (each for each in api.cloud.state.values() if isinstance(each, Object) and each.bucket == bucket_id)
    assert {data for each in kept for data in each.contents()} == left


def test_old_versions_are_deleted_for_good(api: Any) -> None:
    assert api("delete_old_versions", object_id="obj-3") == {"id": "obj-3", "versions": 1}
    assert api["obj-3"].contents() == ("o3",)


def test_protected_object_is_not_written_over(api: Any) -> None:
    api("set_protection", resource_id="obj-1", enabled=True)
    assert api.refusal("put_object", bucket_id="bkt-1", key="logs/a", text="new") == "conflict"
    assert api.refusal("delete_old_versions", object_id="obj-1") == "conflict"
    assert api.refusal("sync_bucket", source_id="bkt-3", target_id="bkt-1", mirror=True) == "conflict"


def test_versioning_off_keeps_no_more_versions(api: Any) -> None:
    api("set_versioning", bucket_id="bkt-2", enabled=False)
    api("put_object", bucket_id="bkt-2", key="c", text="new")
    assert len(api["obj-3"].versions) == 1


def test_rules_are_set_replaced_and_cleared(api: Any) -> None:
    api("put_lifecycle_rule", bucket_id="bkt-1", action="expire", after_days=5)
    api("put_lifecycle_rule", bucket_id="bkt-1", action="archive", after_days=5, key_prefix="logs/")
    api("put_lifecycle_rule", bucket_id="bkt-1", action="expire", after_days=7)
    assert api["bkt-1"].rules == (Rule("logs/", "archive", 5), Rule("", "expire", 7))
    api("clear_lifecycle_rules", bucket_id="bkt-1")
    assert api["bkt-1"].rules == ()


@pytest.mark.parametrize("days", [-1, 3_651, 10**400])
def test_age_of_a_rule_has_limits(api: Any, days: int) -> None:
    assert api.refusal("put_lifecycle_rule", bucket_id="bkt-1", action="expire", after_days=days) == "invalid_argument"


def test_removed_object_is_not_found_by_its_tools(api: Any) -> None:
    api("delete_resource", resource_id="obj-3")
    assert api.refusal("copy_object", object_id="obj-3", bucket_id="bkt-1", key="x") == "not_found"
    assert api.refusal("delete_resource", resource_id="obj-3") == "not_found"


def test_bucket_of_others_is_read_and_not_written(api: Any) -> None:
    api.cloud.put(
        Object(id="obj-9", name="x", project="locked", bucket="bkt-1", versions=(Version("x", 1, "archive", 0),))
    )
    api("copy_object", object_id="obj-9", bucket_id="bkt-3", key="x")
    assert api.refusal("move_object", object_id="obj-9", bucket_id="bkt-3", key="y") == "permission"


def test_every_version_costs_by_its_tier(api: Any) -> None:
    assert api["obj-3"].monthly_cents() == 2 * 10 * 4
    api("set_tier", resource_id="obj-3", tier="archive")
    assert api["obj-3"].monthly_cents() == 2 * 10 * 1
