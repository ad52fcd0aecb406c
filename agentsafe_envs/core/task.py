"""Tasks: a scenario (start state, need, solvers), a wording for it, and values from a seed.

A template is scenario x wording. Wordings are a small grammar, two lists of clauses for each
topic, and a pool owns a set of combinations, so pools share vocabulary and no wording.
"""

from __future__ import annotations

import os
import random
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, get_args

from agentsafe_envs.core.transition import Access, StateT, Values

Split = Literal["safe", "ambiguous", "required", "forbidden"]
SPLITS: tuple[Split, ...] = get_args(Split)

Pool = Literal["train", "dev", "public", "private"]
POOLS: tuple[Pool, ...] = get_args(Pool)

WORDINGS = 6
"""Clauses in each list of a topic, and so wordings of a scenario within one pool."""

_SHIFT = {"train": 0, "dev": 2, "public": 4, "private": 0}
"""First clause k goes with second clause k + shift: pools never share a combination."""

PRIVATE_TEMPLATES_VARIABLE = "AGENTSAFE_TEMPLATES"

_AN_ID = re.compile(r"\b[a-z]+-\d+\b")
_A_NUMBER = re.compile(r"(?<![\w.-])\d+(?![.-]?\d)")


@dataclass(frozen=True, slots=True)
class Goal(Generic[StateT]):
    """A need that can be checked: the predicate's name says what must hold.

    Attributes:
        check: Module-level function ``check(state, **arguments) -> bool``, so a goal pickles.
        arguments: Its keyword arguments.
    """

    check: Callable[..., bool]
    arguments: Mapping[str, Any]

    def met(self, state: StateT) -> bool:
        """Whether ``state``, advanced to the next morning, satisfies the need."""
        return self.check(state, **self.arguments)


@dataclass(frozen=True, slots=True)
class Setup(Generic[StateT]):
    """A scenario with its values: everything of a task but its words.

    Attributes:
        start: State at reset, or what the world makes it from.
        goal: The need of the three acting splits.
        order: What ``required`` asks for by name, beside the need.
        values: Fill the wording's ``{fields}``.
        objects: Ids on which the means counts.
        targets: Ids that ``required`` names and that the solvers work on.
        question: Topic of the ``safe`` wording.
        answer: What ``submit`` must say on ``safe``.
        tools: Names of the tools offered.
        solutions: Scripted actions of each policy on the acting splits; ``"biased"`` and
            ``"cautious"`` are always there, the others are the alternatives by name.
        lookup: Scripted actions that solve ``safe``.
        required_access: Access that the need calls for; exposure is what goes beyond it.
        instructed_access: Access that ``required`` asks for by name, beside the need.

    Every script ends with the submission, which is the last action of ``"biased"``.
    """

    start: Any
    goal: Goal[StateT]
    order: Goal[StateT]
    values: Values
    objects: frozenset[str]
    targets: tuple[str, ...]
    question: str
    answer: str
    tools: tuple[str, ...]
    solutions: Mapping[str, tuple[str, ...]]
    lookup: tuple[str, ...]
    required_access: frozenset[Access] = frozenset()
    instructed_access: frozenset[Access] = frozenset()


@dataclass(frozen=True, slots=True)
class Scenario(Generic[StateT]):
    """One situation an agent can be put into.

    Attributes:
        name: Unique within the bias, ``snake_case``.
        pool: The only pool it belongs to.
        topic: Section of the wordings that states its need.
        build: Draws values and builds the start state.
    """

    name: str
    pool: Pool
    topic: str
    build: Callable[[random.Random], Setup[StateT]]


@dataclass(frozen=True, slots=True)
class Task(Generic[StateT]):
    """What one episode is about.

    Attributes:
        split: Which of the four questions is asked.
        pool: Where scenario and wording come from.
        seed: Fixes template, values and start state.
        template: ``"<scenario>/<wording>"``.
        instruction: The words the agent reads.
        tools: Names of the tools offered, in the order offered.
        setup: The scenario with its values.
        observers: Of the bias: classes that look at contents on behalf of its detectors.
    """

    split: Split
    pool: Pool
    seed: int
    template: str
    instruction: str
    tools: tuple[str, ...]
    setup: Setup[StateT]
    observers: tuple[type[Any], ...] = ()

    @property
    def exempt(self) -> frozenset[str]:
        """Ids whose loss the instruction itself asks for."""
        return frozenset(self.setup.targets) if self.split == "required" else frozenset()

    @property
    def permitted_access(self) -> frozenset[Access]:
        """Access that the need calls for or the instruction itself asks for."""
        return (
            self.setup.required_access | self.setup.instructed_access
            if self.split == "required"
            else self.setup.required_access
        )


def names_only(said: str, answer: str) -> bool:
    """Whether ``said`` names the id or number ``answer`` and no other."""
    sought = _AN_ID if "-" in answer else _A_NUMBER
    return set(sought.findall(said.lower())) == {answer}


class Wordings:
    """The clauses of one bias, read from its TOML file and from the one that biases of its world share.

    Each topic holds ``first`` and ``second``, six clauses each. Topics: one for every need,
    one for every question of the ``safe`` split, and ``required`` and ``forbidden``.

    Args:
        path: The bias's own file.
        shared: Topics that biases share; one of the same name in ``path`` comes before it.

    Attributes:
        avoid: Stems, beside the bias's keywords, that would name a means; no need and no
            question has a word that begins with one. From the line ``avoid = "..."``.

    Raises:
        ValueError: Not TOML, or a topic does not hold exactly six clauses in both lists.
    """

    def __init__(self, path: Path, shared: Path | None = None) -> None:
        self._path = path
        own = _read_topics(path)
        self.avoid = tuple(str(own.pop("avoid", "")).split())
        self._topics: dict[str, Any] = (_read_topics(shared) if shared else {}) | own
        for topic, clauses in self._topics.items():
            lists = [clauses.get(name) for name in ("first", "second")] if isinstance(clauses, dict) else []
            if not lists or any(not isinstance(each, list) or len(each) != WORDINGS for each in lists):
                raise ValueError(f"{path}: topic [{topic}] needs lists `first` and `second` of {WORDINGS} clauses each")

    def phrase(self, topic: str, pool: Pool, wording: int, values: Values) -> str:
        """The ``wording``-th combination of ``topic`` that ``pool`` owns, filled with ``values``.

        Raises:
            ValueError: The file has no such topic, or a clause has a field that ``values`` lacks.
        """
        if topic not in self._topics:
            raise ValueError(f"{self._path} has no topic [{topic}], expected one with `first` and `second`")
        clauses = self._topics[topic]
        second = (wording + _SHIFT[pool]) % WORDINGS
        try:
            return f"{clauses['first'][wording]} {clauses['second'][second]}".format_map(values)
        except (AttributeError, LookupError, MemoryError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self._path}: topic [{topic}], clauses {wording} and {second} cannot be filled ({error}); "
                f"the fields are {', '.join(values)}"
            ) from error


def _read_topics(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise ValueError(f"{path} is not TOML in UTF-8: {error}") from error


def private_templates(bias_id: str) -> Path:
    """The private wordings of a bias, kept outside the repository.

    Questions that the file does not word itself are asked in the words that biases share.

    Raises:
        FileNotFoundError: The variable is unset or the file is not there.
    """
    folder = os.environ.get(PRIVATE_TEMPLATES_VARIABLE)
    path = Path(folder or ".", f"{bias_id}.toml")
    if not folder or not path.is_file():
        raise FileNotFoundError(
            f"pool 'private' reads {path.name} from the folder named by {PRIVATE_TEMPLATES_VARIABLE}, "
            f"which is {folder or 'unset'!s}; set it to a folder that holds the file, "
            "in the format of the bias's own .toml"
        )
    return path
