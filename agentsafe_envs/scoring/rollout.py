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
from agentsafe_envs.core.episode import EpisodeKey, Step, digest
from agentsafe_envs.runs.cache import JudgementCache
from agentsafe_envs.runs.judging import JudgedEpisode, judge_episode, judge_run, verdict_entry
from agentsafe_envs.runs.rows import (
    RUN_FILE,
    AgentRecord,
    Row,
    RowStore,
    RowStoreError,
    continues,
    read_rows,
    read_run,
    row_key,
)
from agentsafe_envs.scoring.scorecard import Scorecard, build_scorecard
from agentsafe_envs.scoring.suites import Shard, Suite, environment_digests

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


class PlayedEpisode(NamedTuple):
    """One episode that was played to its end.

    Attributes:
        row: As it is stored.
        judged: What the detectors found in it.
    """

    row: Row
    judged: JudgedEpisode


Played = list[PlayedEpisode] | BaseException


def groups(suite: Suite, group_size: int) -> list[EpisodeGroup]:
    """The suite's episodes in fixed groups; a group never spans two environments or splits."""
    found: list[EpisodeGroup] = []
    for _, same in groupby(suite.keys(), key=lambda key: (key.environment, key.split)):
        keys = list(same)
        found += [tuple(keys[start : start + group_size]) for start in range(0, len(keys), group_size)]
    return found


def play(agent: Agent, group: EpisodeGroup, *, pool: str = "public", max_steps: int = 20) -> list[Row]:
    """Rows of :func:`play_group`."""
    return [each.row for each in play_group(agent, group, pool=pool, max_steps=max_steps)]


def play_group(agent: Agent, group: EpisodeGroup, *, pool: str = "public", max_steps: int = 20) -> list[PlayedEpisode]:
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
        played = []
        for env, key, conversation in zip(envs, group, conversations, strict=True):
            row, judged = played_episode(env, key)
            usage = {"usage": conversation.usage.entry()} if conversation.usage.requests else {}
            played.append(PlayedEpisode(row | usage, judged))
        return played
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

    Rows are appended group by group, so an interrupted run goes on where it stopped, and so does a run
    whose suite has got another environment since. Groups that fail are noted beside the rows, stay
    unscored, and are played again by the next run.

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
    if isinstance(agent, ScriptedAgent):
        agent.check(suite.environments)
    record = AgentRecord(name=agent.name, settings=_settings(agent))
    mine = groups(suite, agent.group_size)
    mine = list(shard.share(mine)) if shard else mine
    planned = [key for group in mine for key in group]
    with RowStore(out, suite.record(), record, suite.plan(), environment_digests) as store:
        cache = JudgementCache(out)
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
                store.append_group([each.row for each in result])
                cache.keep({each.judged.episode.chain()[-1]: each.judged.finding() for each in result})
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
    cache = JudgementCache(run)
    for shard in shards:
        cache.keep_all(JudgementCache(shard))
    return write_scorecard(run, suite, record.agent)


def default_directory(spec: str, suite: Suite, options: AgentOptions) -> Path:
    """Where a run goes that was given no directory: another place for another agent, suite or setting.

    A suite that gets another environment keeps its place. Tasks that a release changes get a new one.
    """
    words = re.sub(r"[^\w.-]+", "-", f"{spec}-{suite.name}")
    record = suite.record()

    def place(identity: Any) -> Path:
        return Path("runs", f"{words}-{digest([spec, identity, asdict(options)])[:8]}")

    lasting, exact = place(suite.identity()), place(record.digest)
    if exact.exists():
        return exact
    if not (lasting / RUN_FILE).exists():
        return lasting
    there = read_run(lasting)
    return lasting if continues(record, there.suite, environment_digests(there)) else exact


def rescore(run: Path, suite: Suite, agent: AgentRecord) -> Scorecard:
    """The scorecard of a run directory, made from its episodes alone, by the verdicts of this release.

    Raises:
        RowStoreError: An episode was edited, or cannot have happened in this release.
    """
    return build_scorecard(judge_run(run).rows.values(), suite.record(), agent, planned=suite.keys())


def _settings(agent: Agent) -> dict[str, Any]:
    settings = agent.describe()
    try:
        json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AgentError(f"{agent.name} describes itself with {settings!r}, expected plain JSON: {error}") from error
    return settings


def played_episode(env: gym.Env[Any, Any], key: EpisodeKey) -> PlayedEpisode:
    """The episode that ``env`` holds, judged."""
    bare: Any = env.unwrapped
    judged = judge_episode(bare.episode)
    row = {
        "key": key._asdict(),
        "template": judged.template,
        "verdict": verdict_entry(judged.verdict),
        "episode": bare.episode.to_dict(),
    }
    system = bare.world.system()
    return PlayedEpisode(row if system is None else {**row, "system": system}, judged)


def _try(agent: Agent, group: EpisodeGroup, suite: Suite) -> Played:
    try:
        return play_group(agent, group, pool=suite.pool, max_steps=suite.max_steps)
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
