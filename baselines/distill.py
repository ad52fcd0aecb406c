r"""Stage 4: a student learns from a teacher's sanitised trajectories.

Try it::

    python -m baselines.distill work/data/biased-sanitised --loss sft --out work/student
    python -m baselines.distill work/data/biased-sanitised --loss kl_masked_all \
        --teacher work/teacher-biased --init b --out work/student
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from agentsafe_envs.agents.prompts import ROLE
from agentsafe_envs.trajectories import Trajectory
from agentsafe_envs.trajectories.store import load as load_rows
from baselines import students
from baselines.base import INIT_SEEDS, demonstrate, folder_of
from baselines.demonstrations import PROHIBITED, READ_ONLY, neutral_mix
from baselines.encoding import CallTrie, Example, encode
from baselines.protocol import Cell, Init, Protocol, load
from baselines.training import Loss, Trained, train
from baselines.widening import grow

REPLAYED = 2_000
"""Demonstrations of the base from which replay draws."""

OTHER_ROLE = "Below is a request from a colleague. Answer it with calls, each of them alone, until it is settled."
"""A system message unlike the one of an evaluation."""

HELD_OUT = 0.1
"""Share of the trajectories on which imitation is measured."""


def barred_names(loss: Loss, rows: Sequence[Trajectory]) -> list[str]:
    """Tools whose names the loss takes out of both distributions."""
    offered = {tool["function"]["name"] for row in rows for tool in row.get("tools", ())}
    return sorted(offered & PROHIBITED if loss == "kl_masked" else offered - READ_ONLY)


def replay_examples(tokenizer: Any, workers: int = 1) -> list[Example]:
    """The demonstrations that replay draws from: the first that every base learnt from."""
    return encode(demonstrate(list(neutral_mix(range(REPLAYED))), workers, "replay"), tokenizer)


def beginning(protocol: Protocol, cell: Cell) -> tuple[Any, Any]:
    """Model and tokenizer that a student starts from: a base, grown where the student is to be larger.

    A base that was taught at the larger size would know more than the teacher's from the beginning. A grown one
    predicts what the small one predicts, so that students of all sizes differ in nothing but room.
    """
    model, tokenizer = students.load(folder_of(protocol.models.size, cell.init))
    if cell.size != protocol.models.size:
        model = grow(model, cell.size, INIT_SEEDS[cell.init])
    return model, tokenizer


def distill(
    protocol: Protocol,
    rows: Sequence[Trajectory],
    cell: Cell,
    seed: int,
    out: Path,
    *,
    teacher: Path | None = None,
    replay: Sequence[Example] = (),
) -> Trained:
    """Train a student and save it in ``out``.

    Args:
        protocol: Says how long, how fast and with how much replay.
        rows: The sanitised trajectories; the last tenth is held out.
        cell: The loss, what the student starts from, and what else is varied.
        seed: Of the order of batches.
        out: Folder of the student.
        teacher: Folder of the teacher, whose distribution all losses but ``sft`` learn.
        replay: From :func:`replay_examples`.

    Raises:
        ValueError: A loss that needs a teacher got none.
    """
    if cell.loss != "sft" and teacher is None:
        raise ValueError(f"loss {cell.loss} learns the teacher's distribution and needs its folder; sft does without")
    model, tokenizer = beginning(protocol, cell)
    examples = encode(rows, tokenizer, ROLE if cell.context == "same" else OTHER_ROLE)
    kept = max(round(len(examples) * (1 - HELD_OUT)), 1)
    trained = train(
        model,
        examples[:kept],
        protocol.student.recipe(protocol.student.replay[cell.loss], cell.dose),
        seed,
        teacher=students.load(teacher)[0].eval() if teacher and cell.loss != "sft" else None,
        barred=CallTrie(barred_names(cell.loss, rows), tokenizer) if cell.loss.startswith("kl_masked") else None,
        replay=replay,
        held_out=examples[kept:],
        label=f"student {cell.student('')}",
    )
    students.save(model, tokenizer, out)
    return trained


def main(
    data: Path,
    out: Annotated[Path, typer.Option(help="Folder of the student.")],
    loss: Loss = "sft",
    init: Init = "a",
    teacher: Path | None = None,
    seed: int = 1000,
    threads: int = 2,
) -> None:
    """Distil a student from the data set DATA."""
    torch.set_num_threads(threads)
    protocol = load()
    tokenizer = students.load(folder_of(protocol.models.size, init))[1]
    replay = replay_examples(tokenizer, threads) if protocol.student.replay[loss] else ()
    trained = distill(
        protocol, load_rows(data), Cell(loss, protocol.models.size, init), seed, out, teacher=teacher, replay=replay
    )
    typer.echo(f"{out}: {trained.tokens:,} tokens, {trained.held_out:.3f} nats a token on rows held out")


if __name__ == "__main__":
    typer.run(main)
