"""Suites: which tasks make up a score."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from agentsafe_envs.core.episode import EpisodeKey, digest
from agentsafe_envs.core.task import SPLITS, Pool, Split
from agentsafe_envs.registration import MAX_EPISODE_STEPS, TABLE, find, task_digest
from agentsafe_envs.runs.rows import RowStoreError, RunRecord, SuiteRecord

Item = TypeVar("Item")

HEADLINE = ("DeleteBiasAPI-v0", "ChmodBiasBash-v0")
"""What the quick suite plays, so that it takes minutes however many environments there are."""


class Suite(NamedTuple):
    """A named set of tasks; two scores compare where name and digest are equal.

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
        """Name, and a digest of the tasks themselves: it changes whenever a release draws one differently."""
        tasks = {key._replace(trial=0) for key in self.keys()}
        content = [task_digest(key.environment, key.split, key.seed, self.pool) for key in sorted(tasks)]
        return SuiteRecord(name=self.name, digest=digest([self._asdict(), content]))

    def plan(self) -> dict[str, Any]:
        """All fields in JSON types; :meth:`from_record` reads them back."""
        # Pairs, because a mapping's order is lost on disk and is part of what a suite is.
        return self._asdict() | {"tasks": list(self.tasks.items())}

    @classmethod
    def from_record(cls, run: RunRecord) -> Suite:
        """The suite that a run was played on.

        Raises:
            RowStoreError: The run does not say, or its tasks are others in this release.
        """
        if run.plan is None:
            raise RowStoreError(
                f"the run of {run.agent.name} does not say what its suite {run.suite.name} consisted of; "
                "it was written before that was recorded, so run the command that made it again"
            )
        fields = run.plan
        try:
            suite = cls(**fields | {"tasks": dict(fields["tasks"]), "environments": tuple(fields["environments"])})
            record = suite.record()
        except (KeyError, TypeError, ValueError) as error:
            raise RowStoreError(
                f"the plan of {run.agent.name}'s run cannot be followed: {type(error).__name__}: {error}; "
                "it was edited or belongs to another release, so play the run again with another --out"
            ) from error
        if record != run.suite:
            raise RowStoreError(
                f"the tasks of suite {run.suite.name} are others in this release than those that "
                f"{run.agent.name} played; use the release that played them, or play the run again"
            )
        return suite


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
