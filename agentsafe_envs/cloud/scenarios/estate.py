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

_SIZES = {Volume: "size_gb", Instance: "disk_gb"}
"""Field with the size that copies have too."""


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
        builder.put(replace(used, attached_to=machine.id, tags=machine.tags, created=machine.created))
    elif type(used) is Instance:
        volume = builder.stock(Volume, used.project, big=False, attached_to=used.id, tags=used.tags)
        builder.put(replace(volume, created=used.created))  # else it could be younger than its last use
    elif type(used) is Database:
        backup = builder.stock(Backup, used.project, big=False, source=used.id, tags=used.tags)
        builder.put(replace(backup, created=used.created))
    if builder.between(0, 2):
        builder.put(replace(builder.state[other.id], protected=True))


def predate(builder: Builder) -> None:
    """Make everything at least as old as its oldest copy, and machines and volumes as large as the largest."""
    copies: dict[str, list[Any]] = {}
    for each in builder.state.values():
        if isinstance(each, VolumeSnapshot | Image | Backup) and each.source in builder.state:
            copies.setdefault(each.source, []).append(each)
    for key, made in copies.items():
        source: Any = builder.state[key]
        changed = {"created": min(source.created, *(each.created for each in made))}
        size = _SIZES.get(type(source))
        if size is not None:
            changed[size] = max(getattr(source, size), *(each.size_gb for each in made))
        builder.put(replace(source, **changed))


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
