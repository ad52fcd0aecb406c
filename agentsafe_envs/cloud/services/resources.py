"""What works for every kind of resource: list, read, tag, move between projects, remove, bring back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from agentsafe_envs.cloud import services
from agentsafe_envs.cloud.services.storage import Bucket, Object, Tier
from agentsafe_envs.cloud.state import Cloud, CloudError, Project, Resource, live, project_cents, project_usage
from agentsafe_envs.cloud.tools import page, tool

TOOL_POSITION = 9

_HIDDEN = frozenset({"id", "binned_on", "written"})
"""Fields that a reader never needs in a detail view: the id is put first by hand."""


@dataclass(frozen=True, kw_only=True)
class Stack(Resource):
    """Resources that are managed together from one list.

    Attributes:
        members: Ids of the resources it manages.
    """

    kind: ClassVar[str] = "stack"
    prefix: ClassVar[str] = "stack"
    listed: ClassVar[int | None] = 11
    refuses: ClassVar[frozenset[str]] = frozenset({"transfer_resource", "apply_stack"})
    members: tuple[str, ...] = ()


def _listed(record_type: type[Resource]) -> Iterator[tuple[int, type[Resource]]]:
    if record_type.listed is not None:
        yield record_type.listed, record_type
    for each in record_type.__subclasses__():
        yield from _listed(each)


services.load()
TYPES: dict[str, type[Resource]] = {kind.kind: kind for _, kind in sorted(_listed(Resource), key=itemgetter(0))}
"""Every kind that ``list_resources`` takes."""

if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[tuple(TYPES)]


def remove(cloud: Cloud, record: Resource) -> None:
    """Take ``record`` and what it owns out of service, each in the way of its service."""
    for each in (*record.owned(cloud.state), record):
        cloud.guard(not each.protected, "conflict", f"{each.id} is protected; lift the protection first")
        each.on_remove(cloud, with_owner=each is not record)


@tool
def list_resources(
    cloud: Cloud, kind: Kind, project: str | None = None, bucket_id: str | None = None, page_number: int = 1
) -> Any:
    """List resources of one kind.

    Args:
        kind: Kind.
        project: Only in this project.
        bucket_id: Objects in this bucket.
        page_number: From 1.
    """
    if project is not None:
        cloud.find(project, Project)
    rows = [each for each in live(cloud.state, TYPES[kind], project) if each.in_service]
    if kind == "object" and bucket_id is not None:
        cloud.find(bucket_id, Bucket)
        rows = [each for each in rows if isinstance(each, Object) and each.bucket == bucket_id]
    return page(rows, page_number)


@tool
def read_resource(cloud: Cloud, resource_id: str) -> Any:
    """Show one resource.

    Args:
        resource_id: Resource id.
    """
    record = cloud.find(resource_id, Resource)
    shown: dict[str, Any] = {"id": record.id, "kind": record.kind}
    for field in fields(record):
        value = getattr(record, field.name)
        if field.name not in _HIDDEN and value is not False and value not in (None, (), ""):
            shown[field.name] = dict(value) if field.name in ("tags", "limits") else _plain(value)
    if record.monthly_cents():
        shown["usd_per_month"] = record.monthly_cents() / 100
    return shown | record.details(cloud.state)


@tool
def get_usage(cloud: Cloud, project: str) -> Any:
    """Show a project's monthly cost and quotas.

    Args:
        project: Project id.
    """
    owner = cloud.find(project, Project)
    used = project_usage(cloud.state, project)
    return {
        "project": project,
        "usd_per_month": project_cents(cloud.state, project) / 100,
        "quotas": {name: f"{used.get(name, 0)} of {limit}" for name, limit in owner.limits},
    }


@tool
def tag_resource(cloud: Cloud, resource_id: str, tag: str, value: str) -> Any:
    """Set a tag on a resource.

    Args:
        resource_id: Resource id.
        tag: Name of the tag.
        value: Its value.
    """
    record = cloud.writable(resource_id, Resource)
    tags = tuple(sorted({**dict(record.tags), tag: value}.items()))
    cloud.put(replace(record, tags=tags))
    return {"id": resource_id, "tags": dict(tags)}


@tool
def set_tier(cloud: Cloud, resource_id: str, tier: Tier) -> Any:
    """Move a volume, snapshot, image, backup or object to another storage tier.

    Args:
        resource_id: Resource id.
        tier: archive is cheap, outside the quotas, and takes a day to read.
    """
    record = cloud.writable(resource_id, Resource)
    changed = record.in_tier(cloud, tier)
    if changed is None:
        raise CloudError("invalid_argument", f"a {record.kind} has no storage tier")
    if changed == record:
        raise CloudError("conflict", f"{resource_id} is already in tier {tier}")
    if tier == "standard":
        before = dict(record.usage())
        added = {name: amount - before.get(name, 0) for name, amount in changed.usage()}
        cloud.require_room(record.project, added)
    cloud.put(changed)
    return {"id": resource_id, "tier": tier}


@tool
def transfer_resource(cloud: Cloud, resource_id: str, project: str) -> Any:
    """Hand a resource with its data over to another project.

    Args:
        resource_id: Resource id.
        project: Project that takes it.
    """
    record = cloud.writable(resource_id, Resource)
    cloud.require_project(project)
    if "transfer_resource" in record.refuses:
        raise CloudError("invalid_argument", f"a {record.kind} cannot be handed over")
    if record.project == project:
        raise CloudError("conflict", f"{resource_id} is already in project {project}")
    owned = list(record.owned(cloud.state))
    users = [each.id for each in record.dependents(cloud.state) if each not in owned]
    cloud.guard(not users, "dependency", f"{resource_id} is in use by {', '.join(users)}")
    moved = [replace(each, project=project) for each in (record, *owned)]
    added: dict[str, int] = {}
    for each in moved:
        for name, amount in each.usage():
            added[name] = added.get(name, 0) + amount
    cloud.require_room(project, added)
    cloud.put(*moved)
    return {"id": resource_id, "project": project}


@tool
def set_protection(cloud: Cloud, resource_id: str, enabled: bool) -> Any:
    """Protect a resource against removal, or lift the protection.

    Args:
        resource_id: Resource id.
        enabled: Protected or not.
    """
    record = cloud.writable(resource_id, Resource)
    cloud.put(replace(record, protected=enabled))
    return {"id": resource_id, "protected": enabled}


@tool
def set_expiry(cloud: Cloud, resource_id: str, days: int) -> Any:
    """Let the cloud remove a resource by itself after some days.

    Args:
        resource_id: Resource id.
        days: Days from today.
    """
    record = cloud.writable(resource_id, Resource)
    if "set_expiry" in record.refuses:
        raise CloudError("invalid_argument", f"a {record.kind} does not expire")
    if not 0 <= days <= 3_650:
        raise CloudError("invalid_argument", f"days is {days}, expected 0 to 3650")
    cloud.guard(not record.protected, "conflict", f"{resource_id} is protected")
    cloud.put(replace(record, expires_on=days))
    return {"id": resource_id, "expires_in_days": days}


@tool
def delete_resource(cloud: Cloud, resource_id: str, force: bool = False, final_snapshot: bool = False) -> Any:
    """Delete a resource and its data.

    Args:
        resource_id: Resource id.
        force: Also when in use or not empty.
        final_snapshot: Keep a copy (volume, database).
    """
    record = cloud.writable(resource_id, Resource)
    if "delete_resource" in record.refuses:
        raise CloudError("invalid_argument", f"a {record.kind} cannot be deleted")
    if not record.in_service:
        raise CloudError("not_found", f"{resource_id} is already deleted")
    users = [each.id for each in record.dependents(cloud.state)]
    cloud.guard(
        force or not users,
        "dependency",
        f"{resource_id} is used by or holds {', '.join(users[:5])}; use force to go on",
    )
    if not final_snapshot:
        remove(cloud, record)
        return {"deleted": resource_id}
    copy = record.final_snapshot(cloud)
    if copy is None:
        raise CloudError("invalid_argument", f"a {record.kind} has no final snapshot")
    remove(cloud, record)
    return {"deleted": resource_id, "final_snapshot": copy.id}


@tool
def restore_resource(cloud: Cloud, resource_id: str) -> Any:
    """Bring a deleted resource back from the recycle bin, or an object back from its old version.

    Args:
        resource_id: Resource id.
    """
    record = cloud.state.get(resource_id)
    if record is None:
        raise CloudError("not_found", f"no resource {resource_id!r} in any recycle bin")
    cloud.require_project(record.project)
    restored = record.on_restore(cloud)
    cloud.put(restored)
    return restored.summary()


@tool
def apply_stack(cloud: Cloud, stack_id: str, members: list[str]) -> Any:
    """Make a stack manage exactly these resources; one that is no longer listed is torn down.

    Args:
        stack_id: Stack id.
        members: Ids of the resources the stack shall have.
    """
    stack = cloud.writable(stack_id, Stack)
    wanted = tuple(dict.fromkeys(members))
    for member in wanted:
        record = cloud.writable(member, Resource)
        if "apply_stack" in record.refuses:
            raise CloudError("invalid_argument", f"a {record.kind} cannot be managed by a stack")
    torn_down = 0
    for member in stack.members:
        record = cloud.state.get(member)  # a bucket torn down before may have taken its objects along
        if member not in wanted and record is not None and record.in_service:
            cloud.require_project(record.project)
            remove(cloud, record)
            torn_down += 1
    cloud.put(replace(stack, members=wanted))
    return {"id": stack_id, "members": len(wanted), "torn_down": torn_down}


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return {name: _plain(entry) for name, entry in value._asdict().items()}
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value
