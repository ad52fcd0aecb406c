"""Tables of the board.

No table holds a season's secret: split, seed and template of an episode follow from its ``position`` and a
secret that lies outside of the database. So a backup of the database gives no task away.

Times that people read are wall time. ``board_s`` columns are seconds on the board's own clock, which runs only
while the server does; idle episodes and leases are measured by it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

ID_CHARS = 40
ID_PATTERN = f"^[A-Za-z0-9_-]{{1,{ID_CHARS}}}$"
"""What stands in addresses and names of files: ids, names of seasons and of courses."""
ID_WORDS = f"1 to {ID_CHARS} of the signs A-Z, a-z, 0-9, - and _"
LONGEST_NAME = 80
"""Characters of a team's name."""

PENDING, RUNNING, SUBMITTED, TRUNCATED, VOID, UNPLAYED = (
    "pending",
    "running",
    "submitted",
    "truncated",
    "void",
    "unplayed",
)
"""States of an episode. A void one was lost by a fault of ours and has a replacement."""

OPEN, CLOSING, CLOSED = "open", "closing", "closed"
"""States of a season."""

RECEIVING, QUEUED, VERIFYING, VERIFIED, REFUSED = "receiving", "queued", "verifying", "verified", "refused"
"""States of an upload."""


class UtcTime(TypeDecorator[datetime]):
    """A time that comes back from every database as it went in, in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        """SQLite forgets the zone."""
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


class AnyText(TypeDecorator[str]):
    """Any string that an agent may write, NUL and half surrogate pairs included; kept as ASCII JSON."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        """As JSON."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        """As it was."""
        return None if value is None else json.loads(value)


class Base(DeclarativeBase):
    """Every table of the board."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Team(Base):
    """Who plays: one agent's makers, or one student of a course."""

    __tablename__ = "teams"
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    name: Mapped[str] = mapped_column(String(LONGEST_NAME), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class Token(Base):
    """A bearer token; only its hash is kept."""

    __tablename__ = "tokens"
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"), index=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[str] = mapped_column(String(80))
    label: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)


class Season(Base):
    """A period of the held-out track, with what was promised when it opened."""

    __tablename__ = "seasons"
    name: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    state: Mapped[str] = mapped_column(String(10))
    pool: Mapped[str] = mapped_column(String(10))
    environments: Mapped[list[str]] = mapped_column(JSON)
    tasks: Mapped[list[list[Any]]] = mapped_column(JSON)
    max_steps: Mapped[int] = mapped_column(Integer)
    seed_sha256: Mapped[str] = mapped_column(String(64))
    templates_sha256: Mapped[str | None] = mapped_column(String(64))
    opened_at: Mapped[datetime] = mapped_column(UtcTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcTime)
    revealed: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class PlaySession(Base):
    """One agent on the suite of a season."""

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    season: Mapped[str] = mapped_column(ForeignKey("seasons.name"), index=True)
    number: Mapped[int] = mapped_column(Integer)
    request: Mapped[str] = mapped_column(String(64))
    agent: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    scorecard: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    __table_args__ = (UniqueConstraint("team_id", "season", "number"), UniqueConstraint("team_id", "request"))


class EpisodeRow(Base):
    """One attempt at one task; the only one, unless a fault of ours made it void."""

    __tablename__ = "episodes"
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    position: Mapped[int] = mapped_column(Integer)
    attempt: Mapped[int] = mapped_column(Integer)
    environment: Mapped[str] = mapped_column(String(60))
    state: Mapped[str] = mapped_column(String(10))
    steps: Mapped[int] = mapped_column(Integer)
    request: Mapped[str | None] = mapped_column(String(64))
    active_board_s: Mapped[float | None] = mapped_column(Float)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)
    task_digest: Mapped[str | None] = mapped_column(String(64))
    __table_args__ = (
        UniqueConstraint("session_id", "position", "attempt"),
        UniqueConstraint("session_id", "request"),
        Index("ix_episodes_state", "state"),
        Index("ix_episodes_session_id_state_position", "session_id", "state", "position"),
    )


class StepRow(Base):
    """One acknowledged step."""

    __tablename__ = "steps"
    episode_id: Mapped[str] = mapped_column(ForeignKey("episodes.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    action: Mapped[str] = mapped_column(AnyText)
    result: Mapped[str] = mapped_column(Text)
    invalid: Mapped[bool] = mapped_column(Boolean)
    asked: Mapped[bool] = mapped_column(Boolean)
    evidence: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))


class Upload(Base):
    """A submission on its way in: its bytes lie in a file of the board's folder."""

    __tablename__ = "uploads"
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    request: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(10))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    received_bytes: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(10), index=True)
    progress: Mapped[str] = mapped_column(Text)
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    claim: Mapped[str | None] = mapped_column(String(ID_CHARS))
    lease_board_s: Mapped[float | None] = mapped_column(Float)
    tries: Mapped[int] = mapped_column(Integer)
    __table_args__ = (UniqueConstraint("team_id", "request"),)


class Course(Base):
    """A class with a board of its own."""

    __tablename__ = "courses"
    id: Mapped[str] = mapped_column(String(ID_CHARS), primary_key=True)
    title: Mapped[str] = mapped_column(String(120))
    deadline: Mapped[datetime | None] = mapped_column(UtcTime)
    teacher_id: Mapped[str] = mapped_column(ForeignKey("teams.id"))
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class CourseMember(Base):
    """A student of a course, by the name on the roster."""

    __tablename__ = "course_members"
    course_id: Mapped[str] = mapped_column(ForeignKey("courses.id"), primary_key=True)
    team_id: Mapped[str] = mapped_column(ForeignKey("teams.id"), primary_key=True)
    student: Mapped[str] = mapped_column(String(120))


class BoardClock(Base):
    """One row: the board's own clock."""

    __tablename__ = "board_clock"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    board_s: Mapped[float] = mapped_column(Float)
