"""What everybody gets of a closed season: a folder with the secret, every session, and what was promised.

::

    season.json             plan, promised digests, seed, templates; each session with its agent and its numbers
    <session>.jsonl.gz      an episode and its key a line, in the order of the suite; no verdict

``python -m leaderboard verify-season FOLDER`` derives every number from it again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from agentsafe_envs.core.task import Split
from agentsafe_envs.runs.files import write_whole
from agentsafe_envs.runs.rows import read_rows
from agentsafe_envs.submissions.schema import FormatNumber
from leaderboard.server.seasons import SeasonPlan, SeasonSecret, templates_digest
from leaderboard.server.shown import ShownSession
from leaderboard.server.store.tables import ID_PATTERN, LONGEST_NAME

SEASON_FILE = "season.json"

_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]
_TemplateFile = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,60}\.toml$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RevealedSession(_Part):
    """A session with the numbers that the board shows."""

    id: _Id
    team: str = Field(max_length=LONGEST_NAME, description="Who played it: two teams may call their agents the same.")
    number: int = Field(ge=1, strict=True, description="Which one of its team it was; decides the tasks.")
    agent: dict[str, Any]
    created_at: datetime
    episodes_sha256: _Sha256
    scorecard: dict[str, Any]

    @property
    def file(self) -> str:
        """Name of the file of its episodes."""
        return f"{self.id}.jsonl.gz"


class RevealedSeason(_Part):
    """Content of ``season.json``."""

    format: FormatNumber
    name: _Id
    pool: Literal["public", "private"]
    environments: list[str] = Field(max_length=200)
    tasks: list[tuple[Split, Annotated[int, Field(ge=1, le=10_000, strict=True)]]]
    max_steps: int = Field(ge=1, strict=True)
    seed_sha256: _Sha256 = Field(description="Promised when the season opened.")
    templates_sha256: _Sha256 | None = Field(description="Promised then too; null in a season for practice.")
    opened_at: datetime
    closed_at: datetime
    seed: _Sha256 = Field(description="64 hex digits.")
    templates: dict[_TemplateFile, str]
    sessions: list[RevealedSession]

    @property
    def plan(self) -> SeasonPlan:
        """What it played."""
        return SeasonPlan(self.name, self.pool, tuple(self.environments), tuple(self.tasks), self.max_steps)

    def secret(self, templates: Path) -> SeasonSecret:
        """Its secret.

        Args:
            templates: Folder that holds the templates.
        """
        return SeasonSecret(self.name, bytes.fromhex(self.seed), templates)

    def broken_promise(self) -> str | None:
        """How seed or templates differ from what was promised; None where they do not."""
        seed = bytes.fromhex(self.seed)
        found = hashlib.sha256(seed).hexdigest()
        if found != self.seed_sha256:
            return f"the SHA-256 of the seed is {found}; promised was {self.seed_sha256}"
        if self.pool == "private" and templates_digest(seed, self.templates) != self.templates_sha256:
            found = templates_digest(seed, self.templates)
            return f"the digest of the templates is {found}; promised was {self.templates_sha256}"
        return None


def season_folder(folder: Path, season: str) -> Path:
    """Where everything of a closed season lies, in the folder of the board."""
    return folder / "seasons" / season


def write_season(folder: Path, season: Any, sessions: Sequence[ShownSession]) -> list[Path]:
    """Write what everybody gets of a season that has closed.

    Args:
        folder: Of the board.
        season: Its row.
        sessions: Those that the board shows.

    Returns:
        The files.
    """
    place = season_folder(folder, season.name)
    place.mkdir(parents=True, exist_ok=True)
    written = []
    listed = []
    for session in sessions:
        path = place / f"{session.id}.jsonl.gz"
        if not path.exists():  # it never changes
            write_whole(path, _episodes(place / session.id))
        data = path.read_bytes()
        shown = RevealedSession(
            id=session.id,
            team=session.team,
            number=session.number,
            agent=session.agent,
            created_at=session.created_at,
            episodes_sha256=hashlib.sha256(data).hexdigest(),
            scorecard=session.scorecard,
        )
        written.append(path)
        listed.append(shown)
    fields = {name: getattr(season, name) for name in RevealedSeason.model_fields if hasattr(season, name)}
    document = RevealedSeason(**fields, **season.revealed, format=1, sessions=listed)
    written.append(place / SEASON_FILE)
    write_whole(written[-1], document.model_dump_json(indent=1) + "\n")
    return written


def _episodes(run: Path) -> bytes:
    """The episodes of a run directory without their verdicts, compressed."""
    kept = [{name: row[name] for name in ("key", "episode", "system") if name in row} for row in read_rows(run)]
    lines = [json.dumps(each, separators=(",", ":"), allow_nan=False).encode() + b"\n" for each in kept]
    return gzip.compress(b"".join(lines), mtime=0)
