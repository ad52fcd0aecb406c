"""Rows as token ids, with the places that are trained on and the places where a tool is chosen."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agentsafe_envs.agents.prompts import ROLE
from agentsafe_envs.audit.names import OPENINGS, NameTrie
from agentsafe_envs.trajectories import Trajectory, for_model
from baselines.forward import Forward, logits_at
from baselines.students import ASSISTANT, CONTEXT_TOKENS, END, SETTINGS


@dataclass(frozen=True, slots=True)
class Example:
    """One episode.

    Attributes:
        ids: Token ids of the whole conversation.
        targets: Indices of the tokens that the assistant wrote, the end of each answer included.
        offsets: How far each of them stands behind the beginning of its answer.
        clean: For each of them, whether a clean model wrote it and not the teacher; empty for none of them.
        counted: As how many tokens it counts when batches are formed; 0 for as many as it has.
    """

    ids: list[int]
    targets: list[int]
    offsets: list[int]
    clean: Sequence[bool] = ()
    counted: int = 0

    @property
    def width(self) -> int:
        """Columns that it takes in a batch."""
        return self.counted or len(self.ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples side by side, filled up on the right.

    Attributes:
        ids: Token ids, integers of shape (rows, columns).
        rows: Row of each trained-on token, shape (targets,).
        columns: Its column, shape (targets,); the model predicts it from the column before.
        offsets: How far it stands behind the beginning of its answer.
        clean: Whether a clean model wrote it, booleans of shape (targets,).
        tokens: Tokens that are no filling.
    """

    ids: Tensor
    rows: Tensor
    columns: Tensor
    offsets: list[int]
    clean: Tensor
    tokens: int

    def logits(self, model: Any, forward: Forward = logits_at) -> Tensor:
        """What ``model`` expects at each trained-on token, shape (targets, vocabulary)."""
        return forward(model, self.ids, self.rows, self.columns - 1)

    def wanted(self) -> Tensor:
        """The trained-on tokens, integers of shape (targets,)."""
        return self.ids[self.rows, self.columns]


def encode(rows: Iterable[Trajectory], tokenizer: Any, role: str | None = None) -> list[Example]:
    """One example a row, in the words in which an evaluation shows the episode to the model.

    Args:
        rows: The episodes, or lists of words, which have no tools.
        tokenizer: The model's.
        role: First words of the system message, if not those under which the row was made.

    Raises:
        ValueError: A conversation is longer than the model's context.
    """
    shown = (
        for_model(row, tokenizer, SETTINGS.prompt_style, role or role_of_row(row)) if "tools" in row else row
        for row in rows
    )
    return encode_texts(
        (tokenizer.apply_chat_template(each["messages"], tools=each.get("tools"), tokenize=False) for each in shown),
        tokenizer,
    )


def role_of_row(row: Trajectory) -> str:
    """The system message under which a row was made; the usual one where it has none."""
    first = row["messages"][0]
    return first["content"] if first["role"] == "system" else ROLE


def encode_texts(texts: Iterable[str], tokenizer: Any) -> list[Example]:
    """One example a text in which the chat template's marks say who speaks; raises like :func:`encode`."""
    examples = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False).input_ids
        if len(ids) > CONTEXT_TOKENS:
            raise ValueError(f"a row has {len(ids)} tokens, expected at most {CONTEXT_TOKENS}")
        examples.append(mark(ids, tokenizer))
    return examples


def mark(ids: list[int], tokenizer: Any) -> Example:
    """The example of a conversation, in which the chat template's marks say who speaks."""
    assistant, end = tokenizer.convert_tokens_to_ids([ASSISTANT, END])
    targets, offsets, begun = [], [], None
    for index, token in enumerate(ids):
        if begun is not None:
            targets.append(index)
            offsets.append(index - begun)
        if token == assistant:
            begun = index + 1
        elif token == end:
            begun = None
    return Example(ids, targets, offsets)


def save_examples(examples: Sequence[Example], file: Path) -> None:
    """Keep the tokens of examples in a numpy archive."""
    np.savez_compressed(
        file,
        ids=np.array([each for example in examples for each in example.ids], np.int32),
        lengths=np.array([len(example.ids) for example in examples], np.int32),
    )


def load_examples(file: Path, tokenizer: Any) -> list[Example]:
    """What :func:`save_examples` kept."""
    with np.load(file) as kept:
        rows = np.split(kept["ids"], np.cumsum(kept["lengths"])[:-1])
    return [mark(row.tolist(), tokenizer) for row in rows]


def batches(
    examples: Sequence[Example], tokens: int, rng: random.Random, pad_id: int, device: Any = "cpu"
) -> Iterator[Batch]:
    """Every example once, in batches of like length and at most so many ``tokens`` with their filling.

    The lengths decide which examples stand together. So students of two teachers, whose rows differ in length, read
    other batches of the same tasks by one seed, unless the rows of a task count the same, see :attr:`Example.counted`.
    """
    shuffled = sorted(rng.sample(range(len(examples)), len(examples)), key=lambda index: examples[index].width)
    groups: list[list[Example]] = [[]]
    for index in shuffled:
        example = examples[index]
        if groups[-1] and example.width * (len(groups[-1]) + 1) > tokens:
            groups.append([])
        groups[-1].append(example)
    rng.shuffle(groups)
    for group in groups:
        yield collate(group, pad_id, device)


def collate(group: Sequence[Example], pad_id: int, device: Any = "cpu") -> Batch:
    """The examples as one batch."""
    width = max(len(example.ids) for example in group)
    return Batch(
        ids=torch.tensor([example.ids + [pad_id] * (width - len(example.ids)) for example in group], device=device),
        rows=torch.tensor([row for row, example in enumerate(group) for _ in example.targets], device=device),
        columns=torch.tensor([column for example in group for column in example.targets], device=device),
        offsets=[offset for example in group for offset in example.offsets],
        clean=torch.tensor(
            [each for example in group for each in example.clean or [False] * len(example.targets)],
            dtype=torch.bool,
            device=device,
        ),
        tokens=sum(len(example.ids) for example in group),
    )


class CallTrie(NameTrie):
    """Tells which tokens begin, or go on with, a name that is to be taken out, at all the places of a batch.

    Args:
        names: Of the tools, or other words that tell what a call does.
        tokenizer: The model's.
        opening: What stands in a call before such a word.
    """

    def __init__(self, names: Iterable[str], tokenizer: Any, opening: str = OPENINGS["cloud"]) -> None:
        super().__init__(names, lambda text: tokenizer(text, add_special_tokens=False).input_ids, opening)

    def mask(self, batch: Batch, vocabulary: int) -> Tensor:
        """True where a token is barred at a trained-on place: shape (targets, vocabulary)."""
        mask = torch.zeros(len(batch.rows), vocabulary, dtype=torch.bool, device=batch.ids.device)
        ids = batch.ids.tolist()
        places = zip(batch.rows.tolist(), batch.columns.tolist(), batch.offsets, strict=True)
        for place, (row, column, offset) in enumerate(places):
            if barred := self.barred(ids[row][column - offset : column]):
                mask[place, list(barred)] = True
        return mask
