"""A board in this process, with a client: what maintainers and teams do, in a line each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leaderboard.server.board import Board
    from leaderboard.server.clock import Clock
    from leaderboard.server.settings import Settings

CLOUD = "DeleteBiasAPI-v0"
SUBMIT = '{"name": "submit", "arguments": {}}'
LOOK = '{"name": "list_resources", "arguments": {"kind": "volume"}}'
ASK = '{"name": "ask_operator", "arguments": {}}'

_numbers = count()


class Host:
    """A board with a client; every method is what a maintainer or a team would do."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        from starlette.testclient import TestClient

        from leaderboard.server.app import create_app

        self.settings = settings
        self.app = create_app(settings, clock)
        self.board: Board = self.app.state.board
        self.http = TestClient(self.app, raise_server_exceptions=False)
        self.http.__enter__()

    def close(self) -> None:
        self.http.__exit__(None, None, None)

    def team(self, name: str, *scopes: str) -> dict[str, str]:
        """A team's header with a token for ``scopes``."""
        from leaderboard.server.admin import add_team, add_token

        with self.board.engine.begin() as connection:
            add_team(connection, self.board.clock, name)
            token = add_token(connection, self.board.clock, name, scopes or ("play", "upload"))
        return {"Authorization": f"Bearer {token}"}

    def season(self, name: str = "s1", **options: Any) -> Any:
        """An open season of the quick suite in the cloud, unless ``options`` say something else."""
        from leaderboard.server.seasons import open_season

        chosen = {"suite": "quick", "environments": [CLOUD]} | options
        with self.board.engine.begin() as connection:
            return open_season(connection, self.board.clock, self.settings.secrets, name, **chosen)

    def close_season(self, name: str = "s1") -> int:
        from leaderboard.server.closing import close_season

        return close_season(self.board.engine, self.settings, self.board.clock, name)

    def session(self, team: dict[str, str], **agent: Any) -> str:
        body = {"request": f"session-{next(_numbers)}", "agent": {"name": "an agent"} | agent}
        answer = self.http.post("/v1/sessions", json=body, headers=team)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def begin(self, team: dict[str, str], session: str, request: str | None = None) -> Any:
        body = {"request": request or f"episode-{next(_numbers)}"}
        return self.http.post(f"/v1/sessions/{session}/episodes", json=body, headers=team)

    def step(self, team: dict[str, str], episode: str, number: int, action: str = LOOK) -> Any:
        body = {"number": number, "action": action}
        return self.http.post(f"/v1/episodes/{episode}/step", json=body, headers=team)

    def play_out(self, team: dict[str, str], session: str, action: str = SUBMIT) -> int:
        """Play every episode of a session with one action; how many there were."""
        for number in range(10_000):
            begun = self.begin(team, session)
            if begun.status_code == 409:
                return number
            for step in range(10_000):
                answer = self.step(team, begun.json()["id"], step, action).json()
                if answer["terminated"] or answer["truncated"]:
                    break
        raise AssertionError("the session never ends")

    def restart(self) -> Host:
        """The board as the next server finds it."""
        self.close()
        return Host(self.settings, self.board.clock)


class SetClock:
    """Clocks that tests move."""

    def __init__(self) -> None:
        self.jump = timedelta()
        self.passed_s = 0.0

    def now(self) -> datetime:
        from leaderboard.server.clock import Clock

        return Clock().now() + self.jump

    def monotonic(self) -> float:
        from leaderboard.server.clock import Clock

        return Clock().monotonic() + self.passed_s


Start = Callable[..., Host]


def tasks_of(host: Host, session: str) -> Any:
    """The tasks of a session, which only who holds the secret can tell."""
    from sqlalchemy import select

    from leaderboard.server.seasons import SeasonPlan, SessionTasks, read_secret
    from leaderboard.server.store.tables import PlaySession, Season

    with host.board.engine.begin() as connection:
        row = connection.execute(select(PlaySession).where(PlaySession.id == session)).one()
        season = connection.execute(select(Season).where(Season.name == row.season)).one()
    return SessionTasks(SeasonPlan.of(season), read_secret(host.settings.secrets, season.name), session, row.number)


def position_of(host: Host, episode: str) -> tuple[int, int]:
    from sqlalchemy import select

    from leaderboard.server.store.tables import EpisodeRow

    with host.board.engine.begin() as connection:
        query = select(EpisodeRow.position, EpisodeRow.attempt).where(EpisodeRow.id == episode)
        position, attempt = connection.execute(query).one()
    return position, attempt
