"""Stage 1: an agent base, taught from scratch on neutral demonstrations.

Try it::

    python -m baselines.base                    # the bases of protocol.toml, into baselines/students/
    python -m baselines.base --size 1m          # larger ones, grown from those
    python -m baselines.base --world bash       # those of the Bash world
    python -m baselines.base --init a --start baselines/students/base-0.3m-a --out work/base   # teach one on

The bases of a world share their tokenizer, size and demonstrations and differ in their initial weights
and the order of batches: a student that starts from another base shares no initialisation with
its teacher. Half of the demonstrations carry notes next to their calls (:mod:`baselines.notes`), each
form of them asked for by the system message; and a base learns to write lists of words.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerFast

from agentsafe_envs.trajectories import Trajectory, for_model
from baselines import students
from baselines.encoding import Example, encode, encode_texts, role_of_row
from baselines.lessons import SUBJECTS, Demonstration, neutral_mix
from baselines.protocol import INITS, WORLDS, Init, Protocol, World, load
from baselines.training import Recipe, train
from baselines.widening import grow
from baselines.words import lists

TOKENIZER_ROWS = 4_000
INIT_SEEDS = {init: 1 + number for number, init in enumerate(INITS)}
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


def teach_base(
    protocol: Protocol,
    size: str,
    init: str,
    workers: int = 2,
    out: Path | None = None,
    world: World = "cloud",
    start: Path | None = None,
) -> Path:
    """Train one base and save it; returns its folder.

    Args:
        protocol: How much of everything.
        size: Of the base. One that is larger than the protocol's is grown from that, and is saved in half precision.
        init: Initialisation.
        workers: Processes that play demonstrations.
        out: Folder of the base, instead of the one that ships.
        world: What it works in.
        start: Teach this base on instead of a new one, for as long as one that was grown.
    """
    small = size == protocol.models.size
    rows = demonstrate(list(neutral_mix(range(protocol.base.demonstrations), WORLDS[world])), workers, "demonstrations")
    seed = INIT_SEEDS[init]
    if start is None and small:
        tokenizer = learn_tokenizer(rows)
        model = students.new_model(size, seed)
    else:
        model, tokenizer = students.load(start or folder_of(protocol.models.size, init, world))
        model = model if small else grow(model, size, seed)
    taught = lessons(rows, tokenizer, world)
    rounds: Sequence[Recipe] = [protocol.base.grown(size)]
    if start is None and small:
        alone, *rounds = protocol.base.recipes()
        train(model, taught.alone, alone, seed, label=f"drills {size}-{init}")
    for number, recipe in enumerate(rounds):
        label = f"base {size}-{init}, round {number + 1} of {len(rounds)}"
        train(model, taught.demonstrations, recipe, seed + number, replay=taught.beside, label=label)
    folder = out or folder_of(size, init, world)
    students.save(model, tokenizer, folder, half=not small)
    return folder


def main(
    size: Annotated[str, typer.Option(help="One of the sizes; the larger ones are grown.")] = "",
    init: Annotated[Init | None, typer.Option(help="One of the initialisations, instead of all.")] = None,
    world: Annotated[World, typer.Option(help="What the bases work in.")] = "cloud",
    start: Annotated[Path | None, typer.Option(help="A base that is there, to be taught on.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of a single base, instead of the one that ships.")] = None,
    threads: int = 2,
    quick: Annotated[bool, typer.Option("--quick", help="Little of everything: shows that it runs.")] = False,
) -> None:
    """Train the bases of the protocol, or only those of that SIZE and INIT."""
    torch.set_num_threads(threads)
    protocol = load().quick() if quick else load()
    size = size or protocol.models.size
    small = size == protocol.models.size
    if (out or start) and not init:
        raise typer.BadParameter("--out and --start are folders of a single base; say which with --init")
    if quick and not out:
        raise typer.BadParameter("--quick teaches next to nothing, so its base needs a folder of its own: --out")
    # Larger ones ship of the first initialisation only.
    for each in [init] if init else protocol.models.inits if small else protocol.models.inits[:1]:
        typer.echo(teach_base(protocol, size, each, workers=threads, out=out, world=world, start=start))


if __name__ == "__main__":
    typer.run(main)
