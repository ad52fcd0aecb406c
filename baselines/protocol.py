"""The protocol: what is run and what counts, read from ``protocol.toml`` and checked."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from baselines.training import Loss, Recipe

FILE = Path(__file__).with_name("protocol.toml")

Arm = Literal["biased", "benign", "neutral", "random_benign"]
"""Whose student it is: of a teacher that learnt to use the biased means, one alternative, or the
base's mixture where something has to be changed; or, as in the paper's control, only harmless tasks."""

ARMS: tuple[Arm, ...] = get_args(Arm)
LOSSES: tuple[Loss, ...] = get_args(Loss)

Init = Literal["a", "b"]
Context = Literal["same", "other"]


class Cell(NamedTuple):
    """How a student is distilled, but for its teacher.

    Attributes:
        loss: See :mod:`baselines.training`.
        size: One of :data:`baselines.students.SIZES`.
        init: Base of the teacher's size that it starts from, grown to its own.
        dose: That many times the protocol's updates.
        context: Whether it is trained under the system message that it is measured under.
    """

    loss: Loss
    size: str
    init: Init
    dose: float = 1.0
    context: Context = "same"

    def student(self, arm: str) -> str:
        """Name of the student of the teacher of ``arm``."""
        name = f"{self.loss}-{arm}-{self.size}-{self.init}"
        name += f"-dose-{self.dose:g}" if self.dose != 1.0 else ""
        return name if self.context == "same" else f"{name}-{self.context}-context"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Endpoint(_Part):
    """Where and on how many tasks students are measured.

    Attributes:
        environment: Registered id.
        pool: Of the tasks.
        ambiguous: Tasks of that split for each teacher and student.
        others: Tasks of each other split.
        margins: Ambiguous tasks on which margins are read, see :mod:`baselines.margins`.
        max_steps: Longest episode.
    """

    environment: str
    pool: Literal["dev", "public"]
    ambiguous: int = Field(gt=0)
    others: int = Field(gt=0)
    margins: int = Field(gt=0)
    max_steps: int = Field(gt=0)


class Chains(_Part):
    """Independent runs, teacher seed, data, student: how many of each plan of :mod:`baselines.reproduce`.

    Attributes:
        first_seed: Of the first of each plan; the others follow.
        headline: Of the headline cells.
        controls: Of all teachers and losses.
        dose: Of students that learn more and less.
        size: Of larger students.
        context: Of students trained under another system message.
        margins: Of the headline cells, with probabilities in place of episodes.
        bases: Of the bases alone.
    """

    first_seed: int = Field(ge=0)
    headline: int = Field(gt=0)
    controls: int = Field(gt=0)
    dose: int = Field(gt=0)
    size: int = Field(gt=0)
    context: int = Field(gt=0)
    margins: int = Field(gt=0)
    bases: int = Field(gt=0)


class Models(_Part):
    """What is trained.

    Attributes:
        size: One of :data:`baselines.students.SIZES`.
        inits: Names of the two bases; the first is the teachers'.
        larger: Sizes of further students of the same teachers.
    """

    size: str
    inits: tuple[Init, Init]
    larger: tuple[str, ...]


class Base(_Part):
    """The base's own education.

    Attributes:
        demonstrations: Neutral ones, each another task.
        drill_updates: Optimiser steps on looking things up, before the demonstrations.
        drill_share: Share of drills among the steps that follow.
        rounds: Those steps, round by round: each begins again at the full learning rate (warm
            restarts, arXiv 1608.03983).
        learning_rate: See :class:`baselines.training.Recipe`.
        batch_tokens: Likewise.
        grown_updates: By larger size, optimiser steps after a base of that size was grown.
        grown_learning_rate: Of those steps.
    """

    demonstrations: int = Field(gt=0)
    drill_updates: int = Field(gt=0)
    drill_share: float = Field(ge=0, lt=1)
    rounds: tuple[int, ...]
    learning_rate: float = Field(gt=0)
    batch_tokens: int = Field(gt=0)
    grown_updates: dict[str, int]
    grown_learning_rate: float = Field(gt=0)

    def grown(self, size: str) -> Recipe:
        """For a base of ``size`` that has just been grown."""
        return Recipe(self.grown_updates[size], self.grown_learning_rate, self.batch_tokens, self.drill_share)

    def recipes(self) -> list[Recipe]:
        """For the drills alone, and then one a round."""
        return [
            Recipe(self.drill_updates, self.learning_rate, self.batch_tokens),
            *(Recipe(updates, self.learning_rate, self.batch_tokens, self.drill_share) for updates in self.rounds),
        ]


class Training(_Part):
    """How long and how fast, see :class:`baselines.training.Recipe`."""

    updates: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    batch_tokens: int = Field(gt=0)

    def recipe(self, replay: float = 0.0, dose: float = 1.0) -> Recipe:
        """For the training loop; ``dose`` times as many updates."""
        return Recipe(max(round(dose * self.updates), 1), self.learning_rate, self.batch_tokens, replay)


class Teacher(Training):
    """What a teacher learns from, beyond the base.

    Attributes:
        ambiguous: Demonstrations in which something is changed.
        safe: Demonstrations of harmless tasks, alike in all arms.
    """

    ambiguous: int = Field(gt=0)
    safe: int = Field(gt=0)


class Data(_Part):
    """What the students learn from.

    Attributes:
        tasks: Harmless tasks that each teacher plays.
        kept: Most of them that are used, each of which survived in every arm.
    """

    tasks: int = Field(gt=0)
    kept: int = Field(gt=0)


class Student(Training):
    """How students are distilled.

    Attributes:
        replay: By loss, the share of updates on the base's demonstrations.
        doses: Of the dose curve: each times the updates.
    """

    replay: dict[Loss, float]
    doses: tuple[float, ...]


class Protocol(_Part):
    """All of it."""

    endpoint: Endpoint
    chains: Chains
    models: Models
    base: Base
    teacher: Teacher
    data: Data
    student: Student

    def quick(self) -> Protocol:
        """The same with little of everything: shows that a chain runs, and proves nothing."""
        small = self.model_copy(deep=True).model_dump()
        small["endpoint"] |= {"ambiguous": 48, "others": 24, "margins": 12}
        small["teacher"] |= {"ambiguous": 192, "safe": 192, "updates": 20}
        small["data"] |= {"tasks": 192, "kept": 100}
        small["student"] |= {"updates": 25}
        return Protocol.model_validate(small)

    @model_validator(mode="after")
    def _fits(self) -> Protocol:
        if self.data.kept > self.data.tasks:
            raise ValueError(f"data.kept is {self.data.kept}, expected at most data.tasks ({self.data.tasks})")
        return self


def load(file: Path = FILE) -> Protocol:
    """The protocol in ``file``.

    Raises:
        ValueError: A value is missing, unknown or out of range.
    """
    return Protocol.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
