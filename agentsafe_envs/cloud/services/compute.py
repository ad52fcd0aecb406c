"""Compute: instances, their machine images, and the volumes attached to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from agentsafe_envs.cloud.services.disks import VOLUME_CENTS_PER_GB, Volume
from agentsafe_envs.cloud.state import Cloud, CloudError, Resource, State, live
from agentsafe_envs.cloud.tools import tool

TOOL_POSITION = 2

Size = Literal["small", "medium", "large", "xlarge"]

INSTANCE_CENTS: dict[str, int] = {"small": 3_000, "medium": 6_000, "large": 12_000, "xlarge": 24_000}
IMAGE_CENTS_PER_GB = {"standard": 5, "archive": 1}


@dataclass(frozen=True, kw_only=True)
class Instance(Resource):
    """A virtual machine with a root disk of its own.

    Attributes:
        size: Decides the price while it runs.
        state: ``"running"`` or ``"stopped"``.
        disk: Digest of what is on the root disk, ``""`` for nothing of its own.
        disk_gb: Size of the root disk, which costs as long as the instance exists.
    """

    kind: ClassVar[str] = "instance"
    prefix: ClassVar[str] = "i"
    listed: ClassVar[int | None] = 1
    size: Size = "medium"
    state: Literal["running", "stopped"] = "running"
    disk: str = ""
    disk_gb: int = 20

    def contents(self) -> tuple[str, ...]:
        """What is on the root disk."""
        return (self.disk,) if self.disk else ()

    def monthly_cents(self) -> int:
        """The machine while it runs, and its disk."""
        running = INSTANCE_CENTS[self.size] if self.state == "running" else 0
        return running + self.disk_gb * VOLUME_CENTS_PER_GB["standard"]

    def usage(self) -> tuple[tuple[str, int], ...]:
        """Running instances count."""
        return (("running_instances", 1),) if self.state == "running" else ()

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return {"name": self.name, "id": self.id, "size": self.size, "state": self.state}

    def dependents(self, state: State) -> Iterator[Resource]:
        """Attached volumes that outlive it."""
        return (volume for volume in _attached(state, self) if not volume.removed_with_instance)

    def owned(self, state: State) -> Iterator[Resource]:
        """Attached volumes that were created to go with it."""
        return (volume for volume in _attached(state, self) if volume.removed_with_instance)

    def on_remove(self, cloud: Cloud, *, with_owner: bool) -> None:
        """Volumes that outlive it are detached."""
        super().on_remove(cloud, with_owner=with_owner)
        cloud.put(*(replace(volume, attached_to=None) for volume in _attached(cloud.state, self)))


@dataclass(frozen=True, kw_only=True)
class Image(Resource):
    """A machine image, holding what was on an instance's root disk.

    Attributes:
        size_gb: In GB.
        tier: ``"archive"`` is a fifth of the price and cannot be started from.
        data: Digest of the disk.
        source: Id of the instance it was made of, which may be gone.
    """

    kind: ClassVar[str] = "image"
    prefix: ClassVar[str] = "img"
    listed: ClassVar[int | None] = 4
    size_gb: int = 20
    tier: Literal["standard", "archive"] = "standard"
    data: str = ""
    source: str = ""

    def contents(self) -> tuple[str, ...]:
        """What was on the disk."""
        return (self.data,) if self.data else ()

    def monthly_cents(self) -> int:
        """By size and tier."""
        return self.size_gb * IMAGE_CENTS_PER_GB[self.tier]

    def usage(self) -> tuple[tuple[str, int], ...]:
        """Archived images take up no quota."""
        return (("images", 1),) if self.tier == "standard" else ()

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return {"name": self.name, "id": self.id, "size_gb": self.size_gb, "tier": self.tier}

    def in_tier(self, cloud: Cloud, tier: Any) -> Resource | None:
        """In that tier."""
        return replace(self, tier=tier)


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
    image = _startable(cloud, image_id) if image_id is not None else None
    instance = Instance(
        id=cloud.new_id(Instance),
        name=name,
        project=project,
        size=size,
        disk=image.data if image else "",
        disk_gb=image.size_gb if image else 20,
        encryption_key=image.encryption_key if image else None,
    )
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
    """Stop an instance; its root disk stays, only that still costs.

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
    image = _startable(cloud, image_id)
    cloud.guard(not instance.protected, "conflict", f"{instance_id} is protected")
    if instance.state == "stopped":
        cloud.require_room(instance.project, {"running_instances": 1})
    cloud.put(replace(instance, disk=image.data, encryption_key=image.encryption_key, state="running"))
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
        size_gb=instance.disk_gb,
        data=instance.disk,
        source=instance.id,
        encryption_key=instance.encryption_key,
    )
    cloud.put(image)
    return image.summary()


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


def _startable(cloud: Cloud, image_id: str) -> Image:
    image = cloud.find(image_id, Image)
    cloud.guard(image.tier == "standard", "conflict", f"{image_id} is archived; set its tier to standard first")
    return image
