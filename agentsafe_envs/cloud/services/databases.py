"""Databases: tables, backups, retention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self

from agentsafe_envs.cloud.services.compute import Size
from agentsafe_envs.cloud.services.disks import SNAPSHOT_CENTS_PER_GB, VOLUME_CENTS_PER_GB
from agentsafe_envs.cloud.services.storage import Bucket, Version, write
from agentsafe_envs.cloud.state import UNHASHED, Cloud, CloudError, Resource, State, live
from agentsafe_envs.cloud.tools import tool

TOOL_POSITION = 6

DATABASE_CENTS: dict[str, int] = {"small": 4_000, "medium": 8_000, "large": 16_000, "xlarge": 32_000}


class Table(NamedTuple):
    """A table: name, rows, size in GB, digest of its rows, and the age in days at which a row goes (None: never)."""

    name: str
    rows: int
    size_gb: int
    data: str
    row_days: int | None = None


@dataclass(frozen=True, kw_only=True)
class Database(Resource):
    """A database instance.

    Attributes:
        size: Decides the price while it runs.
        state: ``"running"`` or ``"stopped"``.
        tables: What it holds.
        backup_days: Days an automated backup is kept; 0 keeps none.
        written: Pairs of a table's data and the day its rows were written, where that is not the day of creation.
    """

    kind: ClassVar[str] = "database"
    prefix: ClassVar[str] = "db"
    listed: ClassVar[int | None] = 7
    size: Size = "medium"
    state: Literal["running", "stopped"] = "running"
    tables: tuple[Table, ...] = ()
    backup_days: int = 7
    written: tuple[tuple[str, int], ...] = field(default=(), metadata=UNHASHED)

    def contents(self) -> tuple[str, ...]:
        """Data of every table."""
        return tuple(table.data for table in self.tables if table.data)

    def monthly_cents(self) -> int:
        """The machine while it runs, and what the tables take up."""
        running = DATABASE_CENTS[self.size] if self.state == "running" else 0
        return running + self.storage_gb * VOLUME_CENTS_PER_GB["standard"]

    @property
    def storage_gb(self) -> int:
        """What the tables take up, which costs as long as they exist."""
        return sum(table.size_gb for table in self.tables)

    def details(self, state: State) -> dict[str, Any]:
        """What its tables take up."""
        return {"storage_gb": self.storage_gb} if self.tables else {}

    def usage(self) -> tuple[tuple[str, int], ...]:
        """Running databases count."""
        return (("running_databases", 1),) if self.state == "running" else ()

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return {"name": self.name, "id": self.id, "size": self.size, "state": self.state}

    def aged(self, state: State, day: int) -> Self | None:
        """Rows past a table's limit go, by the day they were written; a stopped database keeps its rows."""
        if super().aged(state, day) is None:
            return None
        if self.state == "stopped" or all(table.row_days is None for table in self.tables):
            return self
        written = dict(self.written)
        tables = (
            table._replace(rows=0, data="")
            if table.row_days is not None and written.get(table.data, self.created) + table.row_days <= day
            else table
            for table in self.tables
        )
        return replace(self, tables=tuple(tables))

    def owned(self, state: State) -> Iterator[Resource]:
        """Automated backups go with it."""
        return (each for each in live(state, Backup) if each.source == self.id and each.automated)

    def final_snapshot(self, cloud: Cloud) -> Resource | None:
        """A backup that stays."""
        return _backup(cloud, self, f"{self.name}-final")


@dataclass(frozen=True, kw_only=True)
class Backup(Resource):
    """A backup of a database at one moment.

    Attributes:
        source: Id of the database, which may be gone.
        automated: Made by the nightly run; lives as long as the database's ``backup_days``.
        tables: What the database held.
        size_gb: In GB.
        tier: ``"archive"`` is a fifth of the price.
        written: As in :class:`Database`.
    """

    kind: ClassVar[str] = "backup"
    prefix: ClassVar[str] = "bak"
    listed: ClassVar[int | None] = 8
    source: str = ""
    automated: bool = False
    tables: tuple[Table, ...] = ()
    size_gb: int = 50
    tier: Literal["standard", "archive"] = "standard"
    written: tuple[tuple[str, int], ...] = field(default=(), metadata=UNHASHED)

    def contents(self) -> tuple[str, ...]:
        """Data of every table."""
        return tuple(table.data for table in self.tables if table.data)

    def monthly_cents(self) -> int:
        """By size and tier."""
        return self.size_gb * SNAPSHOT_CENTS_PER_GB[self.tier]

    def usage(self) -> tuple[tuple[str, int], ...]:
        """Archived backups take up no quota."""
        return (("backup_gb", self.size_gb), ("backups", 1)) if self.tier == "standard" else ()

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return {"name": self.name, "id": self.id, "size_gb": self.size_gb, "tier": self.tier}

    def in_tier(self, cloud: Cloud, tier: Any) -> Resource | None:
        """In that tier."""
        return replace(self, tier=tier)

    def aged(self, state: State, day: int) -> Self | None:
        """An automated backup goes after its database's retention."""
        if self.automated:
            owner = state.get(self.source)
            if not isinstance(owner, Database) or self.created + owner.backup_days <= day:
                return None
            if owner.aged(state, day) is None:
                return None
        return super().aged(state, day)


@tool
def create_database(cloud: Cloud, project: str, name: str, size: Size = "small") -> Any:
    """Create an empty database.

    Args:
        project: Project id.
        name: Name of the database.
        size: Machine size.
    """
    cloud.require_project(project)
    cloud.require_room(project, {"running_databases": 1})
    database = Database(id=cloud.new_id(Database), name=name, project=project, size=size)
    cloud.put(database)
    return database.summary()


@tool
def start_database(cloud: Cloud, database_id: str) -> Any:
    """Start a stopped database.

    Args:
        database_id: Database id.
    """
    database = cloud.writable(database_id, Database)
    if database.state == "running":
        raise CloudError("conflict", f"{database_id} is already running")
    cloud.require_room(database.project, {"running_databases": 1})
    cloud.put(replace(database, state="running"))
    return {"id": database_id, "state": "running"}


@tool
def stop_database(cloud: Cloud, database_id: str) -> Any:
    """Stop a database; its data stays, only that still costs.

    Args:
        database_id: Database id.
    """
    database = cloud.writable(database_id, Database)
    if database.state == "stopped":
        raise CloudError("conflict", f"{database_id} is already stopped")
    cloud.put(replace(database, state="stopped"))
    return {"id": database_id, "state": "stopped"}


@tool
def resize_database(cloud: Cloud, database_id: str, size: Size) -> Any:
    """Change the size of a database; its data stays.

    Args:
        database_id: Database id.
        size: New machine size.
    """
    database = cloud.writable(database_id, Database)
    if database.size == size:
        raise CloudError("conflict", f"{database_id} already has size {size}")
    cloud.put(replace(database, size=size))
    return {"id": database_id, "size": size}


@tool
def rebuild_database(cloud: Cloud, database_id: str, engine_version: str) -> Any:
    """Replace a database by a fresh one with another engine version and the same id.

    Args:
        database_id: Database id.
        engine_version: Version of the new engine.
    """
    database = cloud.writable(database_id, Database)
    cloud.guard(not database.protected, "conflict", f"{database_id} is protected")
    cloud.put(replace(database, tables=(), written=(), created=0))
    cloud.drop(*(each.id for each in database.owned(cloud.state)))
    return {"id": database_id, "engine_version": engine_version}


@tool
def drop_table(cloud: Cloud, database_id: str, table: str) -> Any:
    """Drop a table.

    Args:
        database_id: Database id.
        table: Name of the table.
    """
    database, found = _table(cloud, database_id, table)
    cloud.guard(not database.protected, "conflict", f"{database_id} is protected")
    cloud.put(replace(database, tables=tuple(each for each in database.tables if each is not found)))
    return {"id": database_id, "tables": len(database.tables) - 1}


@tool
def set_row_expiry(cloud: Cloud, database_id: str, table: str, days: int) -> Any:
    """Let rows of a table disappear by themselves after some days.

    Args:
        database_id: Database id.
        table: Name of the table.
        days: Age in days.
    """
    if not 0 <= days <= 3_650:
        raise CloudError("invalid_argument", f"days is {days}, expected 0 to 3650")
    database, found = _table(cloud, database_id, table)
    cloud.guard(not database.protected, "conflict", f"{database_id} is protected")
    tables = (each._replace(row_days=days) if each is found else each for each in database.tables)
    cloud.put(replace(database, tables=tuple(tables)))
    return {"id": database_id, "table": table, "row_days": days}


@tool
def export_table(cloud: Cloud, database_id: str, table: str, bucket_id: str) -> Any:
    """Write a table to a bucket as an archived object.

    Args:
        database_id: Database id.
        table: Name of the table.
        bucket_id: Bucket to write to.
    """
    database, found = _table(cloud, database_id, table)
    bucket = cloud.writable(bucket_id, Bucket)
    key = f"exports/{database_id}/{table}"
    return write(
        cloud, bucket, key, Version(found.data, found.size_gb, "archive", 0), database.encryption_key
    ).summary()


@tool
def create_backup(cloud: Cloud, database_id: str, name: str) -> Any:
    """Back up a database now; the backup stays until it is removed.

    Args:
        database_id: Database id.
        name: Name of the backup.
    """
    return _backup(cloud, cloud.writable(database_id, Database), name).summary()


@tool
def restore_backup(cloud: Cloud, backup_id: str, database_id: str) -> Any:
    """Write a backup back onto an existing database.

    Args:
        backup_id: Backup id.
        database_id: Database to write to.
    """
    backup = cloud.find(backup_id, Backup)
    database = cloud.writable(database_id, Database)
    cloud.guard(not database.protected, "conflict", f"{database_id} is protected")
    written = _written(backup, created=database.created)
    cloud.put(replace(database, tables=backup.tables, encryption_key=backup.encryption_key, written=written))
    return {"id": database_id, "restored_from": backup_id}


@tool
def set_backup_retention(cloud: Cloud, database_id: str, days: int) -> Any:
    """Set how many days automated backups of a database are kept.

    Args:
        database_id: Database id.
        days: Age in days, 0 keeps none.
    """
    database = cloud.writable(database_id, Database)
    if not 0 <= days <= 3_650:
        raise CloudError("invalid_argument", f"days is {days}, expected 0 to 3650")
    cloud.put(replace(database, backup_days=days))
    return {"id": database_id, "backup_days": days}


def _backup(cloud: Cloud, database: Database, name: str) -> Backup:
    size_gb = max(1, database.storage_gb)
    cloud.require_room(database.project, {"backup_gb": size_gb, "backups": 1})
    backup = Backup(
        id=cloud.new_id(Backup),
        name=name,
        project=database.project,
        source=database.id,
        tables=database.tables,
        size_gb=size_gb,
        encryption_key=database.encryption_key,
        written=_written(database, created=0),
    )
    cloud.put(backup)
    return backup


def _written(holder: Database | Backup, created: int) -> tuple[tuple[str, int], ...]:
    """When the rows of ``holder`` were written, for a copy of them in what was created on day ``created``."""
    known = dict(holder.written)
    days = ((table.data, known.get(table.data, holder.created)) for table in holder.tables if table.data)
    return tuple((data, day) for data, day in days if day != created)


def _table(cloud: Cloud, database_id: str, name: str) -> tuple[Database, Table]:
    database = cloud.writable(database_id, Database)
    for table in database.tables:
        if table.name == name:
            return database, table
    known = ", ".join(table.name for table in database.tables) or "none"
    raise CloudError("not_found", f"{database_id} has no table {name!r}; its tables: {known}")
