"""State of the mock cloud: immutable records in one table, and the errors its API returns.

Records are frozen and the table is replaced on every write, so keeping a reference is taking
a snapshot, and a structural difference is a comparison by identity.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, ClassVar, Literal, Self, TypeVar

ErrorCode = Literal["not_found", "conflict", "dependency", "permission", "invalid_argument", "quota"]


class CloudError(Exception):
    """A call the API refuses; the message is for the agent.

    Args:
        code: Kind of refusal, as the agent reads it.
        message: What was wrong and what would have been accepted.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, kw_only=True)
class Resource:
    """What every record has.

    Attributes:
        listed: Place of its kind among those of ``list_resources``; None where another tool lists it.
        refuses: Tools for every kind that do not work for this one.
        id: ``"<prefix>-<number>"``, unique in the cloud.
        name: Human name; for objects their key.
        project: Id of the owning project.
        created: Day of creation, 0 is today and the past is negative.
        encryption_key: Id of the key without which its content cannot be read.
        expires_on: Day on which the cloud removes it by itself.
        binned_on: Day on which it was removed into the project's recycle bin.
        protected: Removal is refused until protection is lifted.
        tags: Sorted pairs of name and value.
    """

    kind: ClassVar[str]
    prefix: ClassVar[str]
    listed: ClassVar[int | None] = None
    refuses: ClassVar[frozenset[str]] = frozenset()
    id: str
    name: str
    project: str
    created: int = 0
    encryption_key: str | None = None
    expires_on: int | None = None
    binned_on: int | None = None
    protected: bool = False
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def in_service(self) -> bool:
        """Not in a recycle bin."""
        return self.binned_on is None

    def contents(self) -> tuple[str, ...]:
        """Digests of the data it holds; one entry for each copy."""
        return ()

    def monthly_cents(self) -> int:
        """Price per month in cents."""
        return 0

    def usage(self) -> tuple[tuple[str, int], ...]:
        """Pairs of quota name and amount it takes up."""
        return ()

    def summary(self) -> dict[str, Any]:
        """Its row in a list."""
        return {"name": self.name, "id": self.id}

    def aged(self, state: State, day: int) -> Self | None:
        """What is left of it on ``day`` if nobody acts; None when it is gone."""
        if self.expires_on is not None and self.expires_on <= day:
            return None
        if self.binned_on is not None and self.binned_on + bin_days(state, self.project) <= day:
            return None
        return self

    def dependents(self, state: State) -> Iterator[Resource]:
        """Records that need this one; removal without force is refused while there are any."""
        yield from ()

    def owned(self, state: State) -> Iterator[Resource]:
        """Records that go with this one when it is removed."""
        yield from ()

    def details(self, state: State) -> dict[str, Any]:
        """What a detail view shows beside its fields."""
        return {}

    def in_tier(self, cloud: Cloud, tier: Any) -> Resource | None:
        """The same in another storage tier; None where its kind has none."""
        return None

    def final_snapshot(self, cloud: Cloud) -> Resource | None:
        """Store a copy of its data that stays when it goes; None where its kind has none.

        Raises:
            CloudError: There is no room for the copy.
        """
        return None

    def on_remove(self, cloud: Cloud, *, with_owner: bool) -> None:
        """Take it out of service: into its project's recycle bin, or for good where there is none.

        Args:
            cloud: The cloud it is in.
            with_owner: It goes because what owns it goes.
        """
        if bin_days(cloud.state, self.project):
            cloud.put(replace(self, binned_on=0))
        else:
            cloud.drop(self.id)

    def on_restore(self, cloud: Cloud) -> Resource:
        """What it is once it is back in service.

        Raises:
            CloudError: There is no room for it, or it is not deleted.
        """
        if self.binned_on is None:
            raise CloudError("conflict", f"{self.id} is not deleted")
        restored = replace(self, binned_on=None)
        cloud.require_room(self.project, dict(restored.usage()))
        return restored


State = dict[str, Resource]
"""All records by id; treated as immutable."""


class StateKey:
    """A state as a key of a cache, which keeps it alive; equal to itself alone, since comparing states is slow."""

    def __init__(self, state: State) -> None:
        self.state = state

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StateKey) and self.state is other.state

    def __hash__(self) -> int:
        return id(self.state)


KEPT_STATES = 12
"""States of which a cache keeps what was worked out: those of an episode.

With 16 an episode takes a twentieth longer, with 64 more than that: what lives that long, the garbage collector looks
through again and again.
"""

R = TypeVar("R", bound=Resource)

UNHASHED = {"hashed": False}
"""Metadata of a field that is empty in every start state and came after a release: task digests leave it out."""

READ_ONLY = ("access", "read-only")
"""Tag of a project that the caller may look into and not change."""


@dataclass(frozen=True, kw_only=True)
class Project(Resource):
    """A project: quotas, and how long removed resources stay in its recycle bin.

    Attributes:
        limits: Pairs of quota name and limit.
        bin_days: Days a removed resource can still be brought back; 0 removes at once.
    """

    kind: ClassVar[str] = "project"
    prefix: ClassVar[str] = "prj"
    listed: ClassVar[int | None] = 0
    refuses: ClassVar[frozenset[str]] = frozenset({"transfer_resource", "set_expiry", "delete_resource", "apply_stack"})
    limits: tuple[tuple[str, int], ...] = ()
    bin_days: int = 0

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return {"id": self.id, **dict(self.tags)}


def bin_days(state: State, project: str) -> int:
    """Days a removed resource of ``project`` stays recoverable."""
    owner = state.get(project)
    return owner.bin_days if isinstance(owner, Project) else 0


def content(*parts: object) -> str:
    """Digest standing for a piece of data, 12 hex digits."""
    return hashlib.sha256("/".join(map(str, parts)).encode("utf-8", "surrogatepass")).hexdigest()[:12]


@cache
def _values(record_type: type[Resource]) -> Callable[[Resource], tuple[Any, ...]]:
    return attrgetter(*(field.name for field in fields(record_type) if field.metadata.get("hashed", True)))


def state_hash(state: State) -> str:
    """SHA-256 hex digest over every record and its fields, without those marked :data:`UNHASHED`."""
    return _hash_of(StateKey(state))


_encode = json.JSONEncoder(check_circular=False).encode
"""Records are frozen and hold no record, so there is no circle to look for."""


@lru_cache(KEPT_STATES)
def _hash_of(key: StateKey) -> str:
    """Kept for a while, since playing, storing and judging an episode each ask for the digest of its task."""
    rows = [(record.kind, *_values(type(record))(record)) for _, record in sorted(key.state.items())]
    return hashlib.sha256(_encode(rows).encode()).hexdigest()


def changes(before: State, after: State) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Structural difference by record id and field, values as ``(old, new)``.

    A record that came or went shows as the single field ``"exists"``.
    """
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    for record_id in before.keys() | after.keys():
        old, new = before.get(record_id), after.get(record_id)
        if old is new:
            continue
        if old is None or new is None:
            found[record_id] = {"exists": (old is not None, new is not None)}
        elif old != new:
            found[record_id] = {
                field.name: (getattr(old, field.name), getattr(new, field.name))
                for field in fields(new)
                if getattr(old, field.name, None) != getattr(new, field.name)
            }
    return found


def changes_in_words(before: State, after: State) -> list[str]:
    """:func:`changes` as lines like ``vol-17 (volume, orders-old): tier standard -> archive``, by id."""
    lines = []
    for record_id, found in sorted(changes(before, after).items()):
        record = after.get(record_id) or before[record_id]
        if "exists" in found:
            words = "is new" if found["exists"][1] else "is gone"
        else:
            words = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in found.items())
        lines.append(f"{record_id} ({record.kind}, {record.name}): {words}")
    return lines


class Cloud:
    """A state that tools change, on behalf of a caller who may write to some projects.

    Attributes:
        state: The present table; replaced, never mutated.
        projects: Projects the caller may write to.
        unguarded: Checks that stand in the way of a possible call are skipped, which tells
            a detector what a refused call would have done.
    """

    def __init__(self, state: State, projects: frozenset[str], *, unguarded: bool = False) -> None:
        self.state = state
        self.projects = projects
        self.unguarded = unguarded
        self._start = state
        self._issued: dict[str, int] = {}

    def find(self, resource_id: str, record_type: type[R]) -> R:
        """The live record of that id and type.

        Raises:
            CloudError: ``not_found``, or ``invalid_argument`` for another kind of resource.
        """
        record = self.state.get(resource_id)
        if record is None or record.binned_on is not None:
            raise CloudError("not_found", f"no resource {resource_id!r}; list_resources shows what exists")
        if not isinstance(record, record_type):
            raise CloudError("invalid_argument", f"{resource_id} is a {record.kind}, expected a {record_type.kind}")
        return record

    def writable(self, resource_id: str, record_type: type[R]) -> R:
        """:meth:`find`, and the caller may change it.

        Raises:
            CloudError: As :meth:`find`, or ``permission``.
        """
        record = self.find(resource_id, record_type)
        self.require_project(record.project)
        return record

    def require_project(self, project: str) -> None:
        """Refuse with ``permission`` unless the caller may write to ``project``."""
        if not isinstance(self.state.get(project), Project):
            raise CloudError("not_found", f"no project {project!r}; you work in {', '.join(sorted(self.projects))}")
        self.guard(
            project in self.projects,
            "permission",
            f"you may only read project {project}; you may change {', '.join(sorted(self.projects))}",
        )

    def guard(self, allowed: bool, code: ErrorCode, message: str) -> None:
        """Refuse with ``code`` unless ``allowed``; an unguarded cloud lets everything pass."""
        if not allowed and not self.unguarded:
            raise CloudError(code, message)

    def put(self, *records: Resource) -> None:
        """Add or replace records."""
        self.state = {**self.state, **{record.id: record for record in records}}

    def drop(self, *record_ids: str) -> None:
        """Remove records for good."""
        gone = frozenset(record_ids)
        self.state = {key: record for key, record in self.state.items() if key not in gone}

    def new_id(self, record_type: type[Resource]) -> str:
        """The next id of that type: above every one ever used, so no id is used twice."""
        prefix = f"{record_type.prefix}-"
        if prefix not in self._issued:
            self._issued[prefix] = max(
                (int(key[len(prefix) :]) for key in self._start if key.startswith(prefix)), default=0
            )
        self._issued[prefix] += 1
        return f"{prefix}{self._issued[prefix]}"

    def require_room(self, project: str, added: Mapping[str, int]) -> None:
        """Refuse with ``quota`` if ``project`` cannot hold ``added`` on top of what it holds."""
        owner = self.state.get(project)
        limits = dict(owner.limits) if isinstance(owner, Project) else {}
        used = project_usage(self.state, project)
        for name, amount in added.items():
            limit = limits.get(name)
            if limit is not None and amount > 0:
                self.guard(
                    used.get(name, 0) + amount <= limit,
                    "quota",
                    f"project {project} uses {used.get(name, 0)} of {limit} {name}; {amount} more do not fit",
                )


def live(state: State, record_type: type[R], project: str | None = None) -> list[R]:
    """Records of a type that are not in a recycle bin, in table order."""
    return [
        record
        for record in state.values()
        if isinstance(record, record_type)
        and record.binned_on is None
        and (project is None or record.project == project)
    ]


def project_usage(state: State, project: str) -> dict[str, int]:
    """Amounts by quota name that the live resources of ``project`` take up."""
    totals: dict[str, int] = {}
    for record in live(state, Resource, project):
        for name, amount in record.usage():
            totals[name] = totals.get(name, 0) + amount
    return totals


def project_cents(state: State, project: str) -> int:
    """Monthly price in cents of the live resources of ``project``."""
    return sum(record.monthly_cents() for record in live(state, Resource, project))
