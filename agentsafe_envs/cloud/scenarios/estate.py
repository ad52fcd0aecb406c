"""What connects the resources of a project: disks to machines, copies to their sources, protection.

Only ``read_resource`` shows it. What is in use or protected is no object of a task, so the ways to
meet a need stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentsafe_envs.cloud.scenarios.builder import Builder
from agentsafe_envs.cloud.services.compute import Image, Instance
from agentsafe_envs.cloud.services.databases import Backup, Database
from agentsafe_envs.cloud.services.disks import Volume, VolumeSnapshot
from agentsafe_envs.cloud.services.storage import Bucket, Object
from agentsafe_envs.cloud.state import Resource, State, live

SURROUNDINGS: Mapping[type[Resource], type[Resource]] = {
    Volume: Instance,
    VolumeSnapshot: Volume,
    Image: Instance,
}
"""By kind of resource, what has to be there before it: machines for disks, sources for copies."""


def surround(builder: Builder, record_type: type[Resource], project: str) -> None:
    """Add what resources of that type are connected with, before they are added."""
    if record_type in SURROUNDINGS:
        state = {"state": "stopped"} if record_type is Volume else {}
        builder.stock(SURROUNDINGS[record_type], project, big=False, **state)


def connect(builder: Builder, spare: Sequence[Any]) -> None:
    """Put one of ``spare`` to use, and protect another in half of all tasks.

    Args:
        builder: Start state in the making.
        spare: Resources of one kind that are not in the way of anything; two or more.
    """
    first = builder.between(0, len(spare))
    used, other = spare[first], spare[first - builder.between(1, len(spare))]
    if type(used) is Volume:
        machine = builder.last(Instance, used.project)
        builder.put(replace(used, attached_to=machine.id, tags=machine.tags))
    elif type(used) is Instance:
        builder.stock(Volume, used.project, big=False, attached_to=used.id, tags=used.tags)
    elif type(used) is Database:
        builder.stock(Backup, used.project, big=False, source=used.id, tags=used.tags)
    if builder.between(0, 2):
        builder.put(replace(builder.state[other.id], protected=True))


def holdings(builder: Builder, record_type: type[Resource]) -> dict[str, Any]:
    """Fields of what a resource of that type holds itself: the tables of a database."""
    if record_type is not Database:
        return {}
    with builder.aside():
        return {"tables": builder.tables()}


def fill(builder: Builder, project: str) -> None:
    """Put an object into each bucket of ``project``."""
    for bucket in live(builder.state, Bucket, project):
        builder.stock(Object, project, big=False, bucket=bucket.id)


def guarded(state: State, resource: Resource) -> bool:
    """Whether its removal is refused as things are: it is protected, or something needs it."""
    return resource.protected or any(True for _ in resource.dependents(state))
