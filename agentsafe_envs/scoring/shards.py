"""Putting the parts of a run together that were played apart.

Try it::

    agentsafe score scripted:biased --shard 1/2 --out run
    agentsafe score scripted:biased --shard 2/2 --out run
    agentsafe merge run
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.runs.cache import JudgementCache
from agentsafe_envs.runs.rows import (
    FAILURES_FILE,
    ROWS_FILE,
    RUN_FILE,
    Row,
    RowStore,
    RowStoreError,
    read_rows,
    read_run,
    row_key,
    set_aside,
    setting_differences,
)
from agentsafe_envs.scoring.rollout import SCORECARD_FILE, write_scorecard
from agentsafe_envs.scoring.scorecard import Scorecard
from agentsafe_envs.scoring.suites import Suite

_MERGED_FILES = (ROWS_FILE, SCORECARD_FILE, FAILURES_FILE, RUN_FILE)
"""What a merge leaves beside the shards; the record goes last, for rows without one would be nobody's."""


def merge_shards(run: Path, on_set_aside: Callable[[Path], None] = lambda place: None) -> Scorecard:
    """Gather the rows that shards left in a run directory, and score them together.

    The rows come in the order of an undivided run. What no shard has played stays unscored; the command
    that played the shards plays it when it is run without ``--shard``. Rows of an earlier merge that the shards
    contradict are set aside, since a shard was played anew.

    Args:
        run: Directory with the shards.
        on_set_aside: Called with the new place of an earlier merge.

    Raises:
        RowStoreError: There are no shards, or they are of different runs.
    """
    shards = _shards(run)
    if not shards:
        raise RowStoreError(f"no shards in {run}; `agentsafe score AGENT --shard 1/4 --out {run}` makes the first of 4")
    record = read_run(shards[0])
    agent = record.agent
    for shard in shards[1:]:
        other = read_run(shard)
        suites = other.suite != record.suite or other.plan != record.plan
        agents = not other.agent.same_conduct(record.agent)
        if suites or agents:
            lines = setting_differences(record, other, suite=suites, agent=agents)
            raise RowStoreError(
                f"{shards[0]} and {shard} are of different runs; remove those that do not belong here:\n"
                + "\n".join(
                    f"  {line.replace(' there', ' in the first').replace(' asked', ' in the second')}" for line in lines
                )
            )
        agent = agent.noting(other.agent)
    suite = Suite.from_record(record)
    rows = {row_key(row): row for shard in shards for row in read_rows(shard)}
    if _contradicted(run, rows) and (place := set_aside(run, _MERGED_FILES)):
        on_set_aside(place)
    with RowStore(run, record.suite, agent, record.plan) as store:
        store.append_group([rows[key] for key in store.missing(suite.keys()) if key in rows])
        agent = store.record.agent.noting(agent)
    cache = JudgementCache(run)
    for shard in shards:
        cache.keep_all(JudgementCache(shard))
    return write_scorecard(run, suite, agent)


def _contradicted(run: Path, rows: Mapping[EpisodeKey, Row]) -> bool:
    """Whether an episode was stored there that a shard has played otherwise."""
    stored = read_rows(run) if (run / RUN_FILE).is_file() else []
    return any(rows.get(row_key(row), row) != row for row in stored)


def missing_shards(run: Path) -> list[str]:
    """Parts of a run that are not there, as ``"2/4"``; the number of parts is that of the ones that are."""
    there = {tuple(map(int, re.findall(r"\d+", each.name))) for each in _shards(run)}
    return [f"{i}/{n}" for n in sorted({n for _, n in there}) for i in range(1, n + 1) if (i, n) not in there]


def _shards(run: Path) -> list[Path]:
    return sorted(each for each in run.glob("shard-*-of-*") if re.fullmatch(r"shard-\d+-of-\d+", each.name))
