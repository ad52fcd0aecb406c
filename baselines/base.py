"""Stage 1: an agent base, taught from scratch on neutral demonstrations.

Try it::

    python -m baselines.base                    # the bases of protocol.toml, into baselines/students/
    python -m baselines.base --size 1m          # larger ones, grown from those
    python -m baselines.base --world bash       # those of the Bash world

The bases of a world share their tokenizer, size and demonstrations and differ in their initial weights
and the order of batches: a student that starts from another base shares no initialisation with
its teacher. Half of the demonstrations carry notes next to their calls (:mod:`baselines.notes`), each
form of them asked for by the system message; and a base learns to write lists of words.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerFast

from agentsafe_envs.agents.identity import identity
from agentsafe_envs.cli.complaints import run
from agentsafe_envs.trajectories import Trajectory, for_model
from baselines import students
from baselines.encoding import Example, encode, encode_texts, load_examples, role_of_row, save_examples
from baselines.lessons import SUBJECTS, Demonstration, neutral_mix
from baselines.protocol import WORLDS, Init, Protocol, World, load
from baselines.training import train
from baselines.widening import grow
from baselines.words import lists

TOKENIZER_ROWS = 4_000
INIT_SEEDS: dict[World, dict[Init, int]] = {
    "cloud": {"a": 1, "b": 2, "c": 4},
    "bash": {"a": 2, "b": 5, "c": 4},
}
"""Of the weights. Bases of other seeds learnt the same and missed a promise, before any chain was run on them.

In the cloud, where 90% of the safe tasks are promised, seed 3 stayed at 48%, and seed 5 at 33 to 48% before its last
round (n = 48 each). In Bash, seed 1 acted in 75% of the open public tasks (n = 48), where 95% are promised; seed 2 in
96%.
"""

ALONE = ("repeated", "brief", "ahead", "ahead")
"""Drills that come before demonstrations."""

BESIDE = ("brief", "ahead", "worded", "worded")
"""Drills that stand beside demonstrations."""

LISTS = 0.2
"""Lists of words beside the demonstrations, as a share of these drills."""


def folder_of(size: str, init: str, world: World = "cloud") -> Path:
    """Where the base of that size, initialisation and world is kept."""
    return students.SHIPPED / f"base-{size}-{init}{'' if world == 'cloud' else f'-{world}'}"


def demonstrate(wishes: list[Demonstration], workers: int, label: str) -> list[Trajectory]:
    """Rows of the demonstrations, in their order.

    Args:
        wishes: What is demonstrated.
        workers: Processes that play, ``>= 1``; one is this process, since another takes seconds to start.
        label: Names the progress bar.
    """
    if workers == 1:
        return [each.play() for each in tqdm(wishes, desc=label, leave=False, disable=None, unit="episode")]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        played = pool.map(Demonstration.play, wishes, chunksize=200)
        return list(tqdm(played, total=len(wishes), desc=label, leave=False, disable=None, unit="episode"))


def learn_tokenizer(rows: list[Trajectory]) -> PreTrainedTokenizerFast:
    """A tokenizer for the texts that the models will read."""
    blank = students.blank_tokenizer()
    shown = [for_model(row, blank, students.SETTINGS.prompt_style, role_of_row(row)) for row in rows[:TOKENIZER_ROWS]]
    return students.train_tokenizer(
        str(blank.apply_chat_template(each["messages"], tools=each["tools"], tokenize=False)) for each in shown
    )


class Lessons(NamedTuple):
    """What a base is taught.

    Attributes:
        demonstrations: Played ones.
        alone: Drills that come first.
        beside: Drills and lists of words that stand beside the demonstrations.
    """

    demonstrations: list[Example]
    alone: list[Example]
    beside: list[Example]


def lessons(rows: list[Trajectory], tokenizer: Any, world: World) -> Lessons:
    """What the demonstrations teach, as tokens."""
    drills = SUBJECTS[WORLDS[world]].drills
    beside = encode_texts(drills(rows, BESIDE), tokenizer)
    return Lessons(
        encode(rows, tokenizer),
        encode_texts(drills(rows, ALONE), tokenizer),
        beside + encode(lists(round(LISTS / (1 - LISTS) * len(beside))), tokenizer),
    )


def prepare(protocol: Protocol, world: World, keep: Path, workers: int) -> Path:
    """Play the demonstrations of a world, unless ``keep`` holds them; all bases of the world learn from them.

    Args:
        protocol: How many.
        world: What they are played in.
        keep: Folder of what is under way.
        workers: Processes that play.

    Returns:
        The folder of the lessons and of the tokenizer that they are written with.
    """
    folder = keep / f"lessons-{world}-{protocol.base.demonstrations}"
    if not folder.is_dir():
        wishes = list(neutral_mix(range(protocol.base.demonstrations), WORLDS[world]))
        rows = demonstrate(wishes, workers, "demonstrations")
        tokenizer = learn_tokenizer(rows)
        unfinished = folder.with_suffix(".new")
        tokenizer.save_pretrained(unfinished)
        for name, examples in lessons(rows, tokenizer, world)._asdict().items():
            save_examples(examples, unfinished / f"{name}.npz")
        unfinished.rename(folder)
    return folder


def teach_base(
    protocol: Protocol,
    size: str,
    init: Init,
    *,
    prepared: Path,
    keep: Path,
    out: Path | None = None,
    world: World = "cloud",
) -> Path:
    """Train one base and save it; returns its folder.

    Args:
        protocol: How much of everything.
        size: Of the base. One that is larger than the protocol's is grown from that.
        init: Initialisation.
        prepared: Of :func:`prepare`.
        keep: Folder of what is under way; the same call goes on from there.
        out: Folder of the base, instead of the one that ships.
        world: What it works in.

    Raises:
        ValueError: The base that it grows out of writes other tokens than the lessons.
    """
    torch.set_num_threads(1)
    small = size == protocol.models.size
    tokenizer = PreTrainedTokenizerFast.from_pretrained(prepared)
    taught = Lessons(*(load_examples(prepared / f"{name}.npz", tokenizer) for name in Lessons._fields))
    seed = INIT_SEEDS[world][init]
    stage = partial(_stage, keep / f"{folder_of(size, init, world).name}-{_settled(protocol, size, seed, prepared)}")
    if small:
        model = students.new_model(size, seed)
        train(
            model, taught.alone, protocol.base.drills(), seed, checkpoint=stage("drills"), label=f"drills {size}-{init}"
        )
    else:
        first = folder_of(protocol.models.size, init, world)
        model, own = students.load(first)
        if own.get_vocab() != tokenizer.get_vocab():
            raise ValueError(f"{first} writes other tokens than the lessons in {prepared}: teach the small bases first")
        model = grow(model, size, seed)
    rounds = protocol.base.lessons(size, world, grown=not small)
    for number, recipe in enumerate(rounds):
        if small and world in protocol.base.last.worlds and number == len(rounds) - 1:
            model.half().float()  # as weights ship: a base that shipped before this round learns it alike
        train(
            model,
            taught.demonstrations,
            recipe,
            seed + number,
            replay=taught.beside,
            checkpoint=stage(f"round-{number + 1}"),
            label=f"base {size}-{init}, round {number + 1} of {len(rounds)}",
        )
    folder = out or folder_of(size, init, world)
    students.save(model, tokenizer, folder)
    return folder


def _settled(protocol: Protocol, size: str, seed: int, prepared: Path) -> str:
    """What decides a base, in a few digits: one that was begun otherwise is not gone on with."""
    knobs = protocol.base.model_dump(mode="json")
    lessons_learnt = {file.name: file for file in prepared.iterdir()}
    return identity(lessons_learnt, knobs=knobs, small=protocol.models.size, size=size, seed=seed)[:8]


def _stage(base: Path, stage: str) -> Path:
    base.mkdir(parents=True, exist_ok=True)
    return base / f"{stage}.pt"


def main(
    size: Annotated[str, typer.Option(help="One of the sizes; the larger ones are grown.")] = "",
    init: Annotated[Init | None, typer.Option(help="One of the initialisations, instead of all.")] = None,
    world: Annotated[World, typer.Option(help="What the bases work in.")] = "cloud",
    out: Annotated[Path | None, typer.Option(help="Folder of a single base, instead of the one that ships.")] = None,
    keep: Annotated[Path, typer.Option(help="What is under way; the same command goes on from it.")] = Path(
        "work/bases"
    ),
    workers: Annotated[int, typer.Option(min=1, help="Bases taught at a time, each on one core.")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="Little of everything: shows that it runs.")] = False,
) -> None:
    """Train the bases of the protocol, or only those of that SIZE and INIT; it goes on where it was stopped."""
    protocol = load().quick() if quick else load()
    size = size or protocol.models.size
    small = size == protocol.models.size
    if out and not init:
        raise typer.BadParameter("--out is the folder of a single base; say which with --init")
    if quick and not out:
        raise typer.BadParameter("--quick teaches next to nothing, so its base needs a folder of its own: --out")
    # Larger ones ship of the first initialisation only.
    wanted: list[Init] = [init] if init else list(protocol.models.inits if small else protocol.models.inits[:1])
    prepared = prepare(protocol, world, keep, workers)
    teach = partial(teach_base, protocol, size, prepared=prepared, keep=keep, out=out, world=world)
    if len(wanted) == 1:
        typer.echo(teach(wanted[0]))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for folder in pool.map(teach, wanted):
            typer.echo(folder)


if __name__ == "__main__":
    run(main)
