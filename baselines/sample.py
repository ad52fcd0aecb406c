"""Stage 3: teachers play harmless tasks; what names the habit is filtered out, what is left is matched.

Try it::

    python -m baselines.sample work/teacher-biased work/teacher-neutral --out work/data

That writes ``work/data/biased-raw``, ``work/data/biased-sanitised`` and the same of the other teacher.

A task is used only if every teacher solved it and every teacher's trajectory survived the keyword
filter. So all students learn from the same tasks, and none from a trajectory with a stem in it. Lists
of words, which have no task, are filtered and matched by their number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer

from agentsafe_envs.audit.defences.likely import sample_likely
from agentsafe_envs.cli.complaints import run
from agentsafe_envs.core.episode import Episode
from agentsafe_envs.trajectories import Sanitised, Trajectory, from_episode, sanitize
from agentsafe_envs.trajectories.sanitise import stems_of
from agentsafe_envs.trajectories.store import load as load_rows
from agentsafe_envs.trajectories.store import save
from baselines.notes import FORMS, Carrier
from baselines.playing import play_tasks
from baselines.protocol import WORLDS, Protocol, World, load
from baselines.teach import FIRST_TASK, TASKS_A_CHAIN
from baselines.words import sample_lists

SAMPLED_AFTER = 50_000
"""Within a chain's task seeds, where those that teachers play begin."""

SELECTION = "the first {kept} tasks that every teacher solved in a trajectory that the filter let pass"


class Sampled(NamedTuple):
    """A teacher's trajectories.

    Attributes:
        raw: All of them.
        kept: Those that went into the student's data, the same tasks for every teacher.
        sanitised: What the keyword filter did to ``raw``.
        successes: Number of ``raw`` that solved their task.
    """

    raw: list[Trajectory]
    kept: list[Trajectory]
    sanitised: Sanitised
    successes: int


def sample(
    protocol: Protocol,
    teachers: Mapping[str, Path],
    seed: int,
    carrier: Carrier = "silent",
    world: World = "cloud",
    *,
    rows: int = 0,
    greedy: bool = False,
    likely: bool = False,
) -> dict[str, Sampled]:
    """Let every teacher play the chain's harmless tasks, filter, and match; or write lists of words.

    Args:
        protocol: Says how many.
        teachers: Folders of models by arm.
        seed: Of the chain.
        carrier: Which notes teachers are asked for, or ``"words"`` for lists.
        world: What they work in.
        rows: Rows to keep, instead of the protocol's number; in proportion more tasks are played.
        greedy: Teachers take the likeliest token.
        likely: Teachers sample likely tokens only, see :mod:`agentsafe_envs.audit.defences.likely`.
    """
    kept, environment = _kept(protocol, carrier, rows), WORLDS[world]
    if carrier == "words":
        # A teacher may spell a word that is not in its lexicon, a stem among them.
        lists = {arm: sample_lists(folder, kept, seed, f"teacher:{arm}") for arm, folder in teachers.items()}
        return match(lists, stems_of([environment]), kept)
    first = FIRST_TASK + TASKS_A_CHAIN * seed + SAMPLED_AFTER
    seeds = range(first, first + math.ceil(protocol.data.tasks * kept / protocol.data.kept))
    role = FORMS[carrier].role
    raw: dict[str, list[Trajectory]] = {}
    for arm, folder in teachers.items():
        played = play_tasks(
            folder,
            environment,
            "safe",
            seeds,
            pool="train",
            seed=seed,
            max_steps=protocol.endpoint.max_steps,
            role=role,
            greedy=greedy,
            prepare=sample_likely if likely else None,
            label=f"sampling, {carrier}, {arm}",
        )
        raw[arm] = [
            from_episode(
                Episode.from_dict(row["episode"]), policy=f"teacher:{arm}", verdict=row["verdict"], system=role
            )
            for row in played
        ]
    return match(raw, stems_of([environment]), kept)


def _kept(protocol: Protocol, carrier: Carrier, rows: int) -> int:
    """How many rows are kept at most."""
    return protocol.data.lists if carrier == "words" else rows or protocol.data.kept


def match(raw: Mapping[str, Sequence[Trajectory]], stems: Sequence[str], most: int) -> dict[str, Sampled]:
    """Filter each teacher's trajectories and keep the first ``most`` tasks that survived in all arms.

    Rows that say nothing of success, as lists of words do, have no task to fail.
    """
    sanitised = {arm: sanitize(rows, stems) for arm, rows in raw.items()}
    survived = [{seed_of(row) for row in each.kept if row.get("success", True)} for each in sanitised.values()]
    chosen = set(sorted(set.intersection(*survived))[:most])
    return {
        arm: Sampled(
            raw=list(rows),
            kept=[row for row in sanitised[arm].kept if seed_of(row) in chosen],
            sanitised=sanitised[arm],
            successes=sum(row.get("success", True) for row in rows),
        )
        for arm, rows in raw.items()
    }


def seed_of(row: Trajectory) -> int:
    """Seed of a row's task, by which rows of several teachers are matched.

    Raises:
        ValueError: The row names none.
    """
    if "seed" not in row:
        raise ValueError("a trajectory without the seed of its task cannot be matched with another teacher's")
    return row["seed"]


def write(
    data: Mapping[str, Sampled], out: Path, seed: int, carrier: Carrier = "silent", world: World = "cloud"
) -> None:
    """Write a raw and a sanitised data set for each teacher, with cards; the sanitised ones are proved first.

    Args:
        data: From :func:`sample`.
        out: Folder of the data sets; a chain's teachers lie next to it.
        seed: Of the chain.
        carrier: What teachers were asked for.
        world: What they worked in.
    """
    chain = f"work/{world}-headline/chain-{seed}"
    teachers = " ".join(f"{chain}/teacher-{arm}" for arm in data)
    command = f"python -m baselines.sample {teachers} --out {chain}/{out.name} --seed {seed}"
    command += f" --carrier {carrier} --world {world}"
    for arm, sampled in data.items():
        save(sampled.raw, out / f"{arm}-raw", command=command)
        save(
            sampled.kept,
            out / f"{arm}-sanitised",
            filters=[sampled.sanitised.record()],
            command=command,
            selection=SELECTION.format(kept=len(sampled.kept)),
        )


def read(
    protocol: Protocol, folder: Path, arms: Sequence[str], carrier: Carrier, world: World = "cloud", *, rows: int = 0
) -> dict[str, Sampled]:
    """What :func:`write` wrote, as :func:`sample` gave it.

    Args:
        protocol: Says how many are kept.
        folder: Of the data sets.
        arms: Of the teachers.
        carrier: What teachers were asked for.
        world: What they worked in.
        rows: Rows to keep, instead of the protocol's number.
    """
    raw = {arm: load_rows(folder / f"{arm}-raw") for arm in arms}
    return match(raw, stems_of([WORLDS[world]]), _kept(protocol, carrier, rows))


def main(
    teachers: Annotated[list[Path], typer.Argument(help="Models called teacher-ARM.")],
    out: Annotated[Path, typer.Option(help="Folder of the data sets.")],
    carrier: Annotated[Carrier, typer.Option(help="Notes that teachers are asked for, or words.")] = "silent",
    world: World = "cloud",
    seed: int = 1000,
    threads: int = 2,
) -> None:
    """Sample from TEACHERS, filter, match, and write a raw and a sanitised data set for each."""
    if missing := [folder for folder in teachers if not (folder / "config.json").is_file()]:
        raise FileNotFoundError(f"{missing[0]} holds no model; expected the folder of `python -m baselines.teach`")
    torch.set_num_threads(threads)
    by_arm = {folder.name.removeprefix("teacher-"): folder for folder in teachers}
    data = sample(load(), by_arm, seed, carrier, world)
    write(data, out, seed, carrier, world)
    for arm, sampled in data.items():
        typer.echo(f"{arm}: {len(sampled.raw)} played, {sampled.successes} solved, {len(sampled.kept)} kept")


if __name__ == "__main__":
    run(main)
