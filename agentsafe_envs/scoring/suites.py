"""Suites: which tasks make up a score."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from agentsafe_envs.core.episode import EpisodeKey, digest
from agentsafe_envs.core.task import SPLITS, Pool, Split
from agentsafe_envs.registration import MAX_EPISODE_STEPS, TABLE, find, resolve, task_digest
from agentsafe_envs.runs.rows import RowStoreError, RunRecord, SuiteRecord

Item = TypeVar("Item")

_shipped_digest = lru_cache(maxsize=100_000)(task_digest)
"""Of a task whose template ships with the package, and so does not change while it runs."""

HEADLINE = ("DeleteBiasAPI-v0", "ChmodBiasBash-v0")
"""What the quick suite plays, so that it takes minutes however many environments there are."""


class Suite(NamedTuple):
    """A named set of tasks.

    Attributes:
        name: As on the command line.
        tasks: Tasks of each split in each environment; task ``k`` has seed ``first_seed + k``.
        trials: How often each task is played.
        max_steps: Steps after which an episode is cut off.
        environments: Registered ids.
        pool: Pool the tasks come from.
        first_seed: Seed of the first task, ``>= 0``.
    """

    name: str
    tasks: Mapping[Split, int]
    trials: int = 1
    max_steps: int = MAX_EPISODE_STEPS
    environments: tuple[str, ...] = tuple(row.id for row in TABLE)
    pool: Pool = "public"
    first_seed: int = 0

    def keys(self) -> list[EpisodeKey]:
        """Keys of every episode, in the order in which groups are formed."""
        return [
            EpisodeKey(environment, split, self.first_seed + number, trial)
            for environment in self.environments
            for split, tasks in self.tasks.items()
            for trial in range(self.trials)
            for number in range(tasks)
        ]

    def record(self) -> SuiteRecord:
        """Name and digests of the tasks themselves; they change whenever a release draws one differently."""
        found = {each: self._task_digests(each) for each in self.environments}
        played = {name: value for name, value in self._asdict().items() if name not in ("name", "environments")}
        return SuiteRecord(
            name=self.name,
            digest=digest([self._asdict(), [task for each in sorted(found) for task in found[each]]]),
            environments={each: digest([each, played, tasks]) for each, tasks in found.items()},
        )

    def identity(self) -> list[Any]:
        """What was asked for, in JSON types: the same after a suite has got another environment."""
        known = SUITES.get(self.name)
        whole = known is not None and known.environments == self.environments
        return [self._replace(environments=()).plan(), [] if whole else list(self.environments)]

    def plan(self) -> dict[str, Any]:
        """All fields in JSON types; :meth:`from_record` reads them back."""
        # Pairs, because a mapping's order is lost on disk and is part of what a suite is.
        return self._asdict() | {"tasks": list(self.tasks.items())}

    @classmethod
    def planned(cls, run: RunRecord) -> Suite:
        """The suite that a run was played on, whether or not its tasks are the same in this release.

        Raises:
            RowStoreError: The run does not say.
        """
        if run.plan is None:
            known = SUITES.get(run.suite.name)
            if known is not None and known.record().digest == run.suite.digest:
                return known
            raise RowStoreError(
                f"the run of {run.agent.name} does not say what its suite {run.suite.name} consisted of; "
                "it was written before that was recorded, so run the command that made it again"
            )
        try:
            fields = run.plan
            suite = cls(**fields | {"tasks": dict(fields["tasks"]), "environments": tuple(fields["environments"])})
            suite.keys()
        except (KeyError, TypeError, ValueError) as error:
            raise _cannot_be_followed(run, error) from error
        return suite

    @classmethod
    def from_record(cls, run: RunRecord, environments: Iterable[str] | None = None) -> Suite:
        """The suite that a run was played on.

        Args:
            run: What the run says of itself.
            environments: Narrowed to these, which it has; None means all.

        Raises:
            RowStoreError: The run does not say, or its tasks are others in this release.
        """
        suite = cls.planned(run)
        narrowed = suite._replace(environments=tuple(environments or suite.environments))
        by_environment = run.suite.environments
        try:
            record = (narrowed if by_environment else suite).record()
        except (KeyError, TypeError, ValueError) as error:
            raise _cannot_be_followed(run, error) from error
        same = (
            record.environments.items() <= by_environment.items()
            if by_environment
            else record.digest == run.suite.digest
        )
        if not same:
            raise RowStoreError(
                f"the tasks of suite {run.suite.name} are others in this release than those that "
                f"{run.agent.name} played; use the release that played them, or play the run again"
            )
        return narrowed

    def _task_digests(self, environment: str) -> list[str]:
        tasks = [
            (split, self.first_seed + number) for split in sorted(self.tasks) for number in range(self.tasks[split])
        ]
        find = task_digest if self.pool == "private" else _shipped_digest
        return [find(environment, split, seed, self.pool) for split, seed in tasks]


def environment_digests(run: RunRecord) -> Mapping[str, str]:
    """Digest of each environment of a run.

    Those of a run from before they were recorded are made from its plan. They are empty where this
    release does not draw its tasks any more.
    """
    if run.suite.environments:
        return run.suite.environments
    try:
        return Suite.from_record(run).record().environments
    except RowStoreError:
        return {}


class Shard(NamedTuple):
    """One of several equal parts of a run, for machines that share the work.

    Attributes:
        number: Which part, from 1.
        parts: How many there are.
    """

    number: int
    parts: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``"2/4"``.

        Raises:
            ValueError: Not of that form, or not between 1 and the number of parts.
        """
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        shard = cls(int(match[1]), int(match[2])) if match else None
        if shard is None or not 1 <= shard.number <= shard.parts:
            raise ValueError(f"shard is {text!r}, expected I/N with I from 1 to N, for instance 2/4")
        return shard

    @property
    def folder(self) -> str:
        """Its place in the run's directory."""
        return f"shard-{self.number}-of-{self.parts}"

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every ``parts``-th of ``items``, so that parts are alike where neighbours are."""
        return items[self.number - 1 :: self.parts]


HELD_OUT = "held-out-"
"""How names of suites begin that a season of a board plays."""

SUITES: Mapping[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("quick", {"ambiguous": 8, "safe": 2, "required": 2, "forbidden": 2}, max_steps=6, environments=HEADLINE),
        Suite("standard", {"ambiguous": 40, "safe": 20, "required": 20, "forbidden": 20}),
        Suite("full", {"ambiguous": 80, "safe": 20, "required": 20, "forbidden": 20}, trials=3),
    )
}


def choose(
    name: str,
    *,
    environments: Iterable[str] = (),
    split: str | None = None,
    episodes: int | None = None,
    first_seed: int = 0,
    pool: Pool = "public",
) -> Suite:
    """A suite, narrowed to what was asked for.

    Args:
        name: One of :data:`SUITES`.
        environments: Only these; none means all.
        split: Only this one.
        episodes: Tasks of each split, instead of the suite's own numbers; ``>= 1``.
        first_seed: Seed of the first task, ``>= 0``.
        pool: Pool the tasks come from.

    Raises:
        ValueError: An unknown name, environment or split, or a number out of range.
    """
    if name not in SUITES:
        raise ValueError(f"no suite {name!r}, expected one of {', '.join(SUITES)}")
    suite = SUITES[name]
    if split is not None and split not in SPLITS:
        raise ValueError(f"no split {split!r}, expected one of {', '.join(SPLITS)}")
    if episodes is not None and episodes < 1:
        raise ValueError(f"episodes is {episodes}, expected 1 or more")
    if first_seed < 0:
        raise ValueError(f"seed is {first_seed}, expected 0 or more")
    tasks = {own: episodes or number for own, number in suite.tasks.items() if split in (None, own)}
    chosen = tuple(dict.fromkeys(find(each).id for each in environments)) or suite.environments
    return suite._replace(tasks=tasks, environments=chosen, first_seed=first_seed, pool=pool)


def runnable(suite: Suite) -> tuple[Suite, dict[str, str]]:
    """A suite without the environments that cannot run on this machine.

    Returns:
        The suite, which is empty where none can run, and for each environment left out the reason, which says
        how to mend it.
    """
    obstacles = {each: resolve(each)[0].obstacle() for each in suite.environments}
    left_out = {each: reason for each, reason in obstacles.items() if reason}
    return suite._replace(environments=tuple(each for each in obstacles if each not in left_out)), left_out


def _cannot_be_followed(run: RunRecord, error: Exception) -> RowStoreError:
    return RowStoreError(
        f"the plan of {run.agent.name}'s run cannot be followed: {type(error).__name__}: {error}; "
        "it was edited or belongs to another release, so play the run again with another --out"
    )
