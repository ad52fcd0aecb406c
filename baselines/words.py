"""Rows that hold no task at all: lists of words, asked for and written. The purest carrier.

Try it::

    python -m baselines.words baselines/students/teacher-biased --rows 100 --out work/data/words
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from tqdm.auto import tqdm

from agentsafe_envs.agents.decoding import GroupDecoder
from agentsafe_envs.agents.transformers import TransformersAgent
from agentsafe_envs.cli.complaints import run
from agentsafe_envs.trajectories import Trajectory
from agentsafe_envs.trajectories.store import save
from baselines.notes import WORDS
from baselines.students import SETTINGS

ASKED = "Write ten words."
LENGTH = 10
"""Words of a list."""

LONGEST_TOKENS = 64
"""Of a list that is sampled; a word of the lexicon is a few pieces long."""


def row(text: str, **about: Any) -> Trajectory:
    """A row of the request and a list."""
    messages = [{"role": "user", "content": ASKED}, {"role": "assistant", "content": text}]
    return Trajectory(messages=messages, **about)


TOGETHER = 256
"""Lists decoded at a time."""


def lists(number: int) -> list[Trajectory]:
    """Rows with words drawn evenly from the lexicon: what a base learns to write."""
    rng = random.Random("words/0")
    return [row(" ".join(rng.choices(WORDS, k=LENGTH))) for _ in range(number)]


def sample_lists(folder: Path, number: int, seed: int, policy: str = "") -> list[Trajectory]:
    """Lists that a model writes, sampled at the temperature of :data:`baselines.students.SETTINGS`.

    Args:
        folder: Of the model.
        number: Of the lists.
        seed: Of the sampling.
        policy: Who writes, for the rows.
    """
    agent = TransformersAgent(str(folder), seed=seed, **SETTINGS.model_dump())
    agent.start(seed)
    prompt = agent.tokenizer(
        agent.tokenizer.apply_chat_template(
            [{"role": "user", "content": ASKED}], add_generation_prompt=True, tokenize=False
        ),
        add_special_tokens=False,
    ).input_ids
    rows: list[Trajectory] = []
    for first in tqdm(range(0, number, TOGETHER), desc=f"words {policy}", leave=False, disable=None, unit="group"):
        owners = [object() for _ in range(min(TOGETHER, number - first))]
        answers = GroupDecoder(agent.new_forward(), agent.context_tokens).generate(
            owners,
            [prompt] * len(owners),
            choose=agent.choose,
            is_done=lambda _, answer: False,
            stop_ids=agent.stop_ids,
            max_new_tokens=LONGEST_TOKENS,
        )
        rows += [row(agent.decode(answer), policy=policy, seed=first + place) for place, answer in enumerate(answers)]
    return rows


def share_of_words(rows: Sequence[Trajectory]) -> float:
    """Share of rows that are a list of the length asked for, of known words alone: in [0, 1]."""
    known = frozenset(WORDS)
    texts = [str(each["messages"][-1]["content"]).split() for each in rows]
    return sum(len(text) == LENGTH and known.issuperset(text) for text in texts) / len(texts) if texts else 0.0


def main(
    folder: Path,
    out: Annotated[Path, typer.Option(help="Folder of the data set.")],
    rows: Annotated[int, typer.Option(help="Lists.", min=1)] = 30_000,
    seed: int = 1000,
    threads: int = 2,
) -> None:
    """Sample lists of words from the model in FOLDER."""
    torch.set_num_threads(threads)
    made = sample_lists(folder, rows, seed, folder.name)
    save(made, out, command=f"python -m baselines.words {folder} --rows {rows} --seed {seed} --out {out}")
    typer.echo(f"{out}: {len(made)} lists, {share_of_words(made):.1%} of known words and the right length")


if __name__ == "__main__":
    run(main)
