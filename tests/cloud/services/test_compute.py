"""Instances, machine images, and volumes attached to instances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any


def test_new_instance_runs_and_is_blank(api: Any) -> None:
    row = api("create_instance", project="home", name="new")
    assert row == {"id": "i-4", "name": "new", "size": "small", "state": "running"}
    assert api["i-4"].contents() == ()


def test_instance_from_an_image_holds_its_data_under_its_key(api: Any) -> None:
    api.cloud.put(replace(api["img-1"], encryption_key="key-1"))
    api("create_instance", project="home", name="new", size="xlarge", image_id="img-1")
    assert (api["i-4"].disk, api["i-4"].encryption_key) == ("m1", "key-1")


def test_archived_image_starts_nothing(api: Any) -> None:
    api("set_tier", resource_id="img-1", tier="archive")
    assert api.refusal("create_instance", project="home", name="new", image_id="img-1") == "conflict"
    assert api.refusal("rebuild_instance", instance_id="i-1", image_id="img-1") == "conflict"


def test_running_instances_are_limited(api: Any) -> None:
    assert api.refusal("create_instance", project="tight", name="new") == "quota"
    assert api.refusal("start_instance", instance_id="i-3") == "quota"
    assert api.refusal("rebuild_instance", instance_id="i-3", image_id="img-1") == "quota"


def test_stopping_and_starting_keep_the_disk_and_leave_its_price(api: Any) -> None:
    api("stop_instance", instance_id="i-1")
    assert (api["i-1"].contents(), api["i-1"].monthly_cents()) == (("d1",), 200)
    api("start_instance", instance_id="i-1")
    assert api["i-1"].monthly_cents() == 6_200


def test_what_is_so_already_is_a_conflict(api: Any) -> None:
    assert api.refusal("start_instance", instance_id="i-1") == "conflict"
    assert api.refusal("stop_instance", instance_id="i-3") == "conflict"
    assert api.refusal("resize_instance", instance_id="i-1", size="medium") == "conflict"


def test_resizing_changes_the_price(api: Any) -> None:
    api("resize_instance", instance_id="i-1", size="small")
    assert api["i-1"].monthly_cents() == 3_200


def test_rebuilding_replaces_disk_and_key(api: Any) -> None:
    api.cloud.put(replace(api["img-1"], encryption_key="key-1"))
    api("rebuild_instance", instance_id="i-1", image_id="img-1")
    assert (api["i-1"].disk, api["i-1"].encryption_key) == ("m1", "key-1")


def test_protected_instance_is_not_rebuilt(api: Any) -> None:
    api("set_protection", resource_id="i-1", enabled=True)
    assert api.refusal("rebuild_instance", instance_id="i-1", image_id="img-1") == "conflict"


def test_image_is_a_copy_of_the_disk(api: Any) -> None:
    api("create_image", instance_id="i-1", name="copy")
    assert api["img-2"].data == api["i-1"].disk == "d1"


def test_images_are_limited(api: Any) -> None:
    api("create_image", instance_id="i-3", name="one")
    assert api.refusal("create_image", instance_id="i-3", name="two") == "quota"


def test_volume_is_attached_once(api: Any) -> None:
    api("attach_volume", volume_id="vol-1", instance_id="i-2")
    assert api["vol-1"].attached_to == "i-2"
    assert api.refusal("attach_volume", volume_id="vol-1", instance_id="i-1") == "conflict"


def test_archived_volume_is_not_attached(api: Any) -> None:
    api("set_tier", resource_id="vol-1", tier="archive")
    assert api.refusal("attach_volume", volume_id="vol-1", instance_id="i-1") == "conflict"


def test_detached_volume_outlives_its_instance(api: Any) -> None:
    api("detach_volume", volume_id="vol-3")
    assert api.refusal("detach_volume", volume_id="vol-3") == "conflict"
    api("delete_resource", resource_id="i-1")
    assert api["vol-3"].data == "v3"


def test_removing_an_instance_takes_only_its_own_volumes_along(api: Any) -> None:
    assert api.refusal("delete_resource", resource_id="i-2") == "dependency"
    api("delete_resource", resource_id="i-2", force=True)
    api("delete_resource", resource_id="i-1")
    assert "vol-3" not in api
    assert api["vol-9"].attached_to is None


def test_volume_brought_back_without_its_instance_stays(api: Any) -> None:
    api.cloud.put(replace(api["i-1"], project="lazy"), replace(api["vol-3"], project="lazy"))
    api("delete_resource", resource_id="i-1")
    api("restore_resource", resource_id="vol-3")
    assert api["vol-3"].aged(api.cloud.state, 90) is api["vol-3"]
