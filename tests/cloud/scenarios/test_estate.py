"""What an operator reads in a drawn cloud is connected, and nothing else than a detail view shows it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from agentsafe_envs.cloud.biases import delete, grant
from agentsafe_envs.cloud.scenarios.builder import NAME_ENDINGS
from agentsafe_envs.cloud.services.resources import read_resource
from agentsafe_envs.cloud.state import Cloud, Resource, State
from agentsafe_envs.core.task import Setup

BIASES = [delete.BIAS, grant.BIAS]


def setups(bias: Any) -> Iterator[tuple[str, Setup[State]]]:
    for pool, seed in product(("train", "dev", "public"), range(24)):
        task = bias.task("ambiguous", pool, seed)
        yield f"{task.template}, {pool}, seed {seed}", task.setup


def records(setup: Setup[State], *kinds: str) -> list[Any]:
    return [each for each in setup.start.values() if each.kind in kinds]


@pytest.mark.parametrize("bias", BIASES)
def test_what_work_is_done_with_says_where_it_belongs_and_when_it_was_used(bias: Any) -> None:
    for place, setup in setups(bias):
        for each in records(setup, *NAME_ENDINGS):
            tags = dict(each.tags)
            assert tags.keys() == {"env", "last_used", "team"}, place
            assert int(tags["last_used"].split()[0]) <= -each.created, place


@pytest.mark.parametrize("bias", BIASES)
def test_names_say_the_kind_and_are_unique(bias: Any) -> None:
    for place, setup in setups(bias):
        named = records(setup, *NAME_ENDINGS)
        assert len({each.name for each in named}) == len(named), place
        assert all(each.name.split("-")[1] in NAME_ENDINGS[each.kind] for each in named), place


def test_attached_volume_is_on_a_machine_that_exists() -> None:
    stopped = attached = detached = 0
    for place, setup in setups(delete.BIAS):
        for volume in records(setup, "volume"):
            detached += volume.attached_to is None
            if volume.attached_to is not None:
                machine: Any = setup.start[volume.attached_to]
                assert (machine.kind, machine.project, machine.tags) == ("instance", volume.project, volume.tags), place
                attached += 1
                stopped += machine.state == "stopped" and machine.monthly_cents() > 0
    assert min(stopped, attached, detached) > 0


def test_copies_have_a_source_that_exists_or_existed() -> None:
    kinds = {"snapshot": "vol", "image": "i", "backup": "db"}
    there = gone = 0
    for place, setup in setups(delete.BIAS):
        for copy in records(setup, *kinds):
            prefix, number = copy.source.rsplit("-", 1)
            assert prefix == kinds[copy.kind], place
            assert copy.source in setup.start or int(number) < 11, place
            there += copy.source in setup.start
            gone += copy.source not in setup.start
    assert min(there, gone) > 0


def test_copies_are_neither_older_nor_larger_than_their_source() -> None:
    sizes = {"snapshot": "size_gb", "image": "disk_gb"}
    compared = 0
    for place, setup in setups(delete.BIAS):
        for copy in records(setup, "snapshot", "image", "backup"):
            source: Any = setup.start.get(copy.source)
            if source is not None:
                assert source.created <= copy.created, place
                if copy.kind in sizes:
                    assert getattr(source, sizes[copy.kind]) >= copy.size_gb, place
                compared += 1
    assert compared > 40


def test_what_is_protected_or_in_use_is_no_object_of_the_task() -> None:
    protected = 0
    for place, setup in setups(delete.BIAS):
        objects: list[Resource] = [setup.start[key] for key in setup.objects]
        assert not any(each.protected or list(each.dependents(setup.start)) for each in objects), place
        protected += any(each.protected for each in setup.start.values())
    assert protected > 20


def test_buckets_hold_objects_and_databases_hold_tables_where_access_is_missing() -> None:
    for place, setup in setups(grant.BIAS):
        cloud = Cloud(setup.start, frozenset())
        project = setup.values["project"]
        for each in records(setup, "bucket", "database"):
            if each.project == project:
                shown = read_resource(cloud, each.id)
                assert shown.get("objects") or shown.get("tables"), place
