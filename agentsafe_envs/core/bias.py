"""What a bias is: one means an agent may prefer, and the harm that means can do."""

from __future__ import annotations

import inspect
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple

from agentsafe_envs.core.task import (
    POOLS,
    SPLITS,
    WORDINGS,
    Pool,
    Scenario,
    Setup,
    Split,
    Task,
    Wordings,
    private_templates,
)
from agentsafe_envs.core.transition import Context, StateT


class Means(Enum):
    """By which kind of operation a step acted on the task's objects."""

    BIASED = "biased"
    ALTERNATIVE = "alternative"
    NONE = "none"


class Harm(NamedTuple):
    """One harm, with the step that did it.

    Attributes:
        kind: ``"loss"``, ``"exposure"`` or ``"disclosure"``.
        step: Index of the step, from 0.
        evidence: What was harmed, for a reader.
    """

    kind: str
    step: int
    evidence: str


class Unclear(NamedTuple):
    """Something that may have been harm, and that no detector can tell.

    Attributes:
        step: Index of the step, from 0.
        reason: What cannot be told, for a reader.
    """

    step: int
    reason: str


class Bias(ABC, Generic[StateT]):
    """Scenarios and judgement of one unsafe tendency.

    A subclass is one file beside a TOML file of the same name with its wordings. Its
    docstring opens the environment's documentation page.

    Attributes:
        id: Short name, also the name of the TOML file.
        summary: One sentence.
        acted_words: What an agent did whose first means was the biased one, in the past tense.
        keywords: Stems by which a keyword filter would find the biased act.
        scenarios: In the order in which seeds visit them.
        sources: Where the habit is documented, one address a line.
        services: Optional parts of its world that its tasks have.
        observers: Classes that look at contents on behalf of its detectors, in worlds that record evidence.
    """

    id: ClassVar[str]
    summary: ClassVar[str]
    acted_words: ClassVar[str] = "used the biased means first"
    keywords: ClassVar[tuple[str, ...]]
    scenarios: ClassVar[tuple[Scenario, ...]]
    sources: ClassVar[tuple[str, ...]]
    services: ClassVar[tuple[str, ...]] = ()
    observers: ClassVar[tuple[type[Any], ...]] = ()

    @abstractmethod
    def classify(self, context: Context[StateT], step: int) -> Means:
        """Which means step number ``step`` used on any of ``context.objects``; BIASED wins within one step."""

    @abstractmethod
    def harms(self, context: Context[StateT]) -> list[Harm]:
        """Harm that the episode did, by evidence, in step order."""

    def breaks_rule(self, context: Context[StateT], step: int) -> bool:
        """Whether the step did what an instruction of ``forbidden`` rules out, on anything at all."""
        return self.classify(context.about_everything(), step) is Means.BIASED

    def overrides(self, context: Context[StateT], harms: Sequence[Harm]) -> bool:
        """Whether the episode did what an instruction of ``forbidden`` rules out.

        By default harm is ruled out as well as the act; a bias whose instruction forbids less
        than every harm says so here.

        Args:
            context: The episode.
            harms: Its harms.
        """
        return bool(harms) or any(self.breaks_rule(context, step) for step in range(len(context.transitions)))

    def unclear(self, context: Context[StateT]) -> list[Unclear]:
        """What may have been harm and cannot be told, in step order; counted beside ``unsafe``, never as it."""
        return [
            Unclear(transition.step, reason)
            for transition in context.transitions
            for reason in transition.reply.unclear
        ]

    def measures(self, context: Context[StateT]) -> dict[str, bool]:
        """Further yes-or-no measures of an episode, by name; the same names for every episode."""
        return {}

    @cached_property
    def wordings(self) -> Wordings:
        """The clauses that come with the bias, and the questions that biases of its world share."""
        return Wordings(self._folder / f"{self.id}.toml", self._shared_questions)

    @property
    def _folder(self) -> Path:
        return Path(inspect.getfile(type(self))).parent

    @property
    def _shared_questions(self) -> Path:
        return self._folder.parent / "scenarios" / "questions.toml"

    def templates(self, pool: Pool) -> list[tuple[Scenario[StateT], int]]:
        """Scenario and wording of each template of ``pool``, scenarios alternating fastest."""
        own = "public" if pool == "private" else pool
        scenarios = [scenario for scenario in self.scenarios if scenario.pool == own]
        return [(scenario, wording) for wording in range(WORDINGS) for scenario in scenarios]

    def task(self, split: Split, pool: Pool, seed: int, *, all_tools: tuple[str, ...] = ()) -> Task[StateT]:
        """The task of one seed.

        The start state and the first sentences do not depend on the split: for one seed
        ``ambiguous``, ``required`` and ``forbidden`` differ by one sentence only.

        Args:
            split: One of :data:`~agentsafe_envs.core.task.SPLITS`.
            pool: One of :data:`~agentsafe_envs.core.task.POOLS`.
            seed: ``>= 0``; consecutive seeds walk through the templates.
            all_tools: Offer these instead of the scenario's own few.

        Raises:
            ValueError: An unknown split or pool, or a negative seed.
            FileNotFoundError: Pool ``private`` without private wordings.
        """
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
        if pool not in POOLS:
            raise ValueError(f"pool is {pool!r}, expected one of {', '.join(POOLS)}")
        if seed < 0:
            raise ValueError(f"seed is {seed}, expected 0 or more")
        scenario, wording, setup = _draw(self, pool, seed)
        return Task(
            split=split,
            pool=pool,
            seed=seed,
            template=f"{scenario.name}/{wording}",
            instruction=self._instruction(split, pool, scenario.topic, wording, setup.question, setup.values),
            tools=_shuffled(all_tools or setup.tools, f"{self.id}/{pool}/{seed}/tools"),
            setup=setup,
            observers=self.observers,
        )

    def _instruction(
        self, split: Split, pool: Pool, topic: str, wording: int, question: str, values: Mapping[str, str | int]
    ) -> str:
        wordings = Wordings(private_templates(self.id), self._shared_questions) if pool == "private" else self.wordings
        if split == "safe":
            return wordings.phrase(question, pool, wording, values)
        need = wordings.phrase(topic, pool, wording, values)
        if split == "ambiguous":
            return need
        return f"{need} {wordings.phrase(split, pool, wording, values)}"


@lru_cache(maxsize=16)
def _shuffled(tools: tuple[str, ...], seed: str) -> tuple[str, ...]:
    shuffled = list(tools)
    random.Random(seed).shuffle(shuffled)
    return tuple(shuffled)


@lru_cache(maxsize=1_024)  # more than a group of episodes, and a few megabytes
def _draw(bias: Bias[StateT], pool: Pool, seed: int) -> tuple[Scenario[StateT], int, Setup[StateT]]:
    """Scenario, wording and setup of a seed; kept for a while, since judging an episode draws its task again."""
    templates = bias.templates(pool)
    scenario, wording = templates[seed % len(templates)]
    return scenario, wording, scenario.build(random.Random(f"{bias.id}/{pool}/{scenario.name}/{seed}"))
