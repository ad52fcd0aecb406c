"""Results of one suite as a board: who stands where, what each did by environment, and which templates are hard."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agentsafe_envs.registration import TABLE
from agentsafe_envs.scoring.measures import NO_CONCLUSION
from agentsafe_envs.scoring.scorecard import EnvironmentScore
from leaderboard.ranks import Matrix, rank_agents
from leaderboard.site.results import EpisodeLine, Result

KINDS = {
    "model": "models, teachers among them",
    "student": "distilled students",
    "script": "scripts, which know the task",
    "program": "programs and services",
}
"""What agents are told apart by, in the order of colours and shapes."""

Task = tuple[str, str, int]
"""Digest of an environment, split and seed: equal where two agents had the same task."""


class Placed(NamedTuple):
    """An agent on the board.

    Attributes:
        result: Its result.
        low: Best place that it may have; None where it is not ranked.
        high: Worst place.
        separated: Agents from which its rank is separated, by slug.
    """

    result: Result
    low: int | None
    high: int | None
    separated: frozenset[str]

    @property
    def rank(self) -> str:
        """``"3"``, ``"2-5"``, or a dash."""
        if self.low is None:
            return "-"
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"

    @property
    def kind(self) -> str:
        """One of :data:`KINDS`."""
        return kind_of(self.result)


class SuiteBoard(NamedTuple):
    """Everything that was played on one suite.

    Attributes:
        name: Of the suite.
        environments: Registered ids, in the order of the registry.
        rows: Agents, best first; those without a rank last.
    """

    name: str
    environments: list[str]
    rows: list[Placed]

    @property
    def episodes(self) -> int:
        """Scored episodes of all agents."""
        return sum(len(row.result.episodes) for row in self.rows)

    @property
    def tasks(self) -> int:
        """Different tasks that they were asked."""
        return len({task for row in self.rows for task in tasks_of(row.result)})


class HardTemplate(NamedTuple):
    """A template and what came of its episodes.

    Attributes:
        template: Its name.
        episodes: Scored ones, of all agents.
        done: Those whose task was done without harm.
        unsafe: Harmful ones.
        biased: Those in which the biased means came first.
    """

    template: str
    episodes: int
    done: int
    unsafe: int
    biased: int


def boards(results: Sequence[Result]) -> list[SuiteBoard]:
    """A board for each suite that was played, the one with the most agents first."""
    by_suite: dict[str, list[Result]] = defaultdict(list)
    for each in results:
        by_suite[each.submission.suite.name].append(each)
    found = [board(name, mine) for name, mine in by_suite.items()]
    return sorted(found, key=lambda each: (-len(each.rows), each.name))


def board(name: str, results: Sequence[Result]) -> SuiteBoard:
    """Rank the results of one suite by safe success on the tasks that agents share."""
    ranked = sorted((each for each in results if each.ranked), key=lambda each: each.slug)
    rows = []
    if ranked:
        found = rank_agents(*_values(ranked))
        order = sorted(range(len(ranked)), key=lambda at: (-round(found.lead[at], 9), _required(ranked[at]), at))
        for at in order:
            apart = np.flatnonzero(found.better[at] | found.better[:, at])
            slugs = frozenset(ranked[other].slug for other in apart)
            rows.append(Placed(ranked[at], int(found.low[at]), int(found.high[at]), slugs))
    rest = sorted((each for each in results if not each.ranked), key=lambda each: each.slug)
    rows += [Placed(each, None, None, frozenset()) for each in rest]
    played = {environment for each in results for environment in each.submission.suite.environments}
    known = [row.id for row in TABLE if row.id in played]
    return SuiteBoard(name, known + sorted(played - set(known)), rows)


def kind_of(result: Result) -> str:
    """Which of :data:`KINDS` an agent is."""
    if result.submission.distillation is not None:
        return "student"
    return {"scripted": "script", "student": "model", "hf": "model"}.get(result.submission.agent.kind, "program")


def tasks_of(result: Result) -> dict[Task, list[EpisodeLine]]:
    """Episodes of an agent by their task."""
    digests = result.submission.suite.environments
    found: dict[Task, list[EpisodeLine]] = defaultdict(list)
    for line in result.episodes:
        found[digests[line.environment], line.split, line.seed].append(line)
    return found


def cells_of(result: Result) -> dict[tuple[str, str], EnvironmentScore]:
    """Scores of an agent by environment and split."""
    return {(score.id, score.split): score for score in result.scorecard.environments}


def base_of(result: Result, rows: Sequence[Placed]) -> Result | None:
    """What an agent was made from, as its submitter names it, among the agents of the same suite."""
    distillation = result.submission.distillation
    name = distillation.base if distillation else result.submission.agent.base_model
    found = [row.result for row in rows if name in (row.result.name, row.result.slug)]
    return next((each for each in found if each is not result), None)


def short_name(environment: str) -> str:
    """``"delete, cloud"`` for ``DeleteBiasAPI-v0``."""
    found = next((row for row in TABLE if row.id == environment), None)
    return f"{found.bias.replace('_', ' ')}, {found.world}" if found else environment


def first_shares(result: Result, environments: Sequence[str]) -> list[tuple[str, float | None, str]]:
    """Biased first by environment: its id, the rate or None, and the rate in words."""
    cells = cells_of(result)
    found = []
    for environment in environments:
        score = cells.get((environment, "ambiguous"))
        if score is None:
            found.append((environment, None, "not played"))
        elif score.biased_first_rate.estimate is None:
            found.append((environment, None, NO_CONCLUSION))
        else:
            found.append((environment, score.biased_first_rate.estimate, f"{score.biased_first_rate.estimate:.0%}"))
    return found


def hardest(environment: str, rows: Sequence[Placed], limit: int = 10) -> list[HardTemplate]:
    """Templates with the smallest share of episodes that were done without harm; the hardest first."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for line in row.result.episodes:
            if line.environment == environment:
                held = {"done": line.safe_success, "unsafe": line.unsafe, "biased": line.first == "biased"}
                counts[line.template].update(["episodes", *(name for name, holds in held.items() if holds)])
    found = [
        HardTemplate(name, *(count[field] for field in HardTemplate._fields[1:])) for name, count in counts.items()
    ]
    return sorted(found, key=lambda each: (each.done / each.episodes, -each.unsafe, each.template))[:limit]


def _required(result: Result) -> float:
    return -(result.scorecard.overall.required_success_rate.estimate or 0.0)


def _values(results: Sequence[Result]) -> tuple[Matrix, np.ndarray]:
    """Safe success of each agent in each task, averaged over trials, and the template of each task."""
    mine = [tasks_of(each) for each in results]
    clusters = {task: lines[0].cluster for found in mine for task, lines in found.items()}
    tasks = sorted(clusters)
    names = {name: number for number, name in enumerate(sorted(set(clusters.values())))}
    values = np.full((len(results), len(tasks)), np.nan)
    for agent, found in enumerate(mine):
        for place, task in enumerate(tasks):
            if lines := found.get(task):
                values[agent, place] = sum(line.safe_success for line in lines) / len(lines)
    return values, np.array([names[clusters[task]] for task in tasks], dtype=np.intp)
