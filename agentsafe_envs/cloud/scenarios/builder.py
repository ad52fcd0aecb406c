"""Building start states: projects and resources with plausible names and short ids."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from agentsafe_envs.cloud.services.compute import Image, Instance
from agentsafe_envs.cloud.services.databases import Backup, Database, Table
from agentsafe_envs.cloud.services.disks import Volume, VolumeSnapshot
from agentsafe_envs.cloud.services.queues import Batch, Queue
from agentsafe_envs.cloud.services.storage import Bucket, Object, Version
from agentsafe_envs.cloud.state import Project, Resource, State

PROJECTS = ("atlas", "beacon", "cedar", "delta", "ember", "fjord", "garnet", "harbor")
SUBJECTS = ("orders", "billing", "search", "media", "ledger", "catalog", "reports", "signup", "maps", "mail")
NAME_ENDINGS = ("main", "extra", "night", "batch", "old", "copy", "test", "west", "east", "spare")
NAMES = tuple(f"{subject}-{role}" for subject in SUBJECTS for role in NAME_ENDINGS)

_NAME_STRIDE = 37
"""Shares no factor with the number of names, so a walk in such strides meets each name once."""

R = TypeVar("R", bound=Resource)
T = TypeVar("T")


class Builder:
    """A start state in the making; everything it invents comes from ``rng``.

    Attributes:
        rng: Source of every value.
        state: The records so far.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.state: State = {}
        self._numbers: dict[str, int] = {}
        self._projects = rng.sample(PROJECTS, 4)
        self._name = self.between(0, len(NAMES))
        self._sizes: set[int] = set()

    def between(self, low: int, high: int) -> int:
        """A whole number, ``low`` included and ``high`` not; several times faster than randrange."""
        return low + int(self.rng.random() * (high - low))

    def pick(self, several: Sequence[T]) -> T:
        """One of ``several``; faster than choice."""
        return several[self.between(0, len(several))]

    def project(self, **fields: Any) -> Project:
        """Add a project; its name is its id."""
        name = self._projects.pop()
        return self.put(Project(id=name, name=name, project=name, **fields))

    def add(self, record_type: type[R], project: str, *, name: str = "", **fields: Any) -> R:
        """Add a resource with a short free id, an unused name unless one is given, and an age of up to a year."""
        number = self._numbers.get(record_type.prefix)
        number = self.between(11, 60) if number is None else number + self.between(1, 4)
        self._numbers[record_type.prefix] = number
        self._name = (self._name + _NAME_STRIDE) % len(NAMES)
        return self.put(
            record_type(
                id=f"{record_type.prefix}-{number}",
                name=name or NAMES[self._name],
                project=project,
                created=-self.between(20, 360),
                **fields,
            )
        )

    def stock(self, record_type: type[R], project: str, *, big: bool, encryption_key: str | None = None) -> R:
        """Add a resource of that type holding data that is nowhere else, big or small.

        Objects go into the project's last bucket and backups belong to its last database.
        """
        return self.add(record_type, project, encryption_key=encryption_key, **_STOCK[record_type](self, project, big))

    def put(self, record: R) -> R:
        """Add or replace a record."""
        self.state[record.id] = record
        return record

    def data(self) -> str:
        """Digest of a piece of data that is nowhere else."""
        return f"{self.rng.getrandbits(48):012x}"

    def size_gb(self, big: bool) -> int:
        """A size no other resource of this state has: 300 to 900 GB if big, else 30 to 200."""
        while True:
            size = self.between(30, 91) * 10 if big else self.between(3, 21) * 10
            if size not in self._sizes:
                self._sizes.add(size)
                return size

    def last(self, record_type: type[R], project: str) -> R:
        """The resource of that type that was last added to ``project``."""
        return next(r for r in reversed(self.state.values()) if isinstance(r, record_type) and r.project == project)


def _machine(builder: Builder, big: bool) -> str:
    return builder.rng.choice(("large", "xlarge") if big else ("small", "medium"))


def _table(builder: Builder, name: str, big: bool) -> Table:
    return Table(name, builder.between(2_000, 900_000), 80 if big else 10, builder.data())


_STOCK: dict[type[Resource], Callable[[Builder, str, bool], dict[str, Any]]] = {
    Instance: lambda builder, project, big: {"size": _machine(builder, big), "disk": builder.data()},
    Volume: lambda builder, project, big: {"size_gb": builder.size_gb(big), "data": builder.data()},
    VolumeSnapshot: lambda builder, project, big: {"size_gb": builder.size_gb(big), "data": builder.data()},
    Image: lambda builder, project, big: {"size_gb": builder.size_gb(big), "data": builder.data()},
    Object: lambda builder, project, big: {
        "bucket": builder.last(Bucket, project).id,
        "versions": (Version(builder.data(), builder.size_gb(big), "standard", -builder.between(20, 360)),),
    },
    Database: lambda builder, project, big: {
        "size": _machine(builder, big),
        "tables": (_table(builder, "events", big), _table(builder, "accounts", False)),
    },
    Backup: lambda builder, project, big: {
        "database": builder.last(Database, project).id,
        "tables": (_table(builder, "events", big),),
        "size_gb": builder.size_gb(big),
    },
    Queue: lambda builder, project, big: {
        "batches": tuple(
            Batch(builder.between(40, 90) * (10 if big else 1), builder.data(), -age) for age in range(3 if big else 1)
        )
    },
}
