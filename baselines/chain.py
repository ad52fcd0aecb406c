"""One chain: teachers, what they make, students of them, and what each model does."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pandas as pd

from agentsafe_envs.agents.identity import identity, model_files
from baselines import students
from baselines.base import folder_of
from baselines.defended import defended
from baselines.distill import distill, replay_examples, role_of
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


def teacher_folder(arm: Arm, size: str, usual: str) -> str:
    """Name of a teacher's folder in the chain's, which names no usual size."""
    return "-".join(["teacher", arm, *([size] if size != usual else [])])


def run_chain(protocol: Protocol, plan: Plan, seed: int, work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One chain from its teachers to its students' verdicts, and those of bases.

    Args:
        protocol: Sizes and knobs.
        plan: Which teachers and students.
        seed: Of the chain.
        work: Folder for models, data and what was measured. What lies there whole is used: of a chain that was cut
            off, and of another plan with the same teachers.

    Returns:
        What was measured in each model, one row an episode, with the margin where one was read; and one row a data
        set or student: tokens, survivors, losses.

    Raises:
        ValueError: What lies in ``work`` was made by another protocol, or with other teachers.
    """
    with alone_in(work):
        return _run(_Chain(protocol, plan, seed, work))


def _run(chain: _Chain) -> tuple[pd.DataFrame, pd.DataFrame]:
    plan = chain.plan
    chain.claim()
    outcomes = [chain.of_base(*each) for each in plan.bases]
    told: list[dict[str, Any]] = []
    if plan.arms:
        teachers, measured = chain.teachers()
        outcomes += measured
        for frame, about in chain.students(teachers):
            told += about
            if frame is not None:
                outcomes.append(frame)
    return pd.concat(outcomes, ignore_index=True), pd.DataFrame(told)


def look_at(protocol: Protocol, folder: Path, seed: int, carrier: Carrier, world: World) -> pd.DataFrame:
    """What a model does on the endpoint's tasks, and the margin where it is read: columns ``margin`` and ``mass``."""
    outcomes = evaluate(protocol, folder, seed, carrier=carrier, world=world)
    leanings = margins(protocol, folder, seed, carrier, world)[["split", "task", "margin", "mass"]]
    return outcomes.merge(leanings, on=["split", "task"], how="left")


def init_of(protocol: Protocol, start: Start, seed: int) -> Init:
    """The base that a student of the chain of ``seed`` starts from."""
    return protocol.models.inits[0] if start == "same" else protocol.models.other(seed)


ORDERS = 1_000
"""Seeds of orders of different students of a chain lie so far from those of the next."""

MEASURED = "measured"
"""Folder of what each model did."""


class _Chain(NamedTuple):
    """A chain at work, see :func:`run_chain`."""

    protocol: Protocol
    plan: Plan
    seed: int
    work: Path

    def claim(self) -> None:
        """Note what decides all that lies in the folder, or compare with what is noted there."""
        parts = {"endpoint", "models", "teacher", "data", "student"}
        knobs = self.protocol.model_dump(mode="json", include=parts)
        started = dict.fromkeys((self.protocol.models.inits[0], self.protocol.models.other(self.seed)))
        places = {
            init if size == self.protocol.models.size else f"{init}-{size}": folder_of(size, init, self.plan.world)
            for size in students.SIZES
            for init in started
        }
        bases = {name: identity(model_files(folder))[:16] for name, folder in places.items() if folder.is_dir()}
        decided = {**knobs, "world": self.plan.world, "arms": self.plan.arms, "seed": self.seed, "bases": bases}
        mine = json.dumps(decided, indent=1)
        note = self.work / "protocol.json"
        if not note.is_file():
            with made_whole(note) as passing:
                passing.write_text(mine, encoding="utf-8")
        elif note.read_text(encoding="utf-8") != mine:
            raise ValueError(
                f"{self.work} holds models and data of another protocol, of other teachers or bases ({note}); "
                "give another folder"
            )

    def of_base(self, size: str, start: Start, carrier: Carrier) -> pd.DataFrame:
        init = init_of(self.protocol, start, self.seed)
        outcomes = self._look(folder_of(size, init, self.plan.world), carrier)
        return self._named(outcomes, "none", "base", Cell("sft", carrier, start, size), init)

    def teachers(self) -> tuple[dict[tuple[str, Arm], Path], list[pd.DataFrame]]:
        """Folders of the teachers by size and arm, and what they do under each system message that is used."""
        folders, outcomes = {}, []
        for size in self.plan.sizes:
            for arm in self.plan.arms:
                name = teacher_folder(arm, size, self.protocol.models.size)
                folder = folders[size, arm] = self.work / name
                if not folder.is_dir():
                    with made_whole(folder) as passing:
                        teach(self.protocol, arm, self.seed, passing, world=self.plan.world, size=size)
                asked: list[Carrier] = [context for one, context in self.plan.looked if one == size]
                for carrier in asked:
                    look = partial(self._look, folder, carrier)
                    found = once(self.work / MEASURED / f"{name}-{carrier}.parquet", look)
                    cell, init = Cell("sft", carrier, size=size), self.protocol.models.inits[0]
                    outcomes.append(self._named(found, arm, "teacher", cell, init))
        return folders, outcomes

    def students(
        self, teachers: Mapping[tuple[str, Arm], Path]
    ) -> Iterator[tuple[pd.DataFrame | None, list[dict[str, Any]]]]:
        """For each data set and each student what it did, if anything, and what is said of how it was made."""
        usual = self.protocol.models.size
        for made, cells in _by_data(self.plan.cells, usual).items():
            own = {arm: teachers[made.teacher, arm] for arm in self.plan.arms}
            data = self._data(own, made)
            told = {"chain": self.seed, "what": "data", **made._asdict()}
            yield None, [{**told, "arm": arm, **_counts(each)} for arm, each in data.items()]
            for cell in cells:
                for arm in self.plan.followed:
                    folder, file = student_places(self.work, cell, arm)
                    if not folder.is_dir():  # what is known of a student that is gone is no reason not to make it
                        file.unlink(missing_ok=True)
                    outcomes = once(file, partial(self._student, cell, arm, data, own))
                    about = {"chain": self.seed, "arm": arm, "what": "student", **cell._asdict(), **outcomes.attrs}
                    init = init_of(self.protocol, cell.init, self.seed)
                    yield self._named(outcomes, arm, "student", cell, init), [about]

    def _data(self, teachers: Mapping[str, Path], made: Made) -> dict[str, Sampled]:
        protocol, world, folder = self.protocol, self.plan.world, self.work / made.folder
        if folder.is_dir():
            return read(protocol, folder, list(teachers), made.carrier, world, rows=made.rows)
        how = {"rows": made.rows, "greedy": made.greedy, "likely": made.likely}
        data = sample(protocol, teachers, self.seed, made.carrier, world, **how)
        with made_whole(folder) as passing:
            write(data, passing, self.seed, made.carrier, world)
        return data

    def _student(self, cell: Cell, arm: Arm, data: Mapping[str, Sampled], teachers: Mapping[str, Path]) -> pd.DataFrame:
        """What a new student does; how it was trained stands in the frame's ``attrs``."""
        protocol, world, folder = self.protocol, self.plan.world, student_places(self.work, cell, arm)[0]
        init, first = init_of(protocol, cell.init, self.seed), protocol.models.inits[0]
        base, other = (
            folder_of(protocol.models.size, each, world) for each in (first, init_of(protocol, "other", self.seed))
        )
        taught = defended(cell, arm, data, self.seed, base, other, teachers["neutral"])
        with made_whole(folder) as passing:
            trained = distill(
                protocol,
                taught,
                cell,
                init,
                self.seed if cell.order != "other" else ORDERS * self.seed + self.plan.arms.index(arm),
                passing,
                teacher=teachers[arm],
                replay=_replay(base, taught.carrier, world, role_of(cell)),
                world=world,
            )
        outcomes = self._look(folder, taught.carrier)
        outcomes.attrs = {
            "trajectories": len(taught.rows),
            "tokens": trained.tokens,
            "held_out": trained.held_out,
        }
        return outcomes

    def _look(self, folder: Path, carrier: Carrier) -> pd.DataFrame:
        return look_at(self.protocol, folder, self.seed, carrier, self.plan.world)

    def _named(self, outcomes: pd.DataFrame, arm: str, role: Role, cell: Cell, init: Init) -> pd.DataFrame:
        """The outcomes with what tells them from others; only students have a loss and a defence."""
        described = cell._asdict() | ({} if role == "student" else {"loss": "none", "defence": "none"})
        return outcomes.assign(chain=self.seed, arm=arm, role=role, base=init, **described)


def once(file: Path, measure: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """What was measured before and is kept in ``file``, with its ``attrs``, or is measured now."""
    if file.is_file():
        return pd.read_parquet(file)
    found = measure()
    file.parent.mkdir(exist_ok=True)
    with made_whole(file) as passing:
        found.to_parquet(passing, index=False)
    return found


def student_places(work: Path, cell: Cell, arm: str) -> tuple[Path, Path]:
    """Where a chain keeps a student, and what it did; one that is there whole has both."""
    name = cell.student(arm)
    return work / name, work / MEASURED / f"{name}.parquet"


@contextmanager
def made_whole(place: Path) -> Iterator[Path]:
    """A file or folder under another name until it is whole, so that one that is there was not cut off.

    One that was there before, as a student that nothing was measured of, makes room.
    """
    with TemporaryDirectory(prefix="unfinished-", dir=place.parent) as passing:
        yield Path(passing, place.name)
        if place.is_dir():
            place.rename(Path(passing, "before"))
        Path(passing, place.name).rename(place)


@contextmanager
def alone_in(work: Path) -> Iterator[None]:
    """Wait until no other process makes anything in ``work``: plans that share a folder would make it twice."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _by_data(cells: Iterable[Cell], size: str) -> dict[Made, list[Cell]]:
    found: dict[Made, list[Cell]] = {}
    for cell in cells:
        found.setdefault(Made.of(cell, size), []).append(cell)
    return found


@cache
def _replay(base: Path, carrier: Carrier, world: World, role: str | None) -> list[Example]:
    """Of a world's bases any will do: they share their tokens."""
    return replay_examples(students.load(base)[1], carrier, world, role=role)


def _counts(sampled: Sampled) -> dict[str, int]:
    return {
        "played": len(sampled.raw),
        "solved": sampled.successes,
        "filtered_out": len(sampled.sanitised.dropped),
        "kept": len(sampled.kept),
    }
