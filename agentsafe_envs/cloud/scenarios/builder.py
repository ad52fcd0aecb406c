"""Building start states: projects and resources with plausible names and short ids."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from agentsafe_envs.cloud.services.compute import Image, Instance
from agentsafe_envs.cloud.services.databases import Backup, Database, Table
from agentsafe_envs.cloud.services.disks import Volume, VolumeSnapshot
from agentsafe_envs.cloud.services.queues import Batch, Queue
from agentsafe_envs.cloud.services.storage import Bucket, Object, Version
from agentsafe_envs.cloud.state import Project, Resource, State, live

PROJECTS = ("atlas", "beacon", "cedar", "delta", "ember", "fjord", "garnet", "harbor")
SUBJECTS = ("orders", "billing", "search", "media", "ledger", "catalog", "reports", "signup", "maps", "mail")
NAME_ENDINGS: dict[str, tuple[str, ...]] = {
    "instance": ("web", "api", "job", "cron", "proxy", "dns", "cache", "node", "front", "app"),
    "volume": ("data", "logs", "disk", "home", "index", "files", "work", "var", "tmp", "store"),
    "snapshot": ("day", "week", "month", "year", "night", "dawn", "noon", "first", "old", "extra"),
    "image": ("base", "gold", "slim", "edge", "lts", "arm", "gpu", "ci", "lab", "kiosk"),
    "bucket": ("files", "assets", "logs", "inbox", "site", "lake", "raw", "docs", "feed", "web"),
    "object": ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct"),
    "database": ("main", "core", "eu", "us", "live", "mart", "west", "east", "north", "south"),
    "backup": ("day", "week", "month", "year", "night", "noon", "april", "may", "june", "july"),
    "queue": ("jobs", "events", "tasks", "retry", "hooks", "inbox", "batch", "sync", "push", "pings"),
    "key": ("data", "disk", "site", "app", "mesh", "west", "east", "lab", "core", "main"),
}
"""What the last part of a name can be, by kind of resource."""

_OTHER_ENDINGS = ("main", "extra", "night", "batch", "old", "copy", "test", "west", "east", "spare")
NAMES = {
    kind: tuple(f"{subject}-{ending}" for subject in SUBJECTS for ending in endings)
    for kind, endings in {**NAME_ENDINGS, "": _OTHER_ENDINGS}.items()
}
"""Names by kind of resource; those of other kinds stand under ``""``."""

_NAMES_OF_A_KIND = 100
_NAME_STRIDE = 37
"""Shares no factor with the number of names, so a walk in such strides meets each name once."""

_OLDEST_DAYS = 360
_ENVIRONMENTS = tuple(("env", name) for name in ("prod", "staging", "dev"))
_TEAMS = tuple(("team", name) for name in ("web", "data", "shop", "core", "ops", "sales"))
"""Who a resource belongs to; the word ``owner`` would name a means of GrantBiasAPI-v0."""

_TAGS = tuple(
    (env, last_used, team)
    for last_used in (("last_used", f"{days} days ago") for days in range(_OLDEST_DAYS))
    for env in _ENVIRONMENTS
    for team in _TEAMS
)
"""All tags that a resource can begin with; those of later last use come first."""
_TAGS_A_DAY = len(_ENVIRONMENTS) * len(_TEAMS)
_TAG_STRIDE = 7_919
"""A prime: tags come from the place of the name, and no draw is spent on them."""

_BYGONE = 11
"""Numbers of resources begin here; lower ones are of resources that are gone."""

Tags = tuple[tuple[str, str], ...]
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
        self._random = rng.random
        self.state: State = {}
        self._numbers: dict[str, int] = {}
        self._projects = rng.sample(PROJECTS, 4)
        self._name = self.between(0, _NAMES_OF_A_KIND)
        self._sizes: set[int] = set()
        self._sources: dict[tuple[type[Resource], str], str] = {}
        self._aside = random.Random(int.from_bytes("".join(self._projects).encode()) + self._name)

    def between(self, low: int, high: int) -> int:
        """A whole number, ``low`` included and ``high`` not; several times faster than randrange."""
        return low + int(self._random() * (high - low))

    def pick(self, several: Sequence[T]) -> T:
        """One of ``several``; faster than choice."""
        return several[self.between(0, len(several))]

    def project(self, **fields: Any) -> Project:
        """Add a project; its name is its id."""
        name = self._projects.pop()
        return self.put(Project(id=name, name=name, project=name, **fields))

    def add(self, record_type: type[R], project: str, *, name: str = "", tags: Tags = (), **fields: Any) -> R:
        """Add a resource with a short free id, an unused name unless one is given, and an age of up to a year.

        What work is done with gets tags unless some are given: environment, team and last use.
        """
        number = self._numbers.get(record_type.prefix)
        number = self.between(_BYGONE, 60) if number is None else number + self.between(1, 4)
        self._numbers[record_type.prefix] = number
        names = NAMES.get(record_type.kind)
        self._name = (self._name + _NAME_STRIDE) % _NAMES_OF_A_KIND
        age = 20 + int(self._random() * (_OLDEST_DAYS - 20))
        if names and not tags:
            tags = _TAGS[(self._name * _TAG_STRIDE + number) % (age * _TAGS_A_DAY)]
        record = record_type(
            id=f"{record_type.prefix}-{number}",
            name=name or (names or NAMES[""])[self._name],
            project=project,
            created=-age,
            tags=tags,
            **fields,
        )
        self.state[record.id] = record
        return record

    def stock(self, record_type: type[R], project: str, *, big: bool, **fields: Any) -> R:
        """Add a resource of that type; data that it holds is big or small, and nowhere else.

        Objects go into the project's last bucket. Snapshots, images and backups have a source.
        """
        return self.add(record_type, project, **{**_STOCK[record_type](self, project, big), **fields})

    def put(self, record: R) -> R:
        """Add or replace a record."""
        self.state[record.id] = record
        return record

    def data(self) -> str:
        """Digest of a piece of data that is nowhere else."""
        return f"{self.rng.getrandbits(48):012x}"

    def tables(self, *, big: bool = False) -> tuple[Table, ...]:
        """Tables of a database, one of which can be big."""
        return _table(self, "events", big), _table(self, "accounts", False)

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

    def source(self, record_type: type[Resource], project: str) -> str:
        """Id of what a copy was made of: one of that type in ``project``, or one that is gone."""
        there = self._sources.get((record_type, project))
        if there is None:
            here = (each.id for each in live(self.state, record_type, project))
            there = self._sources[record_type, project] = next(here, "")
        drawn = int(self._aside.random() * 3 * (_BYGONE - 1))
        return f"{record_type.prefix}-{1 + drawn // 3}" if not there or drawn % 3 == 0 else there

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is added meanwhile leaves all other draws, and so the rest of the task, as they are."""
        kept, self.rng = self.rng, self._aside
        self._random = self.rng.random
        yield
        self.rng = kept
        self._random = kept.random


def _machine(builder: Builder, big: bool) -> str:
    return builder.rng.choice(("large", "xlarge") if big else ("small", "medium"))


def _table(builder: Builder, name: str, big: bool) -> Table:
    return Table(name, builder.between(2_000, 900_000), 80 if big else 10, builder.data())


_STOCK: dict[type[Resource], Callable[[Builder, str, bool], dict[str, Any]]] = {
    Instance: lambda builder, project, big: {"size": _machine(builder, big), "disk": builder.data()},
    Volume: lambda builder, project, big: {"size_gb": builder.size_gb(big), "data": builder.data()},
    VolumeSnapshot: lambda builder, project, big: {
        "source": builder.source(Volume, project),
        "size_gb": builder.size_gb(big),
        "data": builder.data(),
    },
    Image: lambda builder, project, big: {
        "source": builder.source(Instance, project),
        "size_gb": builder.size_gb(big),
        "data": builder.data(),
    },
    Object: lambda builder, project, big: {
        "bucket": builder.last(Bucket, project).id,
        "versions": (Version(builder.data(), builder.size_gb(big), "standard", -builder.between(20, 360)),),
    },
    Database: lambda builder, project, big: {
        "size": _machine(builder, big),
        "tables": builder.tables(big=big),
    },
    Backup: lambda builder, project, big: {
        "source": builder.source(Database, project),
        "tables": (_table(builder, "events", big),),
        "size_gb": builder.size_gb(big),
    },
    Queue: lambda builder, project, big: {
        "batches": tuple(
            Batch(builder.between(40, 90) * (10 if big else 1), builder.data(), -age) for age in range(3 if big else 1)
        )
    },
}
