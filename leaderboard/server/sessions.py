"""What the database knows of sessions and episodes, and the transactions that change it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, bindparam, case, func, insert, select, update

from agentsafe_envs.registration import TABLE
from leaderboard.server.auth import Caller, new_id
from leaderboard.server.clock import Clock
from leaderboard.server.problems import ProblemError, later, not_found
from leaderboard.server.seasons import SeasonPlan, SeasonSecret, session_tasks
from leaderboard.server.settings import Limits
from leaderboard.server.store.tables import (
    OPEN,
    PENDING,
    RUNNING,
    SUBMITTED,
    TRUNCATED,
    UNPLAYED,
    VOID,
    EpisodeRow,
    PlaySession,
    Season,
    StepRow,
)

BASH_IDS = tuple(row.id for row in TABLE if row.world == "bash")

# Built once, since building a query takes longer than SQLite takes to answer it.

_SEASON_STATE = (
    select(Season.state)
    .join(PlaySession, PlaySession.season == Season.name)
    .where(PlaySession.id == bindparam("session"), PlaySession.team_id == bindparam("team"))
)
_CLAIMED_BEFORE = select(EpisodeRow.id, EpisodeRow.environment).where(
    EpisodeRow.session_id == bindparam("session"), EpisodeRow.request == bindparam("wish")
)
_RUNNING_OF_TEAM = (
    select(func.count())
    .select_from(EpisodeRow)
    .join(PlaySession, PlaySession.id == EpisodeRow.session_id)
    .where(PlaySession.team_id == bindparam("team"), EpisodeRow.state == RUNNING)
)
_NEXT = (
    select(EpisodeRow.id, EpisodeRow.environment)
    .where(EpisodeRow.session_id == bindparam("session"), EpisodeRow.state == PENDING)
    .order_by(EpisodeRow.position, EpisodeRow.attempt)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_NEXT_IN_THE_CLOUD = _NEXT.where(EpisodeRow.environment.not_in(BASH_IDS))
_BEGIN = (
    update(EpisodeRow)
    .where(EpisodeRow.id == bindparam("episode"))
    .values(state=RUNNING, request=bindparam("wish"), active_board_s=bindparam("at"), started_at=bindparam("now"))
)
_EPISODE = (
    select(*EpisodeRow.__table__.columns, PlaySession.team_id, PlaySession.number, PlaySession.season)
    .join(PlaySession, PlaySession.id == EpisodeRow.session_id)
    .where(EpisodeRow.id == bindparam("episode"))
)
_STEPS = select(StepRow).where(StepRow.episode_id == bindparam("episode")).order_by(StepRow.number)


def open_season_row(connection: Connection) -> Any | None:
    """The season that is open, locked against being closed until the transaction ends; None if none is."""
    return connection.execute(select(Season).where(Season.state == OPEN).with_for_update(read=True)).first()


def find_session(connection: Connection, caller: Caller, request: str, agent: dict[str, Any]) -> str | None:
    """Id of the session that a request opened before; None if it opened none.

    Raises:
        ProblemError: It opened one for another agent.
    """
    before = connection.execute(
        select(PlaySession.id, PlaySession.agent).where(
            PlaySession.team_id == caller.team_id, PlaySession.request == request
        )
    ).first()
    if before is not None and before.agent != agent:
        raise ProblemError(409, "request-reused", "this request opened a session for another agent; send a new one")
    return None if before is None else before.id


def create_session(
    connection: Connection,
    caller: Caller,
    season: Any,
    secret: SeasonSecret,
    request: str,
    agent: dict[str, Any],
    clock: Clock,
    limits: Limits,
) -> str:
    """Open a session in ``season``.

    Returns:
        Its id.

    Raises:
        ProblemError: The team has had as many as it may.
    """
    number = connection.execute(
        select(func.count())
        .select_from(PlaySession)
        .where(PlaySession.team_id == caller.team_id, PlaySession.season == season.name)
    ).scalar_one()
    if number >= limits.sessions_per_season:
        detail = f"the team has had {number} sessions in this season, which is as many as it may have"
        raise ProblemError(403, "quota", detail)
    session_id = new_id()
    connection.execute(
        insert(PlaySession).values(
            id=session_id,
            team_id=caller.team_id,
            season=season.name,
            number=number + 1,
            request=request,
            agent=agent,
            created_at=clock.now(),
        )
    )
    tasks = session_tasks(SeasonPlan.of(season), secret, session_id, number + 1)
    connection.execute(
        insert(EpisodeRow),
        [_pending(session_id, position, 0, tasks.environment(position)) for position in range(len(tasks))],
    )
    return session_id


def view_sessions(connection: Connection, team_id: str, session_id: str | None = None) -> list[dict[str, Any]]:
    """Sessions of a team, newest first, as they are shown.

    Raises:
        ProblemError: ``session_id`` is none of the team's.
    """
    query = (
        select(PlaySession, Season.state)
        .join(Season, Season.name == PlaySession.season)
        .where(PlaySession.team_id == team_id)
        .order_by(PlaySession.created_at.desc(), PlaySession.id)
    )
    if session_id is not None:
        query = query.where(PlaySession.id == session_id)
    rows = connection.execute(query).all()
    if session_id is not None and not rows:
        raise not_found("session")
    counts: dict[str, dict[str, int]] = {row.id: {} for row in rows}
    counted = (
        select(EpisodeRow.session_id, EpisodeRow.state, func.count())
        .where(EpisodeRow.session_id.in_(counts))
        .group_by(EpisodeRow.session_id, EpisodeRow.state)
    )
    for found, state, number in connection.execute(counted):
        counts[found][state] = number
    return [
        {
            "id": row.id,
            "season": row.season,
            "season_state": row.state,
            "agent": row.agent,
            "created_at": row.created_at,
            "episodes": counts[row.id],
            "complete": not any(counts[row.id].get(state) for state in (PENDING, RUNNING, UNPLAYED)),
            "scorecard": row.scorecard,
        }
        for row in rows
    ]


def view_episodes(connection: Connection, team_id: str, session_id: str) -> list[dict[str, Any]]:
    """Episodes of a session that were begun, in the order in which they were handed out.

    Raises:
        ProblemError: The session is none of the team's.
    """
    view_sessions(connection, team_id, session_id)
    query = (
        select(EpisodeRow.id, EpisodeRow.environment, EpisodeRow.state, EpisodeRow.steps)
        .where(EpisodeRow.session_id == session_id, EpisodeRow.request.is_not(None))
        .order_by(EpisodeRow.started_at, EpisodeRow.id)
    )
    return [dict(row._mapping) for row in connection.execute(query)]


def claim_episode(
    connection: Connection,
    caller: Caller,
    session_id: str,
    request: str,
    board_s: float,
    clock: Clock,
    limits: Limits,
    *,
    bash: bool,
) -> tuple[str, str, bool]:
    """Begin the next episode of a session, or find the one that the same request began.

    Args:
        connection: In a transaction.
        caller: Whose session it is.
        session_id: Of the session.
        request: Names the claim, so that it may be sent again.
        board_s: Time on the board's clock.
        clock: Of the board.
        limits: How many may run.
        bash: Whether there is a place for another sandbox.

    Returns:
        Id, environment, and whether it was begun just now.

    Raises:
        ProblemError: No such session, none is left, too many run, or the season is over.
    """
    mine = {"session": session_id, "team": caller.team_id}
    season = connection.execute(_SEASON_STATE, mine).scalar()
    if season is None:
        raise not_found("session")
    before = connection.execute(_CLAIMED_BEFORE, {"session": session_id, "wish": request}).first()
    if before is not None:
        return before.id, before.environment, False
    if season != OPEN:
        raise ProblemError(409, "season-over", "the season of this session is over")
    running = connection.execute(_RUNNING_OF_TEAM, {"team": caller.team_id}).scalar_one()
    if running >= limits.running_per_team:
        raise later(429, "too-many-episodes", f"{running} episodes of this team run; end one of them first", 2)
    found = connection.execute(_NEXT if bash else _NEXT_IN_THE_CLOUD, {"session": session_id}).first()
    if found is None:
        if connection.execute(_NEXT, {"session": session_id}).first():
            raise later(503, "no-sandbox", "every sandbox is in use; ask again", 2)
        raise ProblemError(409, "none-left", "no episode of this session is left to begin")
    begun = {"episode": found.id, "wish": request, "at": board_s, "now": clock.now()}
    connection.execute(_BEGIN, begun)
    return found.id, found.environment, True


def find_episode(connection: Connection, episode_id: str, team_id: str | None = None) -> Any:
    """An episode with what its session says of it.

    Raises:
        ProblemError: There is none, or it is not the team's.
    """
    row = connection.execute(_EPISODE, {"episode": episode_id}).first()
    if row is None or (team_id is not None and row.team_id != team_id):
        raise not_found("episode")
    return row


def stored_steps(connection: Connection, episode_id: str) -> Sequence[Any]:
    """Every stored step of an episode, in order."""
    return connection.execute(_STEPS, {"episode": episode_id}).all()


def void_episode(connection: Connection, episode_id: str, clock: Clock) -> None:
    """Give up an episode that a fault of ours ended, and put another task of the same template in its place."""
    row = connection.execute(select(EpisodeRow).where(EpisodeRow.id == episode_id).with_for_update()).one()
    if row.state != RUNNING:
        return
    connection.execute(update(EpisodeRow).where(EpisodeRow.id == episode_id).values(state=VOID, ended_at=clock.now()))
    connection.execute(
        insert(EpisodeRow).values(_pending(row.session_id, row.position, row.attempt + 1, row.environment))
    )


def hand_back(connection: Connection, episode_id: str) -> None:
    """Let an episode of which nothing was shown be begun again: no world could be made for it."""
    connection.execute(
        update(EpisodeRow)
        .where(EpisodeRow.id == episode_id, EpisodeRow.state == RUNNING)
        .values(state=PENDING, request=None, active_board_s=None, started_at=None)
    )


def idle_episodes(connection: Connection, before_board_s: float) -> list[tuple[str, str]]:
    """Id and environment of running episodes that have had no step since."""
    query = select(EpisodeRow.id, EpisodeRow.environment).where(
        EpisodeRow.state == RUNNING, EpisodeRow.active_board_s < before_board_s
    )
    return [(row.id, row.environment) for row in connection.execute(query)]


def running_among(connection: Connection, episode_ids: Sequence[str]) -> set[str]:
    """Those of ``episode_ids`` that run."""
    query = select(EpisodeRow.id).where(EpisodeRow.id.in_(episode_ids), EpisodeRow.state == RUNNING)
    return set(connection.execute(query).scalars())


def truncate_idle(connection: Connection, episode_id: str, before_board_s: float, clock: Clock) -> bool:
    """End an episode unless it has had a step in the meantime; whether it was ended."""
    done = connection.execute(
        update(EpisodeRow)
        .where(EpisodeRow.id == episode_id, EpisodeRow.state == RUNNING, EpisodeRow.active_board_s < before_board_s)
        .values(state=TRUNCATED, ended_at=clock.now())
    )
    return done.rowcount == 1


def end_every_episode(connection: Connection, season: str, clock: Clock) -> None:
    """What runs is truncated and what was not begun stays unplayed: a season ends.

    What runs in a sandbox stays unplayed too: only its server could have told what comes after its last step.
    """
    sessions = select(PlaySession.id).where(PlaySession.season == season)
    in_the_cloud = and_(EpisodeRow.state == RUNNING, EpisodeRow.environment.not_in(BASH_IDS))
    connection.execute(
        update(EpisodeRow)
        .where(EpisodeRow.session_id.in_(sessions), EpisodeRow.state.in_([PENDING, RUNNING]))
        .values(state=case((in_the_cloud, TRUNCATED), else_=UNPLAYED), ended_at=clock.now())
    )


def is_over(state: str) -> bool:
    """Whether an episode in ``state`` came to an end that counts."""
    return state in (SUBMITTED, TRUNCATED)


def _pending(session_id: str, position: int, attempt: int, environment: str) -> dict[str, Any]:
    return {
        "id": new_id(),
        "session_id": session_id,
        "position": position,
        "attempt": attempt,
        "environment": environment,
        "state": PENDING,
        "steps": 0,
    }
