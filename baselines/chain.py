"""One chain: teachers, what they make, students of them, and what each model does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pandas as pd

from baselines import students
from baselines.base import folder_of
from baselines.defended import defended
from baselines.distill import distill, replay_examples
from baselines.encoding import Example
from baselines.evaluate import evaluate
from baselines.margins import margins
from baselines.notes import Carrier
from baselines.plans import Cell, Plan, Role, Start
from baselines.protocol import Arm, Init, Protocol, World
from baselines.sample import Sampled, read, sample, write
from baselines.teach import teach


class Made(NamedTuple):
    """What decides a data set of a chain: cells that agree in it share one.

    Attributes:
        carrier: What teachers are asked for.
        teacher: Size of the teachers.
        rows: Rows to keep; 0 for the protocol's number.
        greedy: Teachers take the likeliest token.
        likely: They sample likely tokens only.
    """

    carrier: Carrier
    teacher: str
    rows: int
    greedy: bool
    likely: bool

    @classmethod
    def of(cls, cell: Cell, size: str) -> Made:
        """The data set of a cell; ``size`` is the usual one of teachers."""
        greedy, likely = cell.decoding == "greedy", cell.defence == "likely tokens"
        return cls(cell.carrier, cell.teacher or size, cell.rows, greedy, likely)

    @property
    def folder(self) -> str:
        """Name of its folder in the chain's."""
        further = [str(self.rows)] * bool(self.rows) + ["greedy"] * self.greedy + ["likely"] * self.likely
        return "-".join(["data", self.carrier, self.teacher, *further])


def run_chain(protocol: Protocol, plan: Plan, seed: int, work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One chain from its teachers to its students' verdicts, and those of bases.

    Args:
        protocol: Sizes and knobs.
        plan: Which teachers and students.
        seed: Of the chain.
        work: Folder for models and data. Teachers and data that another plan left there are used, students replaced.

    Returns:
        What was measured in each model, one row an episode, with the margin where one was read; and one row a data
        set or student: tokens, survivors, losses.

    Raises:
        ValueError: What lies in ``work`` was made by another protocol, or with other teachers.
    """
    _claim(protocol, plan, seed, work)
    outcomes = [_of_base(protocol, plan.world, seed, *each) for each in plan.bases]
    told: list[dict[str, Any]] = []
    if plan.arms:
        teachers, measured = _teachers(protocol, plan, seed, work)
        outcomes += measured
        for frame, about in _students(protocol, plan, seed, work, teachers):
            told += about
            if frame is not None:
                outcomes.append(frame)
    return pd.concat(outcomes, ignore_index=True), pd.DataFrame(told)


def look_at(protocol: Protocol, folder: Path, seed: int, carrier: Carrier, world: World) -> pd.DataFrame:
    """What a model does on the endpoint's tasks, and the margin where it is read: columns ``margin`` and ``mass``."""
    outcomes = evaluate(protocol, folder, seed, carrier=carrier, world=world)
    if not protocol.endpoint.margins:
        return outcomes.assign(margin=float("nan"), mass=float("nan"))
    leanings = margins(protocol, folder, seed, carrier, world)[["split", "task", "margin", "mass"]]
    return outcomes.merge(leanings, on=["split", "task"], how="left")


def init_of(protocol: Protocol, start: Start, seed: int) -> Init:
    """The base that a student of the chain of ``seed`` starts from."""
    return protocol.models.inits[0] if start == "same" else protocol.models.other(seed)


def _of_base(protocol: Protocol, world: World, seed: int, size: str, start: Start, carrier: Carrier) -> pd.DataFrame:
    init = init_of(protocol, start, seed)
    outcomes = look_at(protocol, folder_of(size, init, world), seed, carrier, world)
    return _named(outcomes, seed, "none", "base", Cell("sft", carrier, start, size), init)


def _teachers(
    protocol: Protocol, plan: Plan, seed: int, work: Path
) -> tuple[dict[tuple[str, Arm], Path], list[pd.DataFrame]]:
    """Folders of the teachers by size and arm, and what they do under each system message that is used."""
    folders, outcomes = {}, []
    for size in plan.sizes:
        for arm in plan.arms:
            name = "-".join(["teacher", arm, *([size] if size != protocol.models.size else [])])
            folder = folders[size, arm] = work / name
            if not folder.is_dir():
                with _made_whole(folder) as passing:
                    teach(protocol, arm, seed, passing, world=plan.world, size=size)
            asked: list[Carrier] = [context for one, context in plan.looked if one == size]
            for carrier in asked:
                outcomes.append(
                    _named(
                        look_at(protocol, folder, seed, carrier, plan.world),
                        seed,
                        arm,
                        "teacher",
                        Cell("sft", carrier, size=size),
                        protocol.models.inits[0],
                    )
                )
    return folders, outcomes


def _students(
    protocol: Protocol, plan: Plan, seed: int, work: Path, teachers: Mapping[tuple[str, Arm], Path]
) -> Iterator[tuple[pd.DataFrame | None, list[dict[str, Any]]]]:
    """For each data set and each student what it did, if anything, and what is said of how it was made."""
    usual = protocol.models.size
    for made, cells in _by_data(plan.cells, usual).items():
        own = {arm: teachers[made.teacher, arm] for arm in plan.arms}
        data = _data(protocol, plan.world, seed, work, own, made)
        about = [
            {"chain": seed, "arm": arm, "what": "data", "carrier": made.carrier, **_counts(each)}
            for arm, each in data.items()
        ]
        yield None, about
        for cell in cells:
            for place, arm in enumerate(plan.arms):
                yield _student(protocol, plan.world, seed, work, cell, arm, place, data, own[arm])


def _data(
    protocol: Protocol, world: World, seed: int, work: Path, teachers: Mapping[str, Path], made: Made
) -> dict[str, Sampled]:
    folder = work / made.folder
    if folder.is_dir():
        return read(protocol, folder, list(teachers), made.carrier, world, rows=made.rows)
    data = sample(protocol, teachers, seed, made.carrier, world, rows=made.rows, greedy=made.greedy, likely=made.likely)
    with _made_whole(folder) as passing:
        write(data, passing, seed, made.carrier, world)
    return data


def _claim(protocol: Protocol, plan: Plan, seed: int, work: Path) -> None:
    """Note what decides the teachers and data in ``work``, or compare with what is noted there."""
    knobs = protocol.model_dump(mode="json", include={"models", "teacher", "data", "student"})
    mine = json.dumps({**knobs, "world": plan.world, "arms": plan.arms, "seed": seed}, indent=1)
    note = work / "protocol.json"
    if not note.is_file():
        work.mkdir(parents=True, exist_ok=True)
        note.write_text(mine, encoding="utf-8")
    elif note.read_text(encoding="utf-8") != mine:
        raise ValueError(
            f"{work} holds teachers and data of another protocol, or of other teachers ({note}); give another folder"
        )


@contextmanager
def _made_whole(folder: Path) -> Iterator[Path]:
    """A folder under another name until it is whole, so that one that is there was not cut off."""
    with TemporaryDirectory(prefix="unfinished-", dir=folder.parent) as passing:
        yield Path(passing, folder.name)
        Path(passing, folder.name).rename(folder)


def _student(
    protocol: Protocol,
    world: World,
    seed: int,
    work: Path,
    cell: Cell,
    arm: Arm,
    place: int,
    data: Mapping[str, Sampled],
    teacher: Path,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    init, folder = init_of(protocol, cell.init, seed), work / cell.student(arm)
    own, other = (
        folder_of(protocol.models.size, each, world)
        for each in (protocol.models.inits[0], init_of(protocol, "other", seed))
    )
    taught = defended(cell, arm, data, seed, own, other, world)
    order = seed if cell.order == "same" else ORDERS * seed + place
    trained = distill(
        protocol,
        taught,
        cell,
        init,
        order,
        folder,
        teacher=teacher,
        replay=_replay(own, taught.carrier, world),
        world=world,
    )
    outcomes = look_at(protocol, folder, seed, taught.carrier, world)
    about = {"chain": seed, "arm": arm, "what": "student", **cell._asdict(), "tokens": trained.tokens}
    return _named(outcomes, seed, arm, "student", cell, init), [{**about, "held_out": trained.held_out}]


ORDERS = 1_000
"""Seeds of orders of different students of a chain lie so far from those of the next."""


def _by_data(cells: Iterable[Cell], size: str) -> dict[Made, list[Cell]]:
    found: dict[Made, list[Cell]] = {}
    for cell in cells:
        found.setdefault(Made.of(cell, size), []).append(cell)
    return found


@cache
def _replay(base: Path, carrier: Carrier, world: World) -> list[Example]:
    """Of a world's bases any will do: they share their tokens."""
    return replay_examples(students.load(base)[1], carrier, world)


def _named(outcomes: pd.DataFrame, chain: int, arm: str, role: Role, cell: Cell, init: Init) -> pd.DataFrame:
    """The outcomes with what tells them from others; only students have a loss and a defence."""
    described = cell._asdict() | ({} if role == "student" else {"loss": "none", "defence": "none"})
    return outcomes.assign(chain=chain, arm=arm, role=role, base=init, **described)


def _counts(sampled: Sampled) -> dict[str, int]:
    return {
        "played": len(sampled.raw),
        "solved": sampled.successes,
        "filtered_out": len(sampled.sanitised.dropped),
        "kept": len(sampled.kept),
    }
