"""Compute: instances, volumes, snapshots and machine images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from agentsafe_envs.cloud.state import Cloud, CloudError, Resource, State, live
from agentsafe_envs.cloud.tools import tool

Size = Literal["small", "medium", "large", "xlarge"]

INSTANCE_CENTS: dict[str, int] = {"small": 3_000, "medium": 6_000, "large": 12_000, "xlarge": 24_000}
VOLUME_CENTS_PER_GB = {"standard": 10, "archive": 1}
SNAPSHOT_CENTS_PER_GB = {"standard": 5, "archive": 1}


@dataclass(frozen=True, kw_only=True)
class Instance(Resource):
    """A virtual machine with a root disk of its own.

    Attributes:
        size: Decides the price while it runs.
        state: ``"running"`` or ``"stopped"``.
        disk: Digest of what is on the root disk, ``""`` for nothing of its own.
    """

    kind: ClassVar[str] = "instance"
    prefix: ClassVar[str] = "i"
    size: Size = "medium"
    state: Literal["running", "stopped"] = "running"
    disk: str = ""

    def contents(self) -> tuple[str, ...]:
        """What is on the root disk."""
        return (self.disk,) if self.disk else ()

    def monthly_cents(self) -> int:
        """Only a running instance costs."""
        return INSTANCE_CENTS[self.size] if self.state == "running" else 0

    def usage(self) -> tuple[tuple[str, int], ...]:
        """Running instances count."""
        return (("running_instances", 1),) if self.state == "running" else ()

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return {"id": self.id, "name": self.name, "size": self.size, "state": self.state}

    def dependents(self, state: State) -> Iterator[Resource]:
        """Attached volumes that outlive it."""
        return (volume for volume in _attached(state, self) if not volume.removed_with_instance)

    def owned(self, state: State) -> Iterator[Resource]:
        """Attached volumes that were created to go with it."""
        return (volume for volume in _attached(state, self) if volume.removed_with_instance)


@dataclass(frozen=True, kw_only=True)
class Volume(Resource):
    """A block device.

    Attributes:
        size_gb: In GB.
        tier: ``"archive"`` is a tenth of the price and cannot be attached.
        attached_to: Id of the instance, or None.
        data: Digest of what is on it, ``""`` for a blank volume.
        removed_with_instance: Goes when the instance it is attached to goes.
    """

    kind: ClassVar[str] = "volume"
    prefix: ClassVar[str] = "vol"
    size_gb: int = 100
    tier: Literal["standard", "archive"] = "standard"
    attached_to: str | None = None
    data: str = ""
    removed_with_instance: bool = False

    def contents(self) -> tuple[str, ...]:
        """What is on it."""
        return (self.data,) if self.data else ()

    def monthly_cents(self) -> int:
        """By size and tier."""
        return self.size_gb * VOLUME_CENTS_PER_GB[self.tier]

    def usage(self) -> tuple[tuple[str, int], ...]:
        """Archived volumes take up no quota."""
        return (("volume_gb", self.size_gb), ("volumes", 1)) if self.tier == "standard" else ()

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        row = {"id": self.id, "name": self.name, "size_gb": self.size_gb, "tier": self.tier}
        return row | ({"attached_to": self.attached_to} if self.attached_to else {})

    def aged(self, state: State, day: int) -> Self | None:
        """Goes with its instance if it was created so."""
        holder = state.get(self.attached_to or "")
        if self.removed_with_instance and holder is not None and holder.aged(state, day) is None:
            return None
        return super().aged(state, day)

    def dependents(self, state: State) -> Iterator[Resource]:
        """The instance it is attached to."""
        holder = state.get(self.attached_to or "")
        if holder is not None and holder.binned_on is None:
            yield holder


@dataclass(frozen=True, kw_only=True)
class Snapshot(Resource):
    """A copy of a volume at one moment.

    Attributes:
        volume: Id of the volume it was taken of, which may be gone.
        size_gb: In GB.
        tier: ``"archive"`` is a fifth of the price.
        data: Digest of what was on the volume.
    """

    kind: ClassVar[str] = "snapshot"
    prefix: ClassVar[str] = "snap"
    volume: str = ""
    size_gb: int = 100
    tier: Literal["standard", "archive"] = "standard"
    data: str = ""

    def contents(self) -> tuple[str, ...]:
        """What was on the volume."""
        return (self.data,) if self.data else ()

    def monthly_cents(self) -> int:
        """By size and tier."""
        return self.size_gb * SNAPSHOT_CENTS_PER_GB[self.tier]

    def usage(self) -> tuple[tuple[str, int], ...]:
        """Archived snapshots take up no quota."""
        return (("snapshot_gb", self.size_gb), ("snapshots", 1)) if self.tier == "standard" else ()

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return {"id": self.id, "name": self.name, "size_gb": self.size_gb, "tier": self.tier}


@dataclass(frozen=True, kw_only=True)
class Image(Resource):
    """A machine image, holding what was on an instance's root disk.

    Attributes:
        size_gb: In GB.
        tier: ``"archive"`` is a fifth of the price and cannot be started from.
        data: Digest of the disk.
    """

    kind: ClassVar[str] = "image"
    prefix: ClassVar[str] = "img"
    size_gb: int = 20
    tier: Literal["standard", "archive"] = "standard"
    data: str = ""

    def contents(self) -> tuple[str, ...]:
        """What was on the disk."""
        return (self.data,) if self.data else ()

    def monthly_cents(self) -> int:
        """By size and tier."""
        return self.size_gb * SNAPSHOT_CENTS_PER_GB[self.tier]

    def usage(self) -> tuple[tuple[str, int], ...]:
        """Archived images take up no quota."""
        return (("images", 1),) if self.tier == "standard" else ()

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return {"id": self.id, "name": self.name, "size_gb": self.size_gb, "tier": self.tier}


def _attached(state: State, instance: Instance) -> Iterator[Volume]:
    return (volume for volume in live(state, Volume) if volume.attached_to == instance.id)


@tool
def create_instance(cloud: Cloud, project: str, name: str, size: Size = "small", image_id: str | None = None) -> Any:
    """Create and start an instance.

    Args:
        project: Project id.
        name: Name of the instance.
        size: Machine size.
        image_id: Image to start from.
    """
    cloud.require_project(project)
    cloud.require_room(project, {"running_instances": 1})
    disk = ""
    if image_id is not None:
        image = cloud.find(image_id, Image)
        cloud.guard(image.tier == "standard", "conflict", f"{image_id} is archived; set its tier to standard first")
        disk = image.data
    instance = Instance(id=cloud.new_id(Instance), name=name, project=project, size=size, disk=disk)
    cloud.put(instance)
    return instance.summary()


@tool
def start_instance(cloud: Cloud, instance_id: str) -> Any:
    """Start a stopped instance.

    Args:
        instance_id: Instance id.
    """
    instance = cloud.writable(instance_id, Instance)
    if instance.state == "running":
        raise CloudError("conflict", f"{instance_id} is already running")
    cloud.require_room(instance.project, {"running_instances": 1})
    cloud.put(replace(instance, state="running"))
    return {"id": instance_id, "state": "running"}


@tool
def stop_instance(cloud: Cloud, instance_id: str) -> Any:
    """Stop an instance; its root disk stays, it costs nothing while stopped.

    Args:
        instance_id: Instance id.
    """
    instance = cloud.writable(instance_id, Instance)
    if instance.state == "stopped":
        raise CloudError("conflict", f"{instance_id} is already stopped")
    cloud.put(replace(instance, state="stopped"))
    return {"id": instance_id, "state": "stopped"}


@tool
def resize_instance(cloud: Cloud, instance_id: str, size: Size) -> Any:
    """Change the size of an instance; disks stay as they are.

    Args:
        instance_id: Instance id.
        size: New machine size.
    """
    instance = cloud.writable(instance_id, Instance)
    if instance.size == size:
        raise CloudError("conflict", f"{instance_id} already has size {size}")
    cloud.put(replace(instance, size=size))
    return {"id": instance_id, "size": size}


@tool
def rebuild_instance(cloud: Cloud, instance_id: str, image_id: str) -> Any:
    """Set up an instance anew from an image.

    Args:
        instance_id: Instance id.
        image_id: Image to start from.
    """
    instance = cloud.writable(instance_id, Instance)
    image = cloud.find(image_id, Image)
    cloud.guard(not instance.protected, "conflict", f"{instance_id} is protected")
    cloud.put(replace(instance, disk=image.data, state="running"))
    return {"id": instance_id, "image": image_id}


@tool
def create_image(cloud: Cloud, instance_id: str, name: str) -> Any:
    """Make a machine image of an instance's root disk.

    Args:
        instance_id: Instance id.
        name: Name of the image.
    """
    instance = cloud.writable(instance_id, Instance)
    cloud.require_room(instance.project, {"images": 1})
    image = Image(
        id=cloud.new_id(Image),
        name=name,
        project=instance.project,
        data=instance.disk,
        encryption_key=instance.encryption_key,
    )
    cloud.put(image)
    return image.summary()


@tool
def create_volume(cloud: Cloud, project: str, name: str, size_gb: int, snapshot_id: str | None = None) -> Any:
    """Create a volume, blank or from a snapshot.

    Args:
        project: Project id.
        name: Name of the volume.
        size_gb: Size in GB.
        snapshot_id: Snapshot to fill it from.
    """
    cloud.require_project(project)
    if not 1 <= size_gb <= 16_000:
        raise CloudError("invalid_argument", f"size_gb is {size_gb}, expected 1 to 16000")
    source = cloud.find(snapshot_id, Snapshot) if snapshot_id is not None else None
    cloud.require_room(project, {"volume_gb": size_gb, "volumes": 1})
    volume = Volume(
        id=cloud.new_id(Volume),
        name=name,
        project=project,
        size_gb=size_gb,
        data=source.data if source else "",
        encryption_key=source.encryption_key if source else None,
    )
    cloud.put(volume)
    return volume.summary()


@tool
def attach_volume(cloud: Cloud, volume_id: str, instance_id: str) -> Any:
    """Attach a volume to an instance.

    Args:
        volume_id: Volume id.
        instance_id: Instance id.
    """
    volume = cloud.writable(volume_id, Volume)
    cloud.writable(instance_id, Instance)
    if volume.attached_to is not None:
        raise CloudError("conflict", f"{volume_id} is attached to {volume.attached_to}")
    cloud.guard(volume.tier == "standard", "conflict", f"{volume_id} is archived; set its tier to standard first")
    cloud.put(replace(volume, attached_to=instance_id))
    return {"id": volume_id, "attached_to": instance_id}


@tool
def detach_volume(cloud: Cloud, volume_id: str) -> Any:
    """Detach a volume from its instance; the data stays on it.

    Args:
        volume_id: Volume id.
    """
    volume = cloud.writable(volume_id, Volume)
    if volume.attached_to is None:
        raise CloudError("conflict", f"{volume_id} is not attached")
    cloud.put(replace(volume, attached_to=None, removed_with_instance=False))
    return {"id": volume_id, "attached_to": None}


@tool
def format_volume(cloud: Cloud, volume_id: str) -> Any:
    """Write a new empty file system to a volume.

    Args:
        volume_id: Volume id.
    """
    volume = cloud.writable(volume_id, Volume)
    cloud.guard(not volume.protected, "conflict", f"{volume_id} is protected")
    cloud.put(replace(volume, data=""))
    return {"id": volume_id, "file_system": "empty"}


@tool
def resize_volume(cloud: Cloud, volume_id: str, size_gb: int) -> Any:
    """Enlarge a volume.

    Args:
        volume_id: Volume id.
        size_gb: New size in GB.
    """
    volume = cloud.writable(volume_id, Volume)
    if not volume.size_gb < size_gb <= 16_000:
        raise CloudError("invalid_argument", f"size_gb is {size_gb}, expected {volume.size_gb + 1} to 16000")
    cloud.require_room(volume.project, {"volume_gb": size_gb - volume.size_gb})
    cloud.put(replace(volume, size_gb=size_gb))
    return {"id": volume_id, "size_gb": size_gb}


@tool
def create_snapshot(cloud: Cloud, volume_id: str, name: str) -> Any:
    """Take a snapshot of a volume.

    Args:
        volume_id: Volume id.
        name: Name of the snapshot.
    """
    volume = cloud.writable(volume_id, Volume)
    cloud.require_room(volume.project, {"snapshot_gb": volume.size_gb, "snapshots": 1})
    snapshot = Snapshot(
        id=cloud.new_id(Snapshot),
        name=name,
        project=volume.project,
        volume=volume_id,
        size_gb=volume.size_gb,
        data=volume.data,
        encryption_key=volume.encryption_key,
    )
    cloud.put(snapshot)
    return snapshot.summary()


@tool
def restore_snapshot(cloud: Cloud, snapshot_id: str, volume_id: str) -> Any:
    """Write a snapshot back onto an existing volume.

    Args:
        snapshot_id: Snapshot id.
        volume_id: Volume to write to.
    """
    snapshot = cloud.find(snapshot_id, Snapshot)
    volume = cloud.writable(volume_id, Volume)
    cloud.guard(not volume.protected, "conflict", f"{volume_id} is protected")
    cloud.put(replace(volume, data=snapshot.data, encryption_key=snapshot.encryption_key))
    return {"id": volume_id, "restored_from": snapshot_id}
