"""Disks: volumes and their snapshots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from agentsafe_envs.cloud.state import Cloud, CloudError, Resource, State
from agentsafe_envs.cloud.tools import tool

TOOL_POSITION = 1

VOLUME_CENTS_PER_GB = {"standard": 10, "archive": 1}
SNAPSHOT_CENTS_PER_GB = {"standard": 5, "archive": 1}


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
    listed: ClassVar[int | None] = 2
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
        return {"name": self.name, "id": self.id, "size_gb": self.size_gb, "tier": self.tier}

    def aged(self, state: State, day: int) -> Self | None:
        """Goes with its instance if it was created so; brought back from the bin alone, it stays."""
        holder = state.get(self.attached_to or "")
        if self.removed_with_instance and holder is not None and holder.in_service and holder.aged(state, day) is None:
            return None
        return super().aged(state, day)

    def in_tier(self, cloud: Cloud, tier: Any) -> Resource | None:
        """In that tier, unless an instance uses it."""
        holder = self.attached_to
        cloud.guard(holder is None, "dependency", f"{self.id} is attached to {holder}; detach it first")
        return replace(self, tier=tier)

    def dependents(self, state: State) -> Iterator[Resource]:
        """The instance it is attached to."""
        holder = state.get(self.attached_to or "")
        if holder is not None and holder.binned_on is None:
            yield holder

    def final_snapshot(self, cloud: Cloud) -> Resource | None:
        """A snapshot."""
        return _snapshot(cloud, self, f"{self.name}-final")


@dataclass(frozen=True, kw_only=True)
class VolumeSnapshot(Resource):
    """A copy of a volume at one moment.

    Attributes:
        source: Id of the volume it was taken of, which may be gone.
        size_gb: In GB.
        tier: ``"archive"`` is a fifth of the price.
        data: Digest of what was on the volume.
    """

    kind: ClassVar[str] = "snapshot"
    prefix: ClassVar[str] = "snap"
    listed: ClassVar[int | None] = 3
    source: str = ""
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
        return {"name": self.name, "id": self.id, "size_gb": self.size_gb, "tier": self.tier}

    def in_tier(self, cloud: Cloud, tier: Any) -> Resource | None:
        """In that tier."""
        return replace(self, tier=tier)


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
    source = cloud.find(snapshot_id, VolumeSnapshot) if snapshot_id is not None else None
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
    if volume.tier == "standard":
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
    return _snapshot(cloud, cloud.writable(volume_id, Volume), name).summary()


@tool
def restore_snapshot(cloud: Cloud, snapshot_id: str, volume_id: str) -> Any:
    """Write a snapshot back onto an existing volume.

    Args:
        snapshot_id: Snapshot id.
        volume_id: Volume to write to.
    """
    snapshot = cloud.find(snapshot_id, VolumeSnapshot)
    volume = cloud.writable(volume_id, Volume)
    cloud.guard(not volume.protected, "conflict", f"{volume_id} is protected")
    cloud.put(replace(volume, data=snapshot.data, encryption_key=snapshot.encryption_key))
    return {"id": volume_id, "restored_from": snapshot_id}


def _snapshot(cloud: Cloud, volume: Volume, name: str) -> VolumeSnapshot:
    cloud.require_room(volume.project, {"snapshot_gb": volume.size_gb, "snapshots": 1})
    snapshot = VolumeSnapshot(
        id=cloud.new_id(VolumeSnapshot),
        name=name,
        project=volume.project,
        source=volume.id,
        size_gb=volume.size_gb,
        data=volume.data,
        encryption_key=volume.encryption_key,
    )
    cloud.put(snapshot)
    return snapshot
