"""Where a board keeps its things, and what it allows."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

DATABASE_VARIABLE = "AGENTSAFE_BOARD_DATABASE"
SECRETS_VARIABLE = "AGENTSAFE_BOARD_SECRETS"

KIB = 1024
MIB = 1024 * KIB


class Limits(BaseModel):
    """What one client, one team and all together may take."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    body_bytes: int = Field(default=256 * KIB, description="Longest body of a request that is no part of an upload.")
    body_s: float = Field(default=30.0, description="Longest time that a body may take to arrive.")
    requests_per_s: float = Field(default=400.0, description="Requests of one token, on average.")
    requests_burst: int = Field(default=1_000, description="Requests of one token at once.")
    refused_tokens_per_s: float = Field(default=2.0, description="Wrong tokens of one address, on average.")
    refused_tokens_burst: int = Field(default=30, description="Wrong tokens of one address at once.")
    sessions_per_season: int = Field(default=3, description="Sessions that a team may open in one season.")
    running_per_team: int = Field(default=64, description="Episodes that a team may have running.")
    sandboxes: int = Field(default=8, description="Bash episodes that run at the same time, of all teams.")
    live_worlds: int = Field(default=4_000, description="Cloud episodes kept in memory; others are rebuilt by replay.")
    idle_s: float = Field(default=1_800.0, description="Time without a step after which an episode ends as truncated.")
    chunk_bytes: int = Field(default=4 * MIB, description="Longest part of an upload.")
    upload_bytes: int = Field(default=32 * MIB, description="Longest upload.")
    team_upload_bytes: int = Field(default=1_024 * MIB, description="Uploads of one team together.")
    free_disk_bytes: int = Field(default=256 * MIB, description="Space that uploads leave free.")
    verify_memory_bytes: int = Field(default=2_048 * MIB, description="Memory of the process that verifies an upload.")
    verify_s: float = Field(default=1_800.0, description="Time that verifying an upload may take.")
    event_streams: int = Field(default=64, description="Open streams of progress, of all teams.")


class Settings(BaseModel):
    """A board: its folder, its database, its secrets."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: Path = Field(description="Database by default, uploads, exported sessions.")
    database: str = Field(description="SQLAlchemy URL.")
    secrets: Path = Field(description="Seeds and private templates of seasons; never part of a backup of the board.")
    limits: Limits = Field(default_factory=Limits)

    @classmethod
    def of(cls, folder: Path, database: str | None = None, secrets: Path | None = None) -> Settings:
        """Settings of the board in ``folder``.

        Args:
            folder: Of the board; made if it is missing.
            database: Else the variable ``AGENTSAFE_BOARD_DATABASE``, else SQLite in the folder.
            secrets: Else the variable ``AGENTSAFE_BOARD_SECRETS``, else ``<folder>-secrets`` next to the folder.
        """
        folder = folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        url = database or os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{folder / 'board.sqlite'}"
        named = os.environ.get(SECRETS_VARIABLE)
        place = secrets or (Path(named) if named else folder.with_name(f"{folder.name}-secrets"))
        return cls(folder=folder, database=with_driver(url), secrets=place.resolve())


def with_driver(url: str) -> str:
    """``url`` with the driver that the extra ``board`` brings, where it names a PostgreSQL and no driver."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return f"postgresql+psycopg://{url.removeprefix(plain)}"
    return url
