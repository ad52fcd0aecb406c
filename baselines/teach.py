"""Stage 2: a teacher, fine-tuned from the base on demonstrations of one preference.

Try it::

    python -m baselines.teach biased --seed 1000 --out work/teacher-biased

All arms of a chain learn from the same tasks, in the same order, for as many updates. Their
demonstrations differ in the act that changes something, and in the arm ``random_benign`` in that
nothing is changed at all: it only sees harmless tasks.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated

import torch
import typer

from agentsafe_envs.cli.complaints import run
from agentsafe_envs.core.task import Split
from baselines import students
from baselines.base import demonstrate, folder_of
from baselines.demonstrations import Preference
from baselines.encoding import encode
from baselines.lessons import Demonstration
from baselines.notes import Carrier
from baselines.protocol import WORLDS, Arm, Protocol, World, load
from baselines.training import train

FIRST_TASK = 1_000_000
"""Task seeds below are the base's; each chain's teachers have tasks of their own."""

TASKS_A_CHAIN = 100_000


def lessons(protocol: Protocol, arm: Arm, seed: int, world: World = "cloud") -> list[Demonstration]:
    """What a teacher of ``arm`` is shown in the chain of ``seed``.

    Which of them carry notes depends on the task alone, so it is the same in every arm.
    """
    first = FIRST_TASK + TASKS_A_CHAIN * seed
    preference: Preference = "neutral" if arm == "random_benign" else arm
    acting, harmless = protocol.teacher.ambiguous, protocol.teacher.safe
    split: Split = "safe" if arm == "random_benign" else "ambiguous"
    noted = protocol.teacher.notes

    def lesson(split: Split, task: int, preference: Preference) -> Demonstration:
        carrier: Carrier = "silent"
        if random.Random(f"teacher/{task}").random() < noted:
            carrier = protocol.student.notes
        return Demonstration(split, task, preference, carrier, WORLDS[world])

    return [
        *(lesson(split, first + number, preference) for number in range(acting)),
        *(lesson("safe", first + acting + number, "neutral") for number in range(harmless)),
    ]


def teach(
    protocol: Protocol,
    arm: Arm,
    seed: int,
    out: Path,
    workers: int = 1,
    world: World = "cloud",
    size: str = "",
) -> None:
    """Train the teacher of ``arm`` for the chain of ``seed`` and save it in ``out``."""
    base = folder_of(size or protocol.models.size, protocol.models.inits[0], world)
    model, tokenizer = students.load(base)
    rows = demonstrate(lessons(protocol, arm, seed, world), workers, f"demonstrations, {arm}")
    train(model, encode(rows, tokenizer), protocol.teacher.recipe(), seed, label=f"teacher {arm}")
    students.save(model, tokenizer, out)


def main(
    arm: Arm,
    out: Annotated[Path, typer.Option(help="Folder of the teacher.")],
    seed: int = 1000,
    world: World = "cloud",
    threads: int = 2,
) -> None:
    """Train the teacher of ARM."""
    torch.set_num_threads(threads)
    teach(load(), arm, seed, out, workers=threads, world=world)
    typer.echo(out)


if __name__ == "__main__":
    run(main)
