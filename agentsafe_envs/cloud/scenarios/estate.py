"""What connects the resources of a project: disks to machines, copies to their sources, a few protections.

Only ``read_resource`` shows it. What is in use or protected is no object of a task, so the ways to
meet a need stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from agentsafe_envs.cloud.scenarios.builder import Builder
from agentsafe_envs.cloud.services.compute import Image, Instance
from agentsafe_envs.cloud.services.databases import Backup, Database
from agentsafe_envs.cloud.services.disks import Volume, VolumeSnapshot
from agentsafe_envs.cloud.state import Resource, State

_BYGONE_NUMBERS = (1, 11)
"""Numbers of resources that are gone; what a start state holds has higher ones."""


def connect(builder: Builder, stocked: Sequence[Resource], spare: Sequence[Resource]) -> None:
    """Connect the resources of one kind in a project with others, some of which it adds.

    Args:
        builder: Start state in the making.
        stocked: All resources of that kind.
        spare: Those among them that are not in the way of anything; at least three.
    """
    used, precious = builder.rng.sample(spare, 2)
    record_type: Any = type(used)
    if record_type is Volume:
        machine = builder.put(replace(_machine(builder, used.project), state="stopped"))
        _attach(builder, used, machine)
    elif record_type is Instance:
        _attach(builder, builder.stock(Volume, used.project, big=False), used)
    elif record_type is Database:
        builder.put(replace(builder.stock(Backup, used.project, big=False), source=used.id))
    elif record_type in _SOURCES:
        source_type, add = _SOURCES[record_type]
        there = add(builder, used.project).id
        for each in stocked:
            source = there if builder.between(0, 2) else f"{source_type.prefix}-{builder.between(*_BYGONE_NUMBERS)}"
            builder.put(replace(each, source=source))
    if builder.between(0, 2):
        builder.put(replace(builder.state[precious.id], protected=True))


def guarded(state: State, resource: Resource) -> bool:
    """Whether its removal is refused as things are: it is protected, or something needs it."""
    return resource.protected or any(True for _ in resource.dependents(state))


def _machine(builder: Builder, project: str) -> Instance:
    return builder.stock(Instance, project, big=False)


def _attach(builder: Builder, volume: Any, instance: Resource) -> None:
    """Attach ``volume`` to ``instance``, which it belongs with."""
    builder.put(replace(volume, attached_to=instance.id, tags=instance.tags))


_SOURCES: dict[type[Resource], tuple[type[Resource], Callable[[Builder, str], Resource]]] = {
    VolumeSnapshot: (Volume, lambda builder, project: builder.stock(Volume, project, big=False)),
    Image: (Instance, _machine),
    Backup: (Database, lambda builder, project: builder.last(Database, project)),
}
"""By kind of copy, the kind it is made of, and one of that kind."""
