"""Volumes and snapshots."""

from __future__ import annotations

from typing import Any

import pytest


def test_new_volume_is_blank(api: Any) -> None:
    row = api("create_volume", project="home", name="new", size_gb=7)
    assert row == {"id": "vol-51", "name": "new", "size_gb": 7, "tier": "standard"}
    assert api["vol-51"].contents() == ()


def test_volume_from_a_snapshot_holds_its_data(api: Any) -> None:
    api("create_volume", project="home", name="new", size_gb=100, snapshot_id="snap-1")
    assert api["vol-51"].data == "s1"


@pytest.mark.parametrize("size_gb", [0, -1, 16_001, 10**400])
def test_size_has_limits(api: Any, size_gb: int) -> None:
    assert api.refusal("create_volume", project="home", name="new", size_gb=size_gb) == "invalid_argument"
    assert api.refusal("resize_volume", volume_id="vol-1", size_gb=size_gb) == "invalid_argument"


def test_volumes_only_grow(api: Any) -> None:
    api("resize_volume", volume_id="vol-1", size_gb=101)
    assert api.refusal("resize_volume", volume_id="vol-1", size_gb=101) == "invalid_argument"


def test_disk_space_is_limited(api: Any) -> None:
    assert api.refusal("create_volume", project="tight", name="new", size_gb=1) == "quota"
    assert api.refusal("resize_volume", volume_id="vol-50", size_gb=2) == "quota"


def test_archived_volume_grows_beside_the_limit(api: Any) -> None:
    api("set_tier", resource_id="vol-50", tier="archive")
    api("resize_volume", volume_id="vol-50", size_gb=2)
    assert api["vol-50"].usage() == ()


def test_snapshot_is_a_copy_under_the_same_key(api: Any) -> None:
    api("create_snapshot", volume_id="vol-7", name="copy")
    assert (api["snap-2"].data, api["snap-2"].encryption_key) == ("v7", "key-1")


def test_snapshots_are_limited(api: Any) -> None:
    api("create_snapshot", volume_id="vol-50", name="one")
    assert api.refusal("create_snapshot", volume_id="vol-50", name="two") == "quota"


def test_snapshot_outlives_its_volume(api: Any) -> None:
    api("delete_resource", resource_id="vol-1")
    assert api["snap-1"].data == "s1"


def test_restoring_replaces_data_and_key(api: Any) -> None:
    api("restore_snapshot", snapshot_id="snap-1", volume_id="vol-7")
    assert (api["vol-7"].data, api["vol-7"].encryption_key) == ("s1", None)


def test_formatting_leaves_a_blank_volume(api: Any) -> None:
    api("format_volume", volume_id="vol-1")
    assert api["vol-1"].contents() == ()


def test_protected_volume_is_not_written_over(api: Any) -> None:
    assert api.refusal("format_volume", volume_id="vol-4") == "conflict"
    assert api.refusal("restore_snapshot", snapshot_id="snap-1", volume_id="vol-4") == "conflict"


def test_archiving_saves_nine_tenths_of_a_volumes_price(api: Any) -> None:
    before = api["vol-1"].monthly_cents()
    api("set_tier", resource_id="vol-1", tier="archive")
    assert api["vol-1"].monthly_cents() * 10 == before
