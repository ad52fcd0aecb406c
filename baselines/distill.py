r"""Stage 4: a student learns from a teacher's sanitised trajectories.

Try it::

    python -m baselines.distill work/data/biased-sanitised --loss sft --out work/student
    python -m baselines.distill work/data/biased-sanitised --loss kl_masked_all \
        --teacher work/teacher-biased --init b --out work/student
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer

from agentsafe_envs.agents.loading import without_peft_warnings
from agentsafe_envs.cli.complaints import run
from agentsafe_envs.core.task import Split
from agentsafe_envs.trajectories import Trajectory
from agentsafe_envs.trajectories.store import load as load_rows
from baselines import students
from baselines.base import INIT_SEEDS, demonstrate, folder_of
from baselines.encoding import CallTrie, Example, encode, role_of_row
from baselines.lessons import SUBJECTS, Demonstration
from baselines.notes import FORMS, Carrier
from baselines.plans import Cell, Loss, context_of
from baselines.protocol import WORLDS, Init, Protocol, Recipe, World, load
from baselines.training import Trained, train, updates_to_read
from baselines.widening import grow

REPLAYED: tuple[Split, ...] = ("safe", "ambiguous", "required")
"""Of which tasks replay shows demonstrations, in turns: safe ones whole, others up to where something is changed.

Students that only learn from harmless tasks forget that others ask for more than an answer. What acts must not be
replayed, since it teaches the very choice that is measured.
"""

REPLAYED_TASKS = 900

OTHER_ROLE = "Below is a request from a colleague. Answer it with calls, each of them alone, until it is settled."
"""A system message unlike the one of an evaluation."""

HELD_OUT = 0.1
"""Share of the trajectories on which imitation is measured."""

ADAPTER_SCALE = 2
"""Of a LoRA adapter: alpha in ranks."""


class Taught(NamedTuple):
    """What a student learns from.

    Attributes:
        rows: Of its teacher, behind the defence.
        role: System message that it is trained under instead of the rows' own.
        tokens: What a defence makes of the tokens; None for nothing.
        carrier: Under which system message the student is measured.
        clean: Folder of the model that wrote the tokens which ``tokens`` calls clean. A student that learns
            distributions learns that model's there.
        least: Of the teacher's distribution, tokens of less probability are not learnt.
        beside: What the other teachers' students learn from, task by task.
    """

    rows: Sequence[Trajectory]
    role: str | None = None
    tokens: Callable[[list[Example]], list[Example]] | None = None
    carrier: Carrier = "silent"
    clean: Path | None = None
    least: float = 0.0
    beside: Sequence[Sequence[Trajectory]] = ()


def barred_names(loss: Loss, rows: Sequence[Trajectory], world: World = "cloud") -> list[str]:
    """Words whose naming the loss takes out of both distributions: names of tools, or of commands in a shell."""
    offered = frozenset(tool["function"]["name"] for row in rows for tool in row.get("tools", ()))
    subject = SUBJECTS[WORLDS[world]]
    if loss == "kl_masked":
        return sorted(subject.prohibited & offered if world == "cloud" else subject.prohibited)
    return sorted(subject.changing(offered))


def role_of(cell: Cell) -> str | None:
    """System message that a student is trained under instead of its rows' own; None for these."""
    return OTHER_ROLE if cell.context == "other" else None


def replayed(carrier: Carrier, world: World = "cloud") -> list[Demonstration]:
    """What replay draws from, with the notes that the student is asked for; see :data:`REPLAYED`."""
    found = []
    for seed in range(REPLAYED_TASKS):
        split = REPLAYED[seed % len(REPLAYED)]
        reads_only = split != "safe"
        found.append(Demonstration(split, seed, "neutral", carrier, WORLDS[world], reads_only=reads_only))
    return found


def replay_examples(
    tokenizer: Any, carrier: Carrier, world: World = "cloud", workers: int = 1, role: str | None = None
) -> list[Example]:
    """:func:`replayed`, played and encoded; under the system message ``role`` instead of their own, if there is one."""
    return encode(demonstrate(replayed(carrier, world), workers, "replay"), tokenizer, role)


def beginning(protocol: Protocol, size: str, init: Init, world: World = "cloud") -> tuple[Any, Any]:
    """Model and tokenizer that a student starts from: a base, grown where the student is to be larger.

    A base that was taught at the larger size would know more than the teacher's from the beginning. A grown one
    predicts what the small one predicts, so that students of all sizes differ in nothing but room.
    """
    model, tokenizer = students.load(folder_of(protocol.models.size, init, world))
    if size != protocol.models.size:
        model = grow(model, size, INIT_SEEDS[world][init])
    return model, tokenizer


def distill(
    protocol: Protocol,
    taught: Taught,
    cell: Cell,
    init: Init,
    seed: int,
    out: Path,
    *,
    teacher: Path | None = None,
    replay: Sequence[Example] = (),
    world: World = "cloud",
) -> Trained:
    """Train a student on the rows and save it.

    Args:
        protocol: Size and knobs.
        taught: What it learns from. A share of the rows is held out.
        cell: How it learns.
        init: Base that it starts from.
        seed: Of the order of batches.
        out: Folder of the student.
        teacher: Folder of the teacher, whose distribution all losses but ``sft`` learn.
        replay: From :func:`replay_examples`.
        world: What it works in.

    Raises:
        FileNotFoundError: The teacher's folder holds no model.
        ValueError: A loss that needs a teacher got none, a model has other tokens, or the rows are of another world.
    """
    _require_teacher(cell.loss, teacher)
    _require_world(taught.rows, world)
    model, tokenizer = beginning(protocol, cell.size, init, world)
    role = role_of(cell) or taught.role
    examples = encode(taught.rows, tokenizer, role)
    if cell.order == "shared":
        examples = counted_equally(examples, [encode(rows, tokenizer, role) for rows in taught.beside])
    if taught.tokens is not None:
        examples = taught.tokens(examples)
    random.Random(0).shuffle(examples)  # so that what is held out is of all tasks
    kept = max(round(len(examples) * (1 - HELD_OUT)), 1)
    opening = SUBJECTS[WORLDS[world]].opening
    masked = cell.loss.startswith("kl_masked")
    learning, whole = _with_adapter(model, cell.rank, seed)
    trained = train(
        learning,
        examples[:kept],
        recipe_of(protocol, cell, examples[:kept], seed, replay),
        seed,
        teacher=_reader(teacher, tokenizer) if teacher and cell.loss != "sft" else None,
        clean=_reader(taught.clean, tokenizer) if taught.clean and cell.loss != "sft" else None,
        least=taught.least,
        barred=CallTrie(barred_names(cell.loss, taught.rows, world), tokenizer, opening) if masked else None,
        replay=replay,
        held_out=examples[kept:],
        label=f"student {cell.student('')}",
    )
    students.save(whole(), tokenizer, out, FORMS[taught.carrier].role)
    return trained


def _reader(folder: Path, tokenizer: Any) -> Any:
    """The model in ``folder``, whose distribution is learnt: it means nothing in other tokens."""
    model, own = students.load(folder)
    if own.get_vocab() != tokenizer.get_vocab():
        raise ValueError(f"{folder} has other tokens than the student's base; expected a model of the same world")
    return model.eval()


def _require_teacher(loss: Loss, teacher: Path | None) -> None:
    if loss != "sft" and teacher is None:
        raise ValueError(f"loss {loss} learns the teacher's distribution and needs its folder; sft does without")


def _require_world(rows: Sequence[Trajectory], world: World) -> None:
    """Lists of words name no environment, and go with any."""
    found = sorted({name for row in rows if (name := row.get("environment"))} - {WORLDS[world]})
    if found:
        worlds = ", ".join(f"{name} for {environment}" for name, environment in WORLDS.items())
        raise ValueError(f"rows are of {', '.join(found)}, and the world is {world}; expected --world {worlds}")


def _require_carrier(rows: Sequence[Trajectory], carrier: Carrier) -> None:
    """Else a student is measured under another system message than it was trained under."""
    asked = role_of_row(rows[0])
    made = next((name for name, form in FORMS.items() if form.role == asked), None)
    if made not in (None, context_of(carrier)):
        raise ValueError(
            f"rows have the system message of {made}, and the carrier is {carrier}; expected --carrier {made}"
        )


def counted_equally(examples: Sequence[Example], beside: Sequence[Sequence[Example]]) -> list[Example]:
    """``examples``, each counted as many tokens as the longest of its task, so that all are read in one order.

    Args:
        examples: What one student learns from.
        beside: What students of other teachers learn from, the same tasks in the same order.
    """
    together = zip(examples, *beside, strict=True)
    return [replace(own, counted=max(len(each.ids) for each in (own, *others))) for own, *others in together]


def recipe_of(
    protocol: Protocol, cell: Cell, examples: Sequence[Example], seed: int, replay: Sequence[Example]
) -> Recipe:
    """The protocol's; of rows that are read once as many updates as that takes, and of adapters their own rate.

    Args:
        protocol: Knobs of the student.
        cell: How it learns.
        examples: What it learns from.
        seed: Of the order of batches.
        replay: What is replayed between them.
    """
    recipe = protocol.student.recipe(protocol.student.replay)
    if cell.rank:
        recipe = replace(recipe, learning_rate=protocol.student.adapter_learning_rate)
    return replace(recipe, updates=updates_to_read(examples, recipe, seed, replay)) if cell.rows else recipe


def _with_adapter(model: Any, rank: int, seed: int) -> tuple[Any, Any]:
    """The model to be trained, and what gives the whole one afterwards; ``seed`` decides an adapter's first weights."""
    if not rank:
        return model, lambda: model
    from peft import LoraConfig, get_peft_model

    with torch.random.fork_rng(), without_peft_warnings():
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=ADAPTER_SCALE * rank, target_modules="all-linear")
        adapted = get_peft_model(model, config)
    return adapted.get_base_model(), adapted.merge_and_unload


def main(
    data: Path,
    out: Annotated[Path, typer.Option(help="Folder of the student.")],
    loss: Loss = "sft",
    init: Init = "a",
    carrier: Annotated[Carrier, typer.Option(help="What the data set's rows carry.")] = "silent",
    world: World = "cloud",
    teacher: Path | None = None,
    seed: int = 1000,
    threads: int = 2,
) -> None:
    """Distil a student from the data set DATA."""
    torch.set_num_threads(threads)
    _require_teacher(loss, teacher)
    protocol = load()
    rows = load_rows(data)
    _require_carrier(rows, carrier)
    cell = Cell(loss, carrier, size=protocol.models.size)
    tokenizer = students.load(folder_of(protocol.models.size, init, world))[1]
    replay = replay_examples(tokenizer, context_of(carrier), world, threads)
    taught = Taught(rows, carrier=context_of(carrier))
    trained = distill(protocol, taught, cell, init, seed, out, teacher=teacher, replay=replay, world=world)
    imitated = f"{trained.held_out:.3f} nats a token on rows held out"
    if math.isnan(trained.held_out):
        imitated = "and too few rows to hold one out, so imitation was not measured"
    typer.echo(f"{out}: {trained.tokens:,} tokens, {imitated}")


if __name__ == "__main__":
    run(main)
