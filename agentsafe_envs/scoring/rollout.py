"""Playing episodes: groups of an agent's choice, in lockstep, judged when they are over."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict
from itertools import groupby
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import gymnasium as gym

from agentsafe_envs.agents import Agent, AgentError, AgentOptions, Conversation, load_agent
from agentsafe_envs.agents.scripted import ScriptedAgent
from agentsafe_envs.core.episode import Episode, EpisodeError, EpisodeKey, Step, digest
from agentsafe_envs.core.judge import Verdict
from agentsafe_envs.registration import judge
from agentsafe_envs.runs.rows import AgentRecord, Row, RowStore, RowStoreError, read_rows, read_run, row_key
from agentsafe_envs.scoring.scorecard import Scorecard, build_scorecard
from agentsafe_envs.scoring.suites import Shard, Suite

SCORECARD_FILE = "scorecard.json"

EpisodeGroup = tuple[EpisodeKey, ...]


class PlayedSuite(NamedTuple):
    """What became of a suite.

    Attributes:
        agent: As the run directory names it.
        unscored: Episodes that have no row.
    """

    agent: AgentRecord
    unscored: int


Played = list[Row] | BaseException


def groups(suite: Suite, group_size: int) -> list[EpisodeGroup]:
    """The suite's episodes in fixed groups; a group never spans two environments or splits."""
    found: list[EpisodeGroup] = []
    for _, same in groupby(suite.keys(), key=lambda key: (key.environment, key.split)):
        keys = list(same)
        found += [tuple(keys[start : start + group_size]) for start in range(0, len(keys), group_size)]
    return found


def play(agent: Agent, group: EpisodeGroup, *, pool: str = "public", max_steps: int = 20) -> list[Row]:
    """Play one group side by side and judge every episode.

    An action is executed once and never repeated. Whatever raises here is no fault of the
    agent's conduct, so the caller leaves the whole group unscored.

    Raises:
        AgentError: The agent broke.
    """
    envs = [
        gym.make(key.environment, split=key.split, pool=pool, max_episode_steps=max_steps, disable_env_checker=True)
        for key in group
    ]
    try:
        conversations = []
        for env, key in zip(envs, group, strict=True):
            observation, info = env.reset(seed=key.seed)
            conversations.append(Conversation(observation["instruction"], info["tools"]))
        if isinstance(agent, ScriptedAgent):
            agent.look_up(*group)
        agent.start(group_seed(group))
        running = list(range(len(group)))
        while running:
            actions = agent.act([conversations[index] for index in running])
            if len(actions) != len(running):
                raise AgentError(f"{agent.name} returned {len(actions)} actions for {len(running)} conversations")
            over = []
            for index, action in zip(running, actions, strict=True):
                observation, _, terminated, truncated, _ = envs[index].step(action)
                conversations[index].steps.append(Step(action, observation["result"]))
                if terminated or truncated:
                    over.append(index)
            running = [index for index in running if index not in over]
        for env in envs:
            env.close()  # what comes of that belongs to an episode that was cut off
        return [
            episode_row(env, key) | ({"usage": conversation.usage.entry()} if conversation.usage.requests else {})
            for env, key, conversation in zip(envs, group, conversations, strict=True)
        ]
    finally:
        for env in envs:
            env.close()


def group_seed(group: EpisodeGroup) -> int:
    """What a group's agent may draw from: the same for the same episodes, and telling nothing of them."""
    return int(digest(group)[:15], 16)


def play_suite(
    spec: str,
    suite: Suite,
    out: Path,
    *,
    options: AgentOptions | None = None,
    workers: int = 1,
    shard: Shard | None = None,
    on_progress: Callable[[int, int], None] = lambda done, planned: None,
    on_failure: Callable[[EpisodeGroup, BaseException], None] = lambda group, error: None,
) -> PlayedSuite:
    """Play what ``out`` still lacks of ``suite``, or of one part of it.

    Rows are appended group by group, so an interrupted run goes on where it stopped. Groups
    that fail are noted beside the rows, stay unscored, and are played again by the next run.

    Args:
        spec: The agent, see :func:`agentsafe_envs.agents.load_agent`.
        suite: What to play.
        out: Run directory; one suite and one agent only.
        options: Settings of agents that sample.
        workers: Processes that play at the same time, ``>= 1``.
        shard: Only this part. Groups stay whole, so an agent plays the same with or without shards.
        on_progress: Called with the number of episodes done and planned.
        on_failure: Called with episodes that failed, and why.

    Raises:
        AgentError: The agent cannot be loaded.
        RowStoreError: ``out`` holds another run or is in use.
        ValueError: ``workers`` is not positive.
    """
    if workers < 1:
        raise ValueError(f"workers is {workers}, expected 1 or more")
    agent = load_agent(spec, options, pool=suite.pool)
    record = AgentRecord(name=agent.name, settings=_settings(agent))
    mine = groups(suite, agent.group_size)
    mine = list(shard.share(mine)) if shard else mine
    planned = [key for group in mine for key in group]
    with RowStore(out, suite.record(), record, suite.plan()) as store:
        missing = set(store.missing(planned))
        todo = [group for group in mine if missing.intersection(group)]
        done = len(planned) - sum(map(len, todo))
        on_progress(done, len(planned))
        played = _play_all(agent, todo, suite) if workers == 1 else _play_in_pool(spec, options, todo, suite, workers)
        for group, result in played:
            if isinstance(result, BaseException):
                store.append_failures(group, result)
                on_failure(group, result)
            else:
                store.append_group(result)
            done += len(group)
            on_progress(done, len(planned))
        return PlayedSuite(record, len(store.missing(planned)))


def score_agent(
    spec: str,
    suite: Suite,
    out: Path,
    *,
    options: AgentOptions | None = None,
    workers: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, planned: None,
    on_failure: Callable[[EpisodeGroup, BaseException], None] = lambda group, error: None,
) -> Scorecard:
    """:func:`play_suite`, whole, and then the scorecard of all that ``out`` holds."""
    played = play_suite(
        spec, suite, out, options=options, workers=workers, on_progress=on_progress, on_failure=on_failure
    )
    return write_scorecard(out, suite, played.agent)


def write_scorecard(run: Path, suite: Suite, agent: AgentRecord) -> Scorecard:
    """:func:`rescore` a run directory and keep the scorecard in it."""
    scorecard = rescore(run, suite, agent)
    (run / SCORECARD_FILE).write_text(scorecard.to_json(), encoding="utf-8")
    return scorecard


def merge_shards(run: Path) -> Scorecard:
    """Gather the rows that shards left in a run directory, and score them together.

    The rows come in the order of an undivided run. What no shard has played stays unscored; the command
    that played the shards plays it when it is run without ``--shard``.

    Raises:
        RowStoreError: There are no shards, or they are of different runs.
    """
    shards = sorted(run.glob("shard-*-of-*"))
    if not shards:
        raise RowStoreError(f"no shards in {run}; `agentsafe score AGENT --shard 1/4 --out {run}` makes the first of 4")
    record = read_run(shards[0])
    for shard in shards:
        if read_run(shard) != record:
            raise RowStoreError(f"{shards[0]} and {shard} are of different runs; remove those that do not belong here")
    suite = Suite.from_record(record)
    rows = {row_key(row): row for shard in shards for row in read_rows(shard)}
    with RowStore(run, record.suite, record.agent, record.plan) as store:
        store.append_group([rows[key] for key in store.missing(suite.keys()) if key in rows])
    return write_scorecard(run, suite, record.agent)


def default_directory(spec: str, suite: Suite, options: AgentOptions) -> Path:
    """Where a run goes that was given no directory: another place for another agent, suite or setting."""
    words = re.sub(r"[^\w.-]+", "-", f"{spec}-{suite.name}")
    return Path("runs", f"{words}-{digest([spec, suite.record().digest, asdict(options)])[:8]}")


def rescore(run: Path, suite: Suite, agent: AgentRecord) -> Scorecard:
    """The scorecard of a run directory, made from its episodes alone: each one is judged anew.

    Raises:
        RowStoreError: An episode was edited, or cannot have happened in this release.
    """
    return build_scorecard(judged_rows(run), suite.record(), agent, planned=suite.keys())


def judged_rows(run: Path, on_judged: Callable[[], None] = lambda: None) -> list[Row]:
    """Rows of a run directory, with the verdicts that this release's detectors give.

    Args:
        run: The directory.
        on_judged: Called after each episode.

    Raises:
        RowStoreError: As :func:`rescore`.
    """
    rows = []
    for row in read_rows(run):
        key = row_key(row)
        try:
            episode = Episode.from_dict(row["episode"])
            if (episode.environment, episode.split, episode.seed) != key[:3]:
                raise EpisodeError(f"it was recorded on {episode.environment} {episode.split} {episode.seed}")
            rows.append({**row, "verdict": verdict_entry(judge(episode))})
        except (EpisodeError, KeyError, ValueError) as error:
            raise RowStoreError(
                f"{run}: the episode of {tuple(key)} cannot be judged: {error}. "
                "It was edited or belongs to another release; play the run again with another --out"
            ) from error
        on_judged()
    return rows


def _settings(agent: Agent) -> dict[str, Any]:
    settings = agent.describe()
    try:
        json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AgentError(f"{agent.name} describes itself with {settings!r}, expected plain JSON: {error}") from error
    return settings


def verdict_entry(verdict: Verdict) -> dict[str, Any]:
    """A verdict in plain JSON types, as rows hold it."""
    return {
        **verdict._asdict(),
        "harms": [harm._asdict() for harm in verdict.harms],
        "unclear": [each._asdict() for each in verdict.unclear],
    }


def episode_row(env: gym.Env[Any, Any], key: EpisodeKey) -> Row:
    """The episode that ``env`` holds, judged, as it is stored."""
    bare: Any = env.unwrapped
    row = {
        "key": key._asdict(),
        "template": bare.task.template,
        "verdict": verdict_entry(judge(bare.episode)),
        "episode": bare.episode.to_dict(),
    }
    system = bare.world.system()
    return row if system is None else {**row, "system": system}


def _try(agent: Agent, group: EpisodeGroup, suite: Suite) -> Played:
    try:
        return play(agent, group, pool=suite.pool, max_steps=suite.max_steps)
    except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it was, it is stored beside the rows
        return error


def _play_all(agent: Agent, todo: Sequence[EpisodeGroup], suite: Suite) -> Iterator[tuple[EpisodeGroup, Played]]:
    for group in todo:
        yield group, _try(agent, group, suite)


_worker_agent: Agent | None = None


def _start_worker(spec: str, options: AgentOptions | None, pool: Any) -> None:
    global _worker_agent
    Thread(target=_leave_with_parent, daemon=True).start()
    _worker_agent = load_agent(spec, options, pool=pool)


def _leave_with_parent() -> None:
    """End this process when its parent is killed; it would wait for work for ever."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _play_in_worker(group: EpisodeGroup, suite: Suite) -> Played:
    assert _worker_agent is not None
    result = _try(_worker_agent, group, suite)
    # An exception may hold what cannot be sent between processes; its text can.
    return RuntimeError(f"{type(result).__name__}: {result}") if isinstance(result, BaseException) else result


def _play_in_pool(
    spec: str, options: AgentOptions | None, todo: Sequence[EpisodeGroup], suite: Suite, workers: int
) -> Iterator[tuple[EpisodeGroup, Played]]:
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(spec, options, suite.pool)
    ) as executor:
        pending: dict[Future[Played], EpisodeGroup] = {
            executor.submit(_play_in_worker, each, suite): each for each in todo
        }
        try:
            while pending:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    group = pending.pop(future)
                    error = future.exception()
                    yield group, RuntimeError(str(error)) if error else future.result()
        finally:
            executor.shutdown(cancel_futures=True)  # after Ctrl-C, else every queued group is still played
