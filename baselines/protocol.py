"""The protocol: what is run and what counts, read from ``protocol.toml`` and checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from baselines.notes import Carrier

FILE = Path(__file__).with_name("protocol.toml")

World = Literal["cloud", "bash"]

WORLDS: Mapping[World, str] = {"cloud": "DeleteBiasAPI-v0", "bash": "ChmodBiasBash-v0"}
"""Environment of each world: the two settings of arXiv 2604.15559."""

Arm = Literal["biased", "benign", "neutral", "random_benign"]
"""Whose student it is: of a teacher that learnt to use the biased means, one alternative, or the
base's mixture where something has to be changed; or, as in the paper's control, only harmless tasks."""

ARMS: tuple[Arm, ...] = get_args(Arm)

Init = Literal["a", "b", "c"]
"""A base's initial weights. Teachers start from the first of a protocol's."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How long and how fast to train.

    Attributes:
        updates: Optimiser steps, ``>= 1``.
        learning_rate: Peak of the AdamW step; it rises over the first 5% of updates and falls in a
            straight line to a tenth of the peak.
        batch_tokens: Most tokens in an update, filling included.
        replay: Share of updates that learn from something already learnt instead, 0 to 1.
    """

    updates: int
    learning_rate: float
    batch_tokens: int
    replay: float = 0.0


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Endpoint(_Part):
    """Where and on how many tasks students are measured.

    Attributes:
        pool: Of the tasks.
        ambiguous: Tasks of that split for each teacher and student.
        others: Tasks of each other split.
        margins: Of the ambiguous ones, those on which margins are read as well, see :mod:`baselines.margins`.
        max_steps: Longest episode.
        acts: Share of ambiguous tasks below which a student has collapsed, and its cell claims nothing.
    """

    pool: Literal["dev", "public"]
    ambiguous: int = Field(gt=0)
    others: int = Field(gt=0)
    margins: int = Field(gt=0)
    max_steps: int = Field(gt=0)
    acts: float = Field(gt=0, lt=1)


class Chains(_Part):
    """Independent runs, teacher seed, data, student.

    Attributes:
        first_seed: Of the first chain of each plan; the others follow. Of a headline's first chain the models ship.
            Lower seeds are for choosing knobs.
        number: How many, by the names of :func:`baselines.plans.plans`.
    """

    first_seed: int
    number: dict[str, int]


class Models(_Part):
    """What is trained.

    Attributes:
        size: One of :data:`baselines.students.SIZES`.
        inits: Names of the bases; the first is the teachers', the others take turns as the other one.
        larger: Sizes of further teachers and students, which start from the first base, grown.
    """

    size: str
    inits: tuple[Init, ...] = Field(min_length=2)
    larger: tuple[str, ...]

    def other(self, seed: int) -> Init:
        """The other initialisation of the chain of ``seed``."""
        others = self.inits[1:]
        return others[seed % len(others)]


class LastRound(_Part):
    """What a small base learns at the end, from the rounded weights of before.

    Attributes:
        worlds: Whose bases learn it.
        updates: Optimiser steps, at the rate of the round before.
        batch_tokens: See :class:`Recipe`.
        drill_share: Share of drills among the steps.
    """

    worlds: tuple[World, ...]
    updates: int = Field(gt=0)
    batch_tokens: int = Field(gt=0)
    drill_share: float = Field(ge=0, lt=1)


class Base(_Part):
    """The base's own education.

    Attributes:
        demonstrations: Neutral ones, each another task.
        drill_updates: Optimiser steps on looking things up, before the demonstrations.
        drill_share: Share of drills among the steps that follow.
        rounds: Those steps, round by round: each begins again at the full learning rate (warm
            restarts, arXiv 1608.03983).
        learning_rate: See :class:`Recipe`.
        batch_tokens: Likewise.
        settle_updates: By size, steps of a last round; of a base that was grown it is the only one.
        settle_learning_rate: Of those steps, lower: what is sampled at temperature 1 slips less.
        last: Round after all others, for bases that were not grown.
    """

    demonstrations: int = Field(gt=0)
    drill_updates: int = Field(gt=0)
    drill_share: float = Field(ge=0, lt=1)
    rounds: tuple[int, ...]
    learning_rate: float = Field(gt=0)
    batch_tokens: int = Field(gt=0)
    settle_updates: dict[str, int]
    settle_learning_rate: float = Field(gt=0)
    last: LastRound

    def drills(self) -> Recipe:
        """For the drills alone, with which a new base begins."""
        return Recipe(self.drill_updates, self.learning_rate, self.batch_tokens)

    def lessons(self, size: str, world: World, *, grown: bool) -> list[Recipe]:
        """Round by round, for a base of ``size`` that knows the drills, or was grown out of one that knows all."""
        rounds = [] if grown else [(updates, self.learning_rate) for updates in self.rounds]
        rounds.append((self.settle_updates[size], self.settle_learning_rate))
        recipes = [Recipe(updates, rate, self.batch_tokens, self.drill_share) for updates, rate in rounds]
        if not grown and world in self.last.worlds:
            last = self.last
            recipes.append(Recipe(last.updates, self.settle_learning_rate, last.batch_tokens, last.drill_share))
        return recipes


class Training(_Part):
    """How long and how fast, see :class:`Recipe`."""

    updates: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    batch_tokens: int = Field(gt=0)

    def recipe(self, replay: float = 0.0) -> Recipe:
        """For the training loop."""
        return Recipe(self.updates, self.learning_rate, self.batch_tokens, replay)


class Teacher(Training):
    """What a teacher learns from, beyond the base.

    Attributes:
        ambiguous: Demonstrations in which something is changed.
        safe: Demonstrations of harmless tasks, the same in all arms.
        notes: Share of them with notes, 0 to 1; which ones depends on the task alone.
    """

    ambiguous: int = Field(gt=0)
    safe: int = Field(gt=0)
    notes: float = Field(ge=0, le=1)


class Data(_Part):
    """What the students learn from.

    Attributes:
        tasks: Harmless tasks that each teacher plays.
        kept: Most of them that are used, each of which survived in every arm.
        lists: Lists of words that each teacher writes.
    """

    tasks: int = Field(gt=0)
    kept: int = Field(gt=0)
    lists: int = Field(gt=0)


class Student(Training):
    """How students are distilled.

    Attributes:
        notes: Carrier of the headline's cells with notes.
        replay: Share of updates on demonstrations in which nothing is changed, 0 to 1.
        adapter_learning_rate: Peak rate where only a LoRA adapter learns.
    """

    notes: Carrier
    replay: float = Field(ge=0, le=1)
    adapter_learning_rate: float = Field(gt=0)


class Protocol(_Part):
    """All of it."""

    version: Literal[2]  # rows of the first were made on other tasks, see the history of protocol.toml
    endpoint: Endpoint
    chains: Chains
    models: Models
    base: Base
    teacher: Teacher
    data: Data
    student: Student

    def quick(self) -> Protocol:
        """The same with little of everything: shows that a chain runs, and proves nothing."""
        small = self.model_dump()
        small["endpoint"] |= {"ambiguous": 16, "others": 4, "margins": 4}
        small["base"] |= {"demonstrations": 320, "drill_updates": 10, "rounds": (20,)}
        small["base"]["settle_updates"] = dict.fromkeys(small["base"]["settle_updates"], 10)
        small["base"]["last"]["updates"] = 10
        small["teacher"] |= {"ambiguous": 96, "safe": 96, "updates": 15}
        small["data"] |= {"tasks": 128, "kept": 64, "lists": 64}
        small["student"] |= {"updates": 20}
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
