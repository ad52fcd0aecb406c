"""Storage: buckets, objects with versions, and lifecycle rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self

from agentsafe_envs.cloud.state import Cloud, CloudError, Resource, State, content, live
from agentsafe_envs.cloud.tools import tool

TOOL_POSITION = 5

Tier = Literal["standard", "archive"]
LifecycleAction = Literal["archive", "expire", "archive_old_versions", "expire_old_versions"]

CENTS_PER_GB = {"standard": 4, "archive": 1}


class Version(NamedTuple):
    """One version of an object: digest of its data, size in GB, tier, day it was written."""

    data: str
    size_gb: int
    tier: str
    created: int


class Rule(NamedTuple):
    """A lifecycle rule: what happens to keys with that prefix once they are that old."""

    prefix: str
    action: str
    after_days: int


@dataclass(frozen=True, kw_only=True)
class Bucket(Resource):
    """A bucket of objects.

    Attributes:
        versioning: Overwritten and removed objects keep their old versions.
        rules: Lifecycle rules, one for each prefix and action.
    """

    kind: ClassVar[str] = "bucket"
    prefix: ClassVar[str] = "bkt"
    listed: ClassVar[int | None] = 5
    versioning: bool = False
    rules: tuple[Rule, ...] = ()

    def owned(self, state: State) -> Iterator[Resource]:
        """The objects in it, also those of which only old versions are left."""
        return (each for each in state.values() if isinstance(each, Object) and each.bucket == self.id)

    def dependents(self, state: State) -> Iterator[Resource]:
        """An empty bucket only goes without force."""
        return (each for each in live(state, Object) if each.bucket == self.id)

    def details(self, state: State) -> dict[str, Any]:
        """How many objects can be seen in it."""
        return {"objects": len(objects_of(state, self.id))}


@dataclass(frozen=True, kw_only=True)
class Object(Resource):
    """An object; its name is its key in the bucket.

    Attributes:
        bucket: Id of its bucket.
        versions: Oldest first; the last one is current. Only a bucket with versioning has
            more than one.
        marked_on: Day of the delete marker that hides the object while its versions stay.
    """

    kind: ClassVar[str] = "object"
    prefix: ClassVar[str] = "obj"
    listed: ClassVar[int | None] = 6
    refuses: ClassVar[frozenset[str]] = frozenset({"transfer_resource"})
    bucket: str = ""
    versions: tuple[Version, ...] = ()
    marked_on: int | None = None

    @property
    def in_service(self) -> bool:
        """Neither binned nor behind a delete marker."""
        return self.binned_on is None and self.marked_on is None

    def contents(self) -> tuple[str, ...]:
        """Data of every version."""
        return tuple(version.data for version in self.versions)

    def monthly_cents(self) -> int:
        """Every version costs."""
        return sum(version.size_gb * CENTS_PER_GB[version.tier] for version in self.versions)

    def usage(self) -> tuple[tuple[str, int], ...]:
        """Archived versions take up no quota."""
        return (("object_gb", sum(version.size_gb for version in self.versions if version.tier == "standard")),)

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        current = self.versions[-1]
        return {"name": self.name, "id": self.id, "size_gb": current.size_gb, "tier": current.tier}

    def in_tier(self, cloud: Cloud, tier: Any) -> Resource | None:
        """With every version in that tier, unless it is hidden."""
        if not self.in_service:
            return None
        return replace(self, versions=tuple(each._replace(tier=tier) for each in self.versions))

    def on_remove(self, cloud: Cloud, *, with_owner: bool) -> None:
        """A bucket that keeps versions hides it; it goes when the bucket goes."""
        bucket = cloud.state.get(self.bucket)
        if isinstance(bucket, Bucket) and bucket.versioning and not with_owner:
            cloud.put(replace(self, marked_on=0))
        else:
            super().on_remove(cloud, with_owner=with_owner)

    def on_restore(self, cloud: Cloud) -> Resource:
        """It needs its bucket, and its key must be free."""
        cloud.find(self.bucket, Bucket)
        others = (each for each in live(cloud.state, Object) if each.bucket == self.bucket and each is not self)
        if any(each.name == self.name for each in others):
            raise CloudError("conflict", f"{self.bucket} already holds the key {self.name!r}")
        if self.binned_on is None and self.marked_on is not None:
            return replace(self, marked_on=None)
        return super().on_restore(cloud)

    def aged(self, state: State, day: int) -> Self | None:
        """Applies the bucket's rules; an object without versions is gone."""
        if super().aged(state, day) is None:
            return None
        bucket = state.get(self.bucket)
        if not isinstance(bucket, Bucket) or bucket.aged(state, day) is None:
            return None
        aged = self
        for rule in sorted(bucket.rules, key=_turn):
            if self.name.startswith(rule.prefix):
                aged = aged._under(rule, bucket.versioning, day)
        return aged if aged.versions else None

    def _under(self, rule: Rule, versioning: bool, day: int) -> Self:
        """What ``rule`` has made of it by ``day``; an old version's age counts from its successor."""
        if not self.versions:
            return self
        if rule.action in ("archive", "expire"):
            current = self.versions[-1]
            due_on = max(current.created + rule.after_days, 0)
            if self.marked_on is not None or due_on > day:
                return self
            if rule.action == "archive":
                return replace(self, versions=(*self.versions[:-1], current._replace(tier="archive")))
            return replace(self, marked_on=due_on) if versioning else replace(self, versions=())
        ended = (*(successor.created for successor in self.versions[1:]), self.marked_on)
        late = [end is not None and end + rule.after_days <= day for end in ended]
        pairs = zip(self.versions, late, strict=True)
        if rule.action == "archive_old_versions":
            return replace(self, versions=tuple(each._replace(tier="archive") if due else each for each, due in pairs))
        return replace(self, versions=tuple(each for each, due in pairs if not due))


def _turn(rule: Rule) -> tuple[bool, int, str]:
    """When a rule acts: current versions first, as they become old ones, and early rules before late ones."""
    return rule.action.endswith("_old_versions"), rule.after_days, rule.action


def objects_of(state: State, bucket_id: str) -> list[Object]:
    """Objects of a bucket that a caller can see."""
    return [each for each in live(state, Object) if each.bucket == bucket_id and each.in_service]


def write(cloud: Cloud, bucket: Bucket, key: str, version: Version, encryption_key: str | None) -> Object:
    """Store ``version`` under ``key``: over the old one, or beside it where the bucket keeps versions.

    What joins an object is encrypted with the object's own key, so that one key reads every version.
    """
    old = next((each for each in live(cloud.state, Object) if each.bucket == bucket.id and each.name == key), None)
    added_gb = version.size_gb if version.tier == "standard" else 0
    if old is None:
        cloud.require_room(bucket.project, {"object_gb": added_gb})
        written = Object(
            id=cloud.new_id(Object),
            name=key,
            project=bucket.project,
            bucket=bucket.id,
            versions=(version,),
            encryption_key=encryption_key,
        )
    else:
        cloud.guard(not old.protected, "conflict", f"{old.id} is protected")
        kept = old.versions if bucket.versioning else ()
        freed_gb = 0 if kept else dict(old.usage())["object_gb"]
        cloud.require_room(bucket.project, {"object_gb": added_gb - freed_gb})
        reader = old.encryption_key if kept else encryption_key
        written = replace(old, versions=(*kept, version), marked_on=None, encryption_key=reader)
    cloud.put(written)
    return written


@tool
def create_bucket(cloud: Cloud, project: str, name: str, versioning: bool = False) -> Any:
    """Create an empty bucket.

    Args:
        project: Project id.
        name: Name of the bucket.
        versioning: Keep old versions of objects.
    """
    cloud.require_project(project)
    if any(bucket.name == name for bucket in live(cloud.state, Bucket)):
        raise CloudError("conflict", f"a bucket named {name!r} exists")
    bucket = Bucket(id=cloud.new_id(Bucket), name=name, project=project, versioning=versioning)
    cloud.put(bucket)
    return bucket.summary()


@tool
def put_object(cloud: Cloud, bucket_id: str, key: str, text: str) -> Any:
    """Write an object.

    Args:
        bucket_id: Bucket id.
        key: Key of the object.
        text: What to write.
    """
    bucket = cloud.writable(bucket_id, Bucket)
    return write(cloud, bucket, key, Version(content("text", text), 1, "standard", 0), None).summary()


@tool
def copy_object(cloud: Cloud, object_id: str, bucket_id: str, key: str, tier: Tier = "standard") -> Any:
    """Copy an object's current version.

    Args:
        object_id: Object to copy.
        bucket_id: Bucket to copy to.
        key: Key of the copy.
        tier: Storage tier of the copy.
    """
    source = _visible(cloud, object_id)
    bucket = cloud.writable(bucket_id, Bucket)
    version = source.versions[-1]._replace(tier=tier, created=0)
    return write(cloud, bucket, key, version, source.encryption_key).summary()


@tool
def move_object(cloud: Cloud, object_id: str, bucket_id: str, key: str) -> Any:
    """Move an object with all its versions to a free key.

    Args:
        object_id: Object to move.
        bucket_id: Bucket to move to.
        key: New key of the object.
    """
    source = _visible(cloud, object_id)
    cloud.require_project(source.project)
    bucket = cloud.writable(bucket_id, Bucket)
    if any(each.bucket == bucket_id and each.name == key for each in live(cloud.state, Object)):
        raise CloudError("conflict", f"{bucket_id} already holds the key {key!r}")
    if bucket.project != source.project:
        cloud.require_room(bucket.project, dict(source.usage()))
    moved = replace(source, bucket=bucket_id, name=key, project=bucket.project)
    cloud.put(moved)
    return moved.summary()


@tool
def sync_bucket(cloud: Cloud, source_id: str, target_id: str, mirror: bool = False) -> Any:
    """Copy new and changed objects from one bucket to another.

    Args:
        source_id: Bucket to read.
        target_id: Bucket to write.
        mirror: Make the target hold exactly what the source holds.
    """
    cloud.find(source_id, Bucket)
    target = cloud.writable(target_id, Bucket)
    wanted = {each.name: each for each in objects_of(cloud.state, source_id)}
    present = {each.name: each for each in objects_of(cloud.state, target_id)}
    for key, each in wanted.items():
        if key not in present or present[key].versions[-1].data != each.versions[-1].data:
            write(cloud, target, key, each.versions[-1]._replace(created=0), each.encryption_key)
    extra = [each for key, each in present.items() if key not in wanted] if mirror else []
    for each in extra:
        cloud.guard(not each.protected, "conflict", f"{each.id} is protected")
        if target.versioning:
            cloud.put(replace(each, marked_on=0))
        else:
            cloud.drop(each.id)
    return {"copied": len(wanted), "not_in_source": len(extra) if mirror else 0}


@tool
def delete_old_versions(cloud: Cloud, object_id: str) -> Any:
    """Delete every version of an object but the current one.

    Args:
        object_id: Object id.
    """
    target = _visible(cloud, object_id)
    cloud.require_project(target.project)
    cloud.guard(not target.protected, "conflict", f"{object_id} is protected")
    cloud.put(replace(target, versions=target.versions[-1:]))
    return {"id": object_id, "versions": 1}


@tool
def set_versioning(cloud: Cloud, bucket_id: str, enabled: bool) -> Any:
    """Switch a bucket's versioning on or off; off keeps no old versions.

    Args:
        bucket_id: Bucket id.
        enabled: Keep old versions from now on.
    """
    bucket = cloud.writable(bucket_id, Bucket)
    cloud.put(replace(bucket, versioning=enabled))
    return {"id": bucket_id, "versioning": enabled}


@tool
def put_lifecycle_rule(
    cloud: Cloud, bucket_id: str, action: LifecycleAction, after_days: int, key_prefix: str = ""
) -> Any:
    """Set what a bucket does with objects of some age, every night.

    Args:
        bucket_id: Bucket id.
        action: What happens to the objects.
        after_days: Age in days.
        key_prefix: Only objects whose key starts so.
    """
    bucket = cloud.writable(bucket_id, Bucket)
    if not 0 <= after_days <= 3_650:
        raise CloudError("invalid_argument", f"after_days is {after_days}, expected 0 to 3650")
    others = [rule for rule in bucket.rules if (rule.prefix, rule.action) != (key_prefix, action)]
    cloud.put(replace(bucket, rules=(*others, Rule(key_prefix, action, after_days))))
    return {"id": bucket_id, "rules": len(others) + 1}


@tool
def clear_lifecycle_rules(cloud: Cloud, bucket_id: str) -> Any:
    """Take all lifecycle rules off a bucket.

    Args:
        bucket_id: Bucket id.
    """
    bucket = cloud.writable(bucket_id, Bucket)
    cloud.put(replace(bucket, rules=()))
    return {"id": bucket_id, "rules": 0}


def _visible(cloud: Cloud, object_id: str) -> Object:
    found = cloud.find(object_id, Object)
    if not found.in_service:
        raise CloudError("not_found", f"{object_id} was removed; its old versions are still in the bucket")
    return found
