"""Writes the board's pages when there is something new to show. Any worker does it, one at a time.

Nothing is played again for it: every result was kept when it was found. A page of a held-out session is written once
its season has closed, and its numbers were derived again from what was revealed.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Engine, select

from agentsafe_envs.runs.files import write_whole
from agentsafe_envs.runs.rows import RowStoreError
from leaderboard.server.confined import ConfinedError, confined
from leaderboard.server.revealing import season_folder, write_season
from leaderboard.server.settings import Settings
from leaderboard.server.shown import (
    COMMITTED,
    ShownSession,
    ShownUpload,
    TeamSessions,
    drop_outdated,
    is_outdated,
    keep_result,
    kept_result,
    shown_ids,
    shown_sessions,
    shown_uploads,
    team_sessions,
)
from leaderboard.server.store.engine import READING
from leaderboard.server.store.tables import CLOSED, Season
from leaderboard.server.uploads import upload_path, verified_path, verify_again
from leaderboard.site.build import Evidence, write_site
from leaderboard.site.collecting import added_on
from leaderboard.site.results import Result

REST_S = 30.0
"""Between two writings while uploads wait to be verified, and after one that failed."""

LINKS = (("Submit", "upload"), ("Seasons", "seasons"), ("API", "docs"))
"""Where the pages lead next to each other, from the root of the server."""


class _Pages:
    """What is to be written.

    Attributes:
        results: Of agents.
        files: Further ones, by their name on the board.
        evidence: Where the episodes of a result lie, by slug.
    """

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.files: dict[str, Path] = {}
        self.evidence: dict[str, Evidence] = {}


class Publisher:
    """Keeps the pages of a board up to date.

    Args:
        engine: Of the board.
        settings: Of the board.
        ended: Set when it is to stop; a session in hand is given up then.
    """

    def __init__(self, engine: Engine, settings: Settings, ended: threading.Event) -> None:
        self._engine = engine
        self._settings = settings
        self._ended = ended
        self._folder = settings.folder
        self._mark = settings.folder / "site.sha256"
        self._begun = False
        self._rest_until_s = 0.0
        self._retry_at_s = 0.0
        self._refused: set[str] = set()
        self._seasons_left_out: set[str] = set()

    def publish(self, *, hurry: bool = True) -> bool:
        """Do the next piece of work towards pages that show everything.

        Args:
            hurry: Nothing else waits; otherwise pages are written now and then.

        Returns:
            Whether something was done.
        """
        with self._engine.connect().execution_options(**READING) as connection:
            digest = hashlib.sha256(" ".join(shown_ids(connection)).encode()).hexdigest()
        if self._begun and self._is_written(digest):
            return False
        if time.monotonic() < (self._retry_at_s if hurry else self._rest_until_s):
            return False
        with _alone(self._folder / "site.lock") as alone:
            if not alone:
                return False
            try:
                return self._go_on(digest)
            except (OSError, ValueError, RowStoreError) as error:
                print(f"the pages could not be written: {type(error).__name__}: {error}", file=sys.stderr)
                self._retry_at_s = self._rest_until_s = time.monotonic() + REST_S
                return False

    def _is_written(self, digest: str) -> bool:
        there = (site_folder(self._folder) / "index.html").exists() and self._mark.exists()
        return there and self._mark.read_text() == digest

    def _go_on(self, digest: str) -> bool:
        with self._engine.connect().execution_options(**READING) as connection:
            seasons = connection.execute(select(Season).where(Season.state == CLOSED)).all()
            sessions, uploads = shown_sessions(connection), shown_uploads(connection)
            teams = team_sessions(connection)
        if outdated := [each for each in uploads if is_outdated(self._folder, each.id)]:
            self._verify_again(outdated)
            return True  # their places on the pages are empty until then
        pages = _Pages()
        for season in seasons:
            mine = [each for each in sessions if each.season == season.name]
            try:
                counts = [each for each in teams if each.season == season.name]
                written = write_season(self._folder, season, mine, counts)
            except (ValidationError, RowStoreError) as error:  # the others' pages do not wait until it is mended
                self._leave_out(season.name, error)
                sessions = [each for each in sessions if each.season != season.name]
                continue
            for path in written:
                pages.files[f"seasons/{season.name}/{path.name}"] = path
        for session in sessions:
            if session.id not in self._refused and kept_result(self._folder, session.id) is None:
                self._derive(session)
                return True  # the next one may wait until uploads had their turn
        self._add_uploads(pages, uploads)
        self._add_sessions(pages, sessions, teams)
        for left in self._folder.glob(".site-*"):  # of a writer that was killed
            shutil.rmtree(left)
        today = datetime.now(UTC).date()
        write_site(
            pages.results,
            site_folder(self._folder),
            made=today,
            links=LINKS,
            files=pages.files,
            evidence=pages.evidence,
        )
        write_whole(self._mark, digest)
        self._begun = True
        self._rest_until_s = time.monotonic() + REST_S
        return True

    def _add_uploads(self, pages: _Pages, uploads: Sequence[ShownUpload]) -> None:
        days = added_on(COMMITTED)
        for upload in uploads:
            result = kept_result(self._folder, upload.id)
            if result is None:
                continue  # its episodes could not be judged on this machine
            day = days.get(result.slug) if upload.committed else None
            pages.results.append(_dated(result, day, upload.created_at))
            if not upload.committed:
                name = f"{result.slug}.{upload.kind}"
                pages.files[f"submissions/{name}"] = upload_path(self._folder, upload.id, upload.kind)
                pages.evidence[result.slug] = Evidence(f"submissions/{name}", f"agentsafe verify {name}")

    def _verify_again(self, uploads: Sequence[ShownUpload]) -> None:
        # First the copies that later ones are held against, or each would be refused as a copy of itself.
        for upload in uploads:
            verified_path(self._folder, upload.id, upload.kind).unlink(missing_ok=True)
        with self._engine.begin() as connection:
            for upload in uploads:
                verify_again(connection, upload.id)
        for upload in uploads:
            drop_outdated(self._folder, upload.id)

    def _add_sessions(self, pages: _Pages, sessions: Sequence[ShownSession], teams: Sequence[TeamSessions]) -> None:
        counts = {(each.season, each.team): each for each in teams}
        for session in sessions:
            result = kept_result(self._folder, session.id)
            if result is None:
                continue
            pages.results.append(_dated(result, None, session.created_at))
            command = f"python -m leaderboard verify-season $BOARD/seasons/{session.season}"
            note = _counted(counts[session.season, session.team])
            pages.evidence[result.slug] = Evidence(f"seasons/{session.season}/season.json", command, note)

    def _leave_out(self, season: str, error: Exception) -> None:
        """Say once that a season is not shown, and why."""
        if season not in self._seasons_left_out:
            self._seasons_left_out.add(season)
            print(f"season {season} is not shown: {type(error).__name__}: {error}", file=sys.stderr)

    def _derive(self, session: ShownSession) -> None:
        """Keep the result of a held-out session, or say why there is none."""
        limits = self._settings.limits
        arguments = [str(season_folder(self._folder, session.season)), session.id]
        told: dict[str, Any] = {}
        try:
            with closing(
                confined("leaderboard.server.deriving", arguments, limits.verify_memory_bytes, limits.verify_s)
            ) as said:
                for each in said:
                    told = each or told
                    if self._ended.is_set():
                        return
        except ConfinedError as error:
            told = {"refused": str(error)}
        if "result" in told:
            keep_result(self._folder, session.id, told["result"])
        else:
            self._refused.add(session.id)
            print(f"session {session.id} is not shown: {told.get('refused')}", file=sys.stderr)


def site_folder(folder: Path) -> Path:
    """Where the pages lie, in the folder of the board."""
    return folder / "site"


def _counted(team: TeamSessions) -> str:
    """For a reader who asks which sessions are not shown."""
    sessions = "1 session" if team.opened == 1 else f"{team.opened} sessions"
    return f"Team {team.team} opened {sessions} in season {team.season}, of which {team.complete} ran to the end."


def _dated(result: Result, day: str | None, created_at: datetime) -> Result:
    return result.model_copy(update={"date": day or created_at.date().isoformat()})


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether this process alone writes now; the system lets go of the lock however the process ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
