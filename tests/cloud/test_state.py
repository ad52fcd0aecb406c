"""The table of records: ids, differences, digests, quotas, and who may change what."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.cloud.services.disks import Volume, VolumeSnapshot
from agentsafe_envs.cloud.services.resources import TYPES
from agentsafe_envs.cloud.services.storage import Bucket
from agentsafe_envs.cloud.state import (
    Cloud,
    CloudError,
    Resource,
    State,
    bin_days,
    changes,
    content,
    live,
    project_cents,
    project_usage,
    state_hash,
)


@pytest.fixture
def cloud(state: State) -> Cloud:
    return Cloud(state, frozenset({"home", "tight"}))


def test_new_id_is_one_above_the_highest_at_the_start(cloud: Cloud) -> None:
    assert [cloud.new_id(Volume), cloud.new_id(Volume), cloud.new_id(VolumeSnapshot)] == ["vol-51", "vol-52", "snap-2"]


def test_new_id_is_not_the_id_of_a_removed_record(cloud: Cloud) -> None:
    cloud.put(Volume(id=cloud.new_id(Volume), name="new", project="home"))
    cloud.drop("vol-50", "vol-51")
    assert cloud.new_id(Volume) == "vol-52"


def test_new_id_is_not_that_of_a_record_removed_before(cloud: Cloud) -> None:
    cloud.drop("vol-50")
    assert cloud.new_id(Volume) == "vol-51"


def test_first_record_of_a_type_gets_number_one() -> None:
    assert Cloud({}, frozenset()).new_id(Bucket) == "bkt-1"


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_kind_and_prefix_are_the_types_own(kind: str) -> None:
    assert TYPES[kind].kind == kind
    assert sum(each.prefix == TYPES[kind].prefix for each in TYPES.values()) == 1


def test_writing_leaves_a_kept_state_alone(cloud: Cloud, state: State) -> None:
    kept, size = cloud.state, len(state)
    cloud.put(Volume(id="vol-99", name="new", project="home"))
    cloud.drop("vol-1")
    assert cloud.state is not kept
    assert (len(kept), "vol-1" in kept) == (size, True)


def test_unknown_and_binned_records_are_not_found(cloud: Cloud, state: State) -> None:
    cloud.put(replace(state["vol-2"], binned_on=0))
    for record_id in ("vol-999", "vol-2", ""):
        with pytest.raises(CloudError, match="list_resources") as error:
            cloud.find(record_id, Resource)
        assert error.value.code == "not_found"


def test_record_of_another_kind_is_an_invalid_argument(cloud: Cloud) -> None:
    with pytest.raises(CloudError, match="vol-1 is a volume, expected a snapshot") as error:
        cloud.find("vol-1", VolumeSnapshot)
    assert error.value.code == "invalid_argument"


def test_project_of_others_is_read_but_not_written(cloud: Cloud) -> None:
    assert cloud.find("vol-40", Volume).data == "v40"
    with pytest.raises(CloudError, match="only read project locked") as error:
        cloud.writable("vol-40", Volume)
    assert error.value.code == "permission"


@pytest.mark.parametrize("project", ["nowhere", "vol-1"])
def test_what_is_no_project_is_not_found(cloud: Cloud, project: str) -> None:
    with pytest.raises(CloudError, match="you work in home, tight") as error:
        cloud.require_project(project)
    assert error.value.code == "not_found"


def test_unguarded_cloud_lets_everything_pass(state: State) -> None:
    cloud = Cloud(state, frozenset(), unguarded=True)
    cloud.require_room("tight", {"volumes": 99})
    assert cloud.writable("vol-40", Volume).id == "vol-40"


def test_quota_is_used_up_to_its_limit(cloud: Cloud) -> None:
    cloud.require_room("tight", {"snapshots": 1})
    with pytest.raises(CloudError, match="uses 0 of 1 snapshots; 2 more do not fit") as error:
        cloud.require_room("tight", {"snapshots": 2})
    assert error.value.code == "quota"


@pytest.mark.parametrize("added", [{"volumes": 0}, {"volumes": -1}, {"unlimited": 10**9}])
def test_quota_refuses_only_what_adds_to_it(cloud: Cloud, added: dict[str, int]) -> None:
    before = cloud.state
    cloud.require_room("tight", added)
    assert cloud.state is before


def test_binned_records_are_not_live_and_cost_nothing(state: State) -> None:
    binned = state | {"vol-1": replace(state["vol-1"], binned_on=0)}
    assert "vol-1" not in {volume.id for volume in live(binned, Volume, "home")}
    assert project_usage(binned, "home")["volumes"] == project_usage(state, "home")["volumes"] - 1
    assert project_cents(binned, "home") == project_cents(state, "home") - state["vol-1"].monthly_cents()


def test_bin_of_what_is_no_project_lasts_no_day(state: State) -> None:
    assert [bin_days(state, each) for each in ("keep", "home", "vol-1", "nowhere")] == [180, 0, 0, 0]


def test_difference_names_fields_with_old_and_new_value(state: State) -> None:
    changed = replace(state["vol-1"], name="other", protected=True)
    assert changes(state, state | {"vol-1": changed}) == {
        "vol-1": {"name": ("main", "other"), "protected": (False, True)}
    }


def test_difference_shows_what_came_and_went(state: State) -> None:
    after = {key: record for key, record in state.items() if key != "vol-1"} | {"new": state["vol-2"]}
    assert changes(state, after) == {"vol-1": {"exists": (True, False)}, "new": {"exists": (False, True)}}


def test_equal_states_do_not_differ(state: State) -> None:
    assert changes(state, {key: replace(record) for key, record in state.items()}) == {}


def test_hash_ignores_the_order_of_the_table(state: State) -> None:
    assert state_hash(dict(reversed(state.items()))) == state_hash(state)


@pytest.mark.parametrize("change", [{"name": "x"}, {"binned_on": 0}, {"tags": (("a", "b"),)}, {"expires_on": 9}])
def test_hash_sees_every_field(state: State, change: dict[str, Any]) -> None:
    assert state_hash(state | {"vol-1": replace(state["vol-1"], **change)}) != state_hash(state)


@given(st.lists(st.text(st.characters(codec=None)), max_size=3))
def test_any_text_has_a_digest(parts: list[str]) -> None:
    assert len(content(*parts)) == 12
    assert content(*parts) == content(*parts)
