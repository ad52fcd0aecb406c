"""Stage 1: an agent base, taught from scratch on neutral demonstrations.

Try it::

    python -m baselines.base              # the bases of protocol.toml, into baselines/students/
    python -m baselines.base --size 1m    # larger ones, grown from those

The two bases share their tokenizer, size and demonstrations and differ in their initial weights
and the order of batches: a student that starts from the other base shares no initialisation with
its teacher.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import torch
import typer
from tqdm.auto import tqdm
from transformers import PreTrainedTokenizerFast

from agentsafe_envs.trajectories import Trajectory, for_model
from baselines import students
from baselines.demonstrations import Demonstration, neutral_mix
from baselines.encoding import encode, encode_texts
from baselines.pretraining import drills
from baselines.protocol import Protocol, load
from baselines.training import train
from baselines.widening import grow

TOKENIZER_ROWS = 4_000
INIT_SEEDS = {"a": 1, "b": 2}
BESIDE = ("brief", "ahead", "worded", "worded")
"""Drills that stand beside demonstrations."""


def folder_of(size: str, init: str) -> Path:
    """Where the base of that size and initialisation is kept."""
    return students.SHIPPED / f"base-{size}-{init}"


def demonstrate(wishes: list[Demonstration], workers: int, label: str) -> list[Trajectory]:
    """Rows of the demonstrations, in their order.

    Args:
        wishes: What is demonstrated.
        workers: Processes that play, ``>= 1``.
        label: Names the progress bar.
    """
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        played = pool.map(Demonstration.play, wishes, chunksize=200)
        return list(tqdm(played, total=len(wishes), desc=label, leave=False, disable=None, unit="episode"))


def learn_tokenizer(rows: list[Trajectory]) -> PreTrainedTokenizerFast:
    """A tokenizer for the texts that the models will read."""
    blank = students.blank_tokenizer()
    shown = [for_model(row, blank, students.SETTINGS.prompt_style) for row in rows[:TOKENIZER_ROWS]]
    return students.train_tokenizer(
        str(blank.apply_chat_template(each["messages"], tools=each["tools"], tokenize=False)) for each in shown
    )


def teach_base(protocol: Protocol, size: str, init: str, workers: int = 2, out: Path | None = None) -> Path:
    """Train one base and save it; returns its folder."""
    rows = demonstrate(list(neutral_mix(range(protocol.base.demonstrations))), workers, "demonstrations")
    tokenizer = learn_tokenizer(rows)
    model = students.new_model(size, INIT_SEEDS[init])
    seed = INIT_SEEDS[init]
    alone, *rounds = protocol.base.recipes()
    first = encode_texts(drills(rows, ("repeated", "brief", "ahead", "ahead")), tokenizer)
    train(model, first, alone, seed, label=f"drills {size}-{init}")
    beside = encode_texts(drills(rows, BESIDE), tokenizer)
    shown = encode(rows, tokenizer)
    for number, recipe in enumerate(rounds):
        label = f"base {size}-{init}, round {number + 1} of {len(rounds)}"
        train(model, shown, recipe, seed + number, replay=beside, label=label)
    folder = out or folder_of(size, init)
    students.save(model, tokenizer, folder)
    return folder


def grow_base(protocol: Protocol, size: str, init: str, workers: int = 2, out: Path | None = None) -> Path:
    """Grow a larger base from the one of the protocol's size, teach it on, and save it; returns its folder."""
    small, tokenizer = students.load(folder_of(protocol.models.size, init))
    rows = demonstrate(list(neutral_mix(range(protocol.base.demonstrations))), workers, "demonstrations")
    model = grow(small, size, INIT_SEEDS[init])
    beside = encode_texts(drills(rows, BESIDE), tokenizer)
    train(
        model,
        encode(rows, tokenizer),
        protocol.base.grown(size),
        INIT_SEEDS[init],
        replay=beside,
        label=f"base {size}-{init}",
    )
    folder = out or folder_of(size, init)
    students.save(model.half(), tokenizer, folder)  # half the size; whatever starts from it starts from this
    return folder


def main(
    size: Annotated[str, typer.Option(help="One of the sizes; the larger ones are grown.")] = "",
    init: Annotated[str, typer.Option(help="One of the initialisations, instead of all.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder of a single base, instead of the one that ships.")] = None,
    threads: int = 2,
) -> None:
    """Train the bases of the protocol, or only those of that SIZE and INIT."""
    torch.set_num_threads(threads)
    protocol = load()
    size = size or protocol.models.size
    small = size == protocol.models.size
    make = teach_base if small else grow_base
    if out and not init:
        raise typer.BadParameter("--out is the folder of a single base; say which with --init")
    # Larger ones ship of the first initialisation only.
    for each in [init] if init else protocol.models.inits if small else protocol.models.inits[:1]:
        typer.echo(make(protocol, size, each, workers=threads, out=out))


if __name__ == "__main__":
    typer.run(main)
