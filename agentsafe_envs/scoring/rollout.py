"""Playing suites into run directories, and scoring what is there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from agentsafe_envs.agents import Agent, AgentError, AgentOptions, load_agent
from agentsafe_envs.agents.openai import URL_VARIABLE
from agentsafe_envs.agents.scripted import ScriptedAgent
from agentsafe_envs.core.episode import EpisodeKey, digest
from agentsafe_envs.runs.cache import JudgementCache
from agentsafe_envs.runs.failures import Failure
from agentsafe_envs.runs.files import write_whole
from agentsafe_envs.runs.judging import judge_run
from agentsafe_envs.runs.rows import (
    RUN_FILE,
    AgentRecord,
    RowStore,
    continues,
    read_run,
    set_aside,
)
from agentsafe_envs.runs.settings import CIRCUMSTANCES, depends_on_group
from agentsafe_envs.scoring.cluster import Cluster, play_on_cluster
from agentsafe_envs.scoring.playing import (
    EpisodeGroup,
    Played,
    PlayedEpisode,
    group_seed,
    play,
    play_group,
    played_episode,
    try_group,
)
from agentsafe_envs.scoring.scorecard import Scorecard, build_scorecard
from agentsafe_envs.scoring.suites import Shard, Suite, environment_digests
from agentsafe_envs.scoring.workers import play_in_pool

__all__ = [
    "SCORECARD_FILE",
    "EpisodeGroup",
    "PlayedEpisode",
    "PlayedSuite",
    "agent_record",
    "default_directory",
    "group_seed",
    "groups",
    "play",
    "play_group",
    "play_suite",
    "played_episode",
    "rescore",
    "score_agent",
    "store_group",
    "write_scorecard",
]

SCORECARD_FILE = "scorecard.json"

HOPELESS_START = 20
"""Episodes that fail one after the other, without one that is scored, before a run gives up by itself."""

OPENAI_URL = "https://api.openai.com/v1"
"""Where an agent of :data:`_ASKED` is where nobody says another place."""

_ASKED = "openai:"

_LASTING_OPTIONS = (
    "prompt_style",
    "tool_choice",
    "temperature",
    "max_new_tokens",
    "group_size",
    "seed",
    "base_url",
    "timeout_s",
)
"""Options that always count for the name of a run's directory; later ones only where they are given."""


class PlayedSuite(NamedTuple):
    """What became of a suite.

    Attributes:
        agent: As the run directory names it.
        unscored: Episodes that have no row.
        reused: Episodes that were there before and were not played.
        complete_since: When the last row was written, where there was nothing left to play; else None.
        stopped: Why the run gave up before its end, in a sentence; None where it did not.
    """

    agent: AgentRecord
    unscored: int
    reused: int
    complete_since: datetime | None = None
    stopped: str | None = None


def groups(suite: Suite, group_size: int) -> list[EpisodeGroup]:
    """The suite's episodes in fixed groups; a group never spans two environments or splits."""
    return list(_regrouped([tuple(suite.keys())], group_size))


def play_suite(
    spec: str | Agent,
    suite: Suite,
    out: Path,
    *,
    options: AgentOptions | None = None,
    workers: int = 1,
    cluster: Cluster | None = None,
    shard: Shard | None = None,
    fresh: bool = False,
    max_failures: int | None = None,
    on_progress: Callable[[int, int], None] = lambda done, planned: None,
    on_failure: Callable[[Sequence[EpisodeKey], Failure], None] = lambda keys, failure: None,
    on_set_aside: Callable[[Path], None] = lambda place: None,
) -> PlayedSuite:
    """Play what ``out`` still lacks of ``suite``, or of one part of it.

    Rows are appended group by group, so an interrupted run goes on where it stopped, and so does a run
    whose suite has got another environment since. Episodes that fail are noted beside the rows, stay
    unscored, and are played again by the next run. A failure that says of itself that it is hopeless ends
    the run, and so do :data:`HOPELESS_START` failures at its start.

    Args:
        spec: The agent, see :func:`agentsafe_envs.agents.load_agent`, or one that is made already.
        suite: What to play.
        out: Run directory; one suite and one agent only.
        options: Settings of agents that sample; of an agent that is made already they are known.
        workers: Processes that play at the same time on this machine, ``>= 1``.
        cluster: Play on these machines instead.
        shard: Only this part. Groups stay whole, so an agent plays the same with or without shards.
        fresh: Play everything; a run that is there gets another name beside ``out``.
        max_failures: Failed episodes after which the run gives up, ``>= 1``; None means no such number.
        on_progress: Called with the number of episodes done and planned.
        on_failure: Called with episodes that failed, and why.
        on_set_aside: Called with the new place of the run that was there.

    Raises:
        AgentError: The agent cannot be loaded.
        RowStoreError: ``out`` holds another run or is in use.
        ValueError: ``workers`` or ``max_failures`` is not positive.
    """
    for name, number in (("workers", workers), ("max_failures", max_failures)):
        if number is not None and number < 1:
            raise ValueError(f"{name} is {number}, expected 1 or more")
    agent = load_agent(spec, options, pool=suite.pool) if isinstance(spec, str) else spec
    if isinstance(agent, ScriptedAgent):
        agent.check(suite.environments)
    record = agent_record(agent, options)
    together = depends_on_group(record.settings)
    mine = groups(suite, agent.group_size if together else 1)
    mine = list(shard.share(mine)) if shard else mine
    planned = [key for group in mine for key in group]
    if fresh and (place := set_aside(out)):
        on_set_aside(place)
    with RowStore(out, suite.record(), record, suite.plan(), environment_digests) as store:
        missing = set(store.missing(planned))
        # What is sampled depends on the group, so a group is played whole or not at all.
        todo = [group for group in mine if missing.intersection(group)]
        todo = todo if together else list(_regrouped(todo, agent.group_size))
        done = reused = len(planned) - sum(map(len, todo))
        on_progress(done, len(planned))
        if planned and not todo:
            return PlayedSuite(store.record.agent, 0, reused, complete_since=store.complete_since(planned))
        cache, patience = JudgementCache(out), _Patience(max_failures)
        with closing(_playing(spec, agent, options, todo, suite, workers, cluster)) as played:  # ends workers too
            for group, result in played:
                failures = store_group(store, cache, group, result)
                patience.note_scored(len(group) - sum(len(keys) for keys, _ in failures))
                for keys, failure in failures:
                    on_failure(keys, failure)
                    patience.note_failed(len(keys), failure)
                done += len(group)
                on_progress(done, len(planned))
                if patience.over:
                    break
        return PlayedSuite(store.record.agent, len(store.missing(planned)), reused, stopped=patience.over)


def store_group(
    store: RowStore, cache: JudgementCache, group: EpisodeGroup, result: Played
) -> list[tuple[EpisodeGroup, Failure]]:
    """Store the episodes of a group that were played to their end, with what was found in them.

    Returns:
        Episodes that failed together, and why, which is stored too.
    """
    ends = dict(zip(group, result, strict=True)) if isinstance(result, list) else {}
    episodes = [each for each in ends.values() if isinstance(each, PlayedEpisode)]
    if episodes:
        store.append_group([each.row for each in episodes])
        cache.keep({each.judged.episode.chain()[-1]: each.judged.judgement() for each in episodes})
    failures = [((key,), each) for key, each in ends.items() if isinstance(each, Failure)]
    failures = failures if isinstance(result, list) else [(group, result)]
    for keys, failure in failures:
        store.append_failures(keys, failure)
    return failures


def score_agent(
    spec: str,
    suite: Suite,
    out: Path,
    *,
    options: AgentOptions | None = None,
    workers: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, planned: None,
    on_failure: Callable[[Sequence[EpisodeKey], Failure], None] = lambda keys, failure: None,
) -> Scorecard:
    """:func:`play_suite`, whole, and then the scorecard of all that ``out`` holds; it is invalid if that gave up."""
    played = play_suite(
        spec, suite, out, options=options, workers=workers, on_progress=on_progress, on_failure=on_failure
    )
    return write_scorecard(out, suite, played.agent)


def write_scorecard(run: Path, suite: Suite, agent: AgentRecord) -> Scorecard:
    """:func:`rescore` a run directory and keep the scorecard in it."""
    scorecard = rescore(run, suite, agent)
    write_whole(run / SCORECARD_FILE, scorecard.to_json())
    return scorecard


def default_directory(spec: str, suite: Suite, options: AgentOptions) -> Path:
    """Where a run goes that was given no directory: another place for another agent, suite or setting.

    A suite that gets another environment keeps its place, and so does an agent that is given more time. Tasks
    that a release changes get a new one, and so does another address, given or from the environment: under one
    name servers may hold different models. :func:`run_at_another_address` finds a run that moved.
    """
    words = re.sub(r"[^\w.-]+", "-", f"{spec}-{suite.name}")
    record = suite.record()
    given = asdict(options) | {"timeout_s": None}
    if spec.startswith(_ASKED):
        given |= {"group_size": None, "max_tokens_field": None, "base_url": _address(options)}
    chosen = {name: value for name, value in given.items() if name in _LASTING_OPTIONS or value is not None}

    def place(identity: Any) -> Path:
        return Path("runs", f"{words}-{digest([spec, identity, chosen])[:8]}")

    lasting, exact = place(suite.identity()), place(record.digest)
    if exact.exists():
        return exact
    if not (lasting / RUN_FILE).exists():
        return lasting
    there = read_run(lasting)
    return lasting if continues(record, there.suite, environment_digests(there)) else exact


def run_at_another_address(spec: str, directory: Path, options: AgentOptions) -> tuple[Path, str] | None:
    """A run beside ``directory``, which has none, of the same service under another address; and that address."""
    if not spec.startswith(_ASKED) or (directory / RUN_FILE).exists():
        return None
    for other in sorted(directory.parent.glob(f"{directory.name.rpartition('-')[0]}-????????/{RUN_FILE}")):
        address = str(read_run(other.parent).agent.settings.get("base_url", "")).rstrip("/")
        if address and address != _address(options):
            return other.parent, address
    return None


def _address(options: AgentOptions) -> str:
    return (options.base_url or os.environ.get(URL_VARIABLE) or OPENAI_URL).rstrip("/")


def agent_record(agent: Agent, options: AgentOptions | None = None) -> AgentRecord:
    """What a run keeps of ``agent``, with the circumstances that it was given and does not tell.

    Raises:
        AgentError: The agent describes itself in other than plain JSON types.
    """
    return AgentRecord(name=agent.name, settings=_settings(agent, options))


def rescore(run: Path, suite: Suite, agent: AgentRecord) -> Scorecard:
    """The scorecard of a run directory, made from its episodes alone, by the verdicts of this release.

    Raises:
        RowStoreError: An episode was edited, or cannot have happened in this release.
    """
    return build_scorecard(judge_run(run).rows.values(), suite.record(), agent, planned=suite.keys())


def _settings(agent: Agent, options: AgentOptions | None) -> dict[str, Any]:
    settings = agent.describe()
    try:
        json.dumps(settings, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise AgentError(f"{agent.name} describes itself with {settings!r}, expected plain JSON: {error}") from error
    given = options.given() if options else {}
    return {name: value for name, value in given.items() if name in CIRCUMSTANCES} | settings


def _regrouped(todo: Sequence[EpisodeGroup], size: int) -> Iterator[EpisodeGroup]:
    """The episodes of ``todo`` in groups of ``size``; no group spans two environments or splits."""
    keys = [key for group in todo for key in group]
    for _, same in groupby(keys, key=lambda key: (key.environment, key.split)):
        found = list(same)
        yield from (tuple(found[start : start + size]) for start in range(0, len(found), size))


def _playing(
    spec: str | Agent,
    agent: Agent,
    options: AgentOptions | None,
    todo: Sequence[EpisodeGroup],
    suite: Suite,
    workers: int,
    cluster: Cluster | None,
) -> Generator[tuple[EpisodeGroup, Played], None, None]:
    """Groups with what became of them, in the order in which they end; workers make ``agent`` anew from ``spec``."""
    if cluster is not None:
        return play_on_cluster(spec, options, todo, suite, cluster)
    if workers > 1:
        return play_in_pool(spec, options, todo, suite, workers)
    return _play_all(agent, todo, suite)


def _play_all(
    agent: Agent, todo: Sequence[EpisodeGroup], suite: Suite
) -> Generator[tuple[EpisodeGroup, Played], None, None]:
    for group in todo:
        yield group, try_group(agent, group, suite)


class _Patience:
    """How many failures a run bears.

    Attributes:
        over: Why it gives up, in a sentence; None while it goes on.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._scored = self._failed = 0
        self.over: str | None = None

    def note_scored(self, episodes: int) -> None:
        self._scored += episodes

    def note_failed(self, episodes: int, failure: Failure) -> None:
        self._failed += episodes
        if failure.hopeless:
            self.over = self.over or f"stopped, since no further try can mend this: {failure.message}"
        elif self._most is not None and self._failed >= self._most:
            self.over = self.over or f"stopped after {self._failed} failed episodes (--max-failures {self._most})"
        elif not self._scored and self._failed >= HOPELESS_START:
            self.over = self.over or f"stopped, since the first {self._failed} episodes failed and none was scored"
