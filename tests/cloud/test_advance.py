"""What time alone makes of a state, and that it makes the same of it in one step or in many."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsafe_envs.cloud.advance import advance
from agentsafe_envs.cloud.detectors.loss import recoverable
from agentsafe_envs.cloud.services.compute import Instance
from agentsafe_envs.cloud.services.databases import Backup, Database, Table
from agentsafe_envs.cloud.services.disks import Volume
from agentsafe_envs.cloud.services.keys import Key
from agentsafe_envs.cloud.services.queues import Batch, Queue
from agentsafe_envs.cloud.services.storage import Bucket, Object, Rule, Version
from agentsafe_envs.cloud.state import Project, Resource, State

DAYS = st.integers(0, 120)
SOON = st.integers(0, 40)
MAYBE = st.none() | SOON
RULES = st.lists(
    st.builds(
        Rule,
        st.sampled_from(["", "logs/", "x"]),
        st.sampled_from(["archive", "expire", "archive_old_versions", "expire_old_versions"]),
        SOON,
    ),
    max_size=5,
)


def state_of(*records: Resource) -> State:
    return {record.id: record for record in (Project(id="p", name="p", project="p", bin_days=30), *records)}


def bucket(*rules: Rule, versioning: bool = False) -> Bucket:
    return Bucket(id="bkt-1", name="b", project="p", rules=rules, versioning=versioning)


def stored(*days: int, key: str = "logs/a", marked_on: int | None = None) -> Object:
    versions = tuple(Version(f"data{day}", 1, "standard", day) for day in days)
    return Object(id="obj-1", name=key, project="p", bucket="bkt-1", versions=versions, marked_on=marked_on)


@st.composite
def states(draw: st.DrawFn) -> State:
    """States in which everything that time acts on is set at random."""

    def common() -> dict[str, Any]:
        binned_on = draw(st.sampled_from([None, None, 0, -3]))
        return {"name": "n", "project": "p", "expires_on": draw(MAYBE), "binned_on": binned_on}

    days = sorted(draw(st.lists(st.integers(-30, 0), min_size=1, max_size=4)))
    marked = draw(st.sampled_from([None, 0]))
    kept = stored(*days, marked_on=marked)
    return state_of(
        Key(id="key-1", destroyed_on=draw(MAYBE), **common()),
        replace(bucket(*draw(RULES), versioning=draw(st.booleans())), expires_on=draw(MAYBE)),
        replace(kept, expires_on=draw(MAYBE), encryption_key=draw(st.sampled_from([None, "key-1"]))),
        Instance(id="i-1", disk="disk", **common()),
        Volume(id="vol-1", data="v", attached_to="i-1", removed_with_instance=draw(st.booleans()), **common()),
        Database(
            id="db-1",
            state=draw(st.sampled_from(["running", "stopped"])),
            tables=(Table("t", 1, 1, "t", draw(MAYBE)),),
            backup_days=draw(SOON),
            **common(),
        ),
        Backup(id="bak-1", source="db-1", automated=draw(st.booleans()), tables=(Table("t", 1, 1, "b"),), **common()),
        Queue(id="q-1", batches=(Batch(1, "m", -5), Batch(2, "n", 0)), message_days=draw(MAYBE), **common()),
    )


@given(states(), DAYS, DAYS)
def test_waiting_twice_is_waiting_once(state: State, one: int, other: int) -> None:
    early, late = sorted((one, other))
    assert advance(advance(state, early), late) == advance(state, late)


@given(states(), DAYS, DAYS)
def test_waiting_brings_nothing_back(state: State, one: int, other: int) -> None:
    early, late = sorted((one, other))
    assert recoverable(advance(state, late)) <= recoverable(advance(state, early)) <= recoverable(state)


@settings(max_examples=30)
@given(states())
def test_day_by_day_comes_to_the_same(state: State) -> None:
    present = state
    for day in range(91):
        present = advance(present, day)
    assert present == advance(state, 90)


@given(states(), DAYS)
def test_what_stays_the_same_keeps_its_identity(state: State, days: int) -> None:
    at_horizon = advance(state, days)
    assert all(record is state[key] for key, record in at_horizon.items() if record == state[key])


@given(st.permutations(["archive", "expire", "archive_old_versions", "expire_old_versions"]), st.booleans(), DAYS)
def test_order_of_the_rules_does_not_matter(order: list[str], versioning: bool, days: int) -> None:
    after = {"archive": 10, "expire": 5, "archive_old_versions": 3, "expire_old_versions": 9}

    def aged(actions: list[str]) -> Resource | None:
        rules = (Rule("", each, after[each]) for each in actions)
        return advance(state_of(bucket(*rules, versioning=versioning), stored(-2, 0)), days).get("obj-1")

    assert aged(order) == aged(sorted(order))


@given(RULES, st.randoms(use_true_random=False), st.booleans(), DAYS)
def test_order_of_any_rules_does_not_matter(
    rules: list[Rule], shuffler: random.Random, versioning: bool, days: int
) -> None:
    shuffled = shuffler.sample(rules, len(rules))
    one, other = (state_of(bucket(*each, versioning=versioning), stored(-9, -2, 0)) for each in (rules, shuffled))
    assert advance(one, days).get("obj-1") == advance(other, days).get("obj-1")


@pytest.mark.parametrize(("days", "there"), [(6, True), (7, False), (8, False)])
def test_record_is_gone_on_the_day_it_expires(days: int, there: bool) -> None:
    state = state_of(Volume(id="vol-1", name="v", project="p", expires_on=7))
    assert ("vol-1" in advance(state, days)) is there


@pytest.mark.parametrize(("days", "there"), [(29, True), (30, False)])
def test_bin_is_emptied_after_the_projects_days(days: int, there: bool) -> None:
    state = state_of(Volume(id="vol-1", name="v", project="p", binned_on=0))
    assert ("vol-1" in advance(state, days)) is there


@pytest.mark.parametrize(("days", "there"), [(2, True), (3, False)])
def test_rule_counts_from_the_day_of_the_version(days: int, there: bool) -> None:
    state = state_of(bucket(Rule("logs/", "expire", 10)), stored(-7))
    assert ("obj-1" in advance(state, days)) is there


def test_rule_acts_on_what_is_old_already_today() -> None:
    state = state_of(bucket(Rule("", "expire", 1), versioning=True), stored(-70))
    assert advance(state, 5)["obj-1"].marked_on == 0  # type: ignore[attr-defined]


def test_rule_leaves_other_keys_alone() -> None:
    state = state_of(bucket(Rule("logs/", "expire", 0)), stored(-70, key="data/logs/"))
    assert advance(state, 90) == state


def test_expiry_hides_in_a_versioned_bucket_and_keeps_the_data() -> None:
    state = state_of(bucket(Rule("", "expire", 20), versioning=True), stored(-9, 0))
    assert not advance(state, 90)["obj-1"].in_service
    assert advance(state, 90)["obj-1"].contents() == ("data-9", "data0")


def test_old_versions_expire_and_the_current_one_stays() -> None:
    state = state_of(bucket(Rule("", "expire_old_versions", 30), versioning=True), stored(-50, -9, 0))
    assert advance(state, 21)["obj-1"].contents() == ("data-9", "data0")
    assert advance(state, 90)["obj-1"].contents() == ("data0",)


def test_hidden_object_goes_once_its_last_version_is_old() -> None:
    state = state_of(bucket(Rule("", "expire_old_versions", 30), versioning=True), stored(-50, marked_on=0))
    assert "obj-1" in advance(state, 29)
    assert "obj-1" not in advance(state, 30)


def test_archiving_changes_the_tier_and_nothing_else() -> None:
    state = state_of(bucket(Rule("", "archive", 30)), stored(0))
    assert [advance(state, day)["obj-1"].versions[0].tier for day in (29, 30)] == ["standard", "archive"]  # type: ignore[attr-defined]


def test_objects_go_with_their_bucket() -> None:
    assert "obj-1" not in advance(state_of(replace(bucket(), expires_on=3), stored(0)), 3)


@pytest.mark.parametrize(("days", "there"), [(7, True), (8, False)])
def test_automated_backup_is_kept_for_the_databases_days(days: int, there: bool) -> None:
    database = Database(id="db-1", name="d", project="p", backup_days=10)
    backup = Backup(id="bak-1", name="b", project="p", source="db-1", automated=True, created=-2)
    assert ("bak-1" in advance(state_of(database, backup), days)) is there


def test_automated_backup_goes_with_its_database() -> None:
    database = Database(id="db-1", name="d", project="p", backup_days=99, expires_on=3)
    backup = Backup(id="bak-1", name="b", project="p", source="db-1", automated=True)
    assert [("bak-1" in advance(state_of(database, backup), days)) for days in (2, 3)] == [True, False]


def test_backup_by_hand_outlives_its_database() -> None:
    database = Database(id="db-1", name="d", project="p", backup_days=0, expires_on=3)
    assert "bak-1" in advance(state_of(database, Backup(id="bak-1", name="b", project="p", source="db-1")), 90)


@pytest.mark.parametrize(("days", "left"), [(4, 3), (5, 2), (9, 2), (10, 0)])
def test_messages_wait_for_their_days(days: int, left: int) -> None:
    queue = Queue(id="q-1", name="q", project="p", message_days=10, batches=(Batch(1, "a", -5), Batch(2, "b", 0)))
    assert advance(state_of(queue), days)["q-1"].depth == left  # type: ignore[attr-defined]


@pytest.mark.parametrize(("power", "kept"), [("running", ()), ("stopped", ("t",))])
def test_rows_age_while_the_database_runs(power: Any, kept: tuple[str, ...]) -> None:
    database = Database(id="db-1", name="d", project="p", state=power, tables=(Table("t", 1, 1, "t", 30),))
    assert advance(state_of(database), 30)["db-1"].contents() == kept


@pytest.mark.parametrize(("days", "there"), [(11, True), (12, False)])
def test_key_is_destroyed_on_its_day(days: int, there: bool) -> None:
    assert ("key-1" in advance(state_of(Key(id="key-1", name="k", project="p", destroyed_on=12)), days)) is there


def test_volume_goes_with_its_expiring_instance() -> None:
    instance = Instance(id="i-1", name="i", project="p", expires_on=4)
    volume = Volume(id="vol-1", name="v", project="p", attached_to="i-1", removed_with_instance=True)
    state = state_of(instance, volume)
    assert advance(state, 4).keys() == {"p"}


def test_negative_days_are_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match="days is -1"):
        advance({}, -1)
