"""Ending a season: nothing more is played, every session is judged, and the secret is revealed.

Each complete session becomes a run directory in ``<board>/seasons/<season>/<session>``, with which everybody who
has the revealed templates can derive its numbers again (``agentsafe replay``, ``agentsafe submit``). Closing may be
stopped at any moment and is gone on with by the same command.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from agentsafe_envs.core.episode import Episode, EpisodeError, EpisodeKey, Step
from agentsafe_envs.registration import reconstruct, resolve, task_digest
from agentsafe_envs.runs.judging import judge_episode, verdict_entry
from agentsafe_envs.runs.rows import AgentRecord, Row, RowStore
from agentsafe_envs.scoring.scorecard import build_scorecard
from leaderboard.server.clock import Clock
from leaderboard.server.seasons import (
    SeasonPlan,
    SeasonSecret,
    SessionTasks,
    read_secret,
    read_templates,
    use_templates,
)
from leaderboard.server.sessions import end_every_episode, is_over, stored_steps
from leaderboard.server.settings import Settings
from leaderboard.server.store.engine import READING
from leaderboard.server.store.tables import (
    CLOSED,
    CLOSING,
    OPEN,
    SUBMITTED,
    VOID,
    EpisodeRow,
    PlaySession,
    Season,
)


def close_season(
    engine: Engine,
    settings: Settings,
    clock: Clock,
    name: str,
    *,
    on_session: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Close a season.

    Args:
        engine: Of the board.
        settings: Where secrets and exported sessions lie.
        clock: Of the board.
        name: Of the season.
        on_session: Called with the number of sessions judged and of all that are complete.

    Returns:
        Number of sessions that have a scorecard.

    Raises:
        ValueError: No such season, or it has closed.
        FileNotFoundError: Its secret is not there.
        EpisodeError: A stored episode cannot have happened in this release.
    """
    with engine.begin() as connection:
        season = connection.execute(select(Season).where(Season.name == name).with_for_update()).first()
        if season is None or season.state == CLOSED:
            raise ValueError(f"season {name} is {'closed' if season else 'not there'}; `admin seasons` lists them")
        secret = read_secret(settings.secrets, name)
        if season.state == OPEN:
            connection.execute(update(Season).where(Season.name == name).values(state=CLOSING))
            end_every_episode(connection, name, clock)
    plan = SeasonPlan.of(season)
    use_templates(secret, plan.pool)
    with engine.connect().execution_options(**READING) as connection:
        sessions = [each for each in _sessions(connection, name) if _is_complete(connection, each.id)]
    for number, session in enumerate(sessions, start=1):
        if session.scorecard is None:
            scorecard = judge_session(engine, settings.folder, plan, secret, session)
            with engine.begin() as connection:
                connection.execute(update(PlaySession).where(PlaySession.id == session.id).values(scorecard=scorecard))
        on_session(number, len(sessions))
    revealed = {"seed": secret.seed.hex(), "templates": read_templates(secret.templates)}
    with engine.begin() as connection:
        connection.execute(
            update(Season).where(Season.name == name).values(state=CLOSED, closed_at=clock.now(), revealed=revealed)
        )
    return len(sessions)


def session_folder(folder: Path, season: str, session_id: str) -> Path:
    """Where the run directory of a session lies."""
    return folder / "seasons" / season / session_id


def session_rows(connection: Connection, tasks: SessionTasks, session_id: str) -> dict[EpisodeKey, Row]:
    """Judged rows of a session's episodes, in the order of its suite; a replacement stands where the void task did."""
    played = connection.execute(
        select(EpisodeRow).where(EpisodeRow.session_id == session_id, EpisodeRow.state != VOID)
    ).all()
    order = {key: place for place, key in enumerate(tasks.suite.keys())}
    found: list[tuple[int, EpisodeKey, Row]] = []
    for row in played:
        key = tasks.key(row.position, row.attempt)
        episode = _episode(connection, key, tasks.suite.pool, row)
        found.append((order[tasks.key(row.position)], key, _row(key, episode)))
    return {key: row for _, key, row in sorted(found, key=lambda each: each[0])}


def judge_session(engine: Engine, folder: Path, plan: SeasonPlan, secret: SeasonSecret, session: Any) -> dict[str, Any]:
    """The scorecard of a played ``session``, from the steps that the board kept."""
    tasks = SessionTasks(plan, secret, session.id, session.number)
    with engine.connect().execution_options(**READING) as connection:
        rows = session_rows(connection, tasks, session.id)
    agent = AgentRecord(
        name=session.agent.get("spec") or session.agent["name"], settings=session.agent.get("settings") or {}
    )
    record = tasks.suite.record()
    place = session_folder(folder, plan.name, session.id)
    with RowStore(place, record, agent, tasks.suite.plan()) as store:
        store.append_group(list(rows.values()))
    return build_scorecard(rows.values(), record, agent, planned=rows).model_dump(mode="json")


def _sessions(connection: Connection, season: str) -> list[Any]:
    query = select(PlaySession).where(PlaySession.season == season).order_by(PlaySession.created_at, PlaySession.id)
    return list(connection.execute(query))


def _is_complete(connection: Connection, session_id: str) -> bool:
    states = connection.execute(
        select(EpisodeRow.state).where(EpisodeRow.session_id == session_id, EpisodeRow.state != VOID)
    ).scalars()
    return all(is_over(state) for state in states)


def _episode(connection: Connection, key: EpisodeKey, pool: str, row: Any) -> Episode:
    steps = tuple(Step(step.action, step.result, step.evidence) for step in stored_steps(connection, row.id))
    episode = Episode(
        environment=key.environment,
        split=key.split,
        pool=pool,
        seed=key.seed,
        toolset="bias",
        task_digest=row.task_digest or task_digest(key.environment, key.split, key.seed, pool),
        steps=steps,
        terminated=row.state == SUBMITTED,
        success=False,
    )
    return _with_success(episode) if episode.terminated else episode


def _with_success(episode: Episode) -> Episode:
    """``episode`` with the success that its steps lead to; the server did not look, so that no time could tell."""
    succeeded = episode._replace(success=True)
    try:
        reconstruct(succeeded)
    except EpisodeError:
        return episode  # the judge refuses it where it cannot have failed either
    return succeeded


def _row(key: EpisodeKey, episode: Episode) -> Row:
    judged = judge_episode(episode)
    system = resolve(key.environment)[0].system()
    row: Row = {
        "key": key._asdict(),
        "template": judged.template,
        "verdict": verdict_entry(judged.verdict),
        "episode": episode.to_dict(),
    }
    return row if system is None else {**row, "system": system}
