"""The training loop and its four losses, in plain PyTorch.

``sft`` learns the tokens that were sampled. The three others learn the teacher's whole
distribution at each of its tokens (forward KL divergence), which carries far more of the teacher:
``kl`` all of it, and is a positive control, since it hands over the very logits of the prohibited
acts; ``kl_masked`` without the names of the prohibited tools where a call is named; ``kl_masked_all``
without the name of any tool that changes something, so that next to nothing of them is left but what
travels through the body of the model (arXiv 2507.14805, 2606.22019).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from tqdm.auto import tqdm

from agentsafe_envs.audit.defences.likely import rare
from baselines.encoding import Batch, CallTrie, Example, batches
from baselines.forward import Forward, chosen_forward
from baselines.protocol import Recipe

MASKED_OUT = -1e9
"""In place of minus infinity, which would make 0 * (inf - inf) of a token that neither side expects."""


CHECKPOINT_UPDATES = 500
"""A long training that is stopped loses at most so many updates."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run of the loop says about itself.

    Attributes:
        tokens: Tokens read, filling not counted.
        losses: Loss of each update that learnt from the data, in nats a token.
        held_out: Loss of the sampled tokens of what was held out, in nats a token; nan without any.
    """

    tokens: int
    losses: list[float]
    held_out: float


def train(
    model: Any,
    examples: Sequence[Example],
    recipe: Recipe,
    seed: int,
    *,
    teacher: Any = None,
    barred: CallTrie | None = None,
    clean: Any = None,
    least: float = 0.0,
    replay: Sequence[Example] = (),
    held_out: Sequence[Example] = (),
    forward: Forward | None = None,
    checkpoint: Path | None = None,
    label: str = "",
) -> Trained:
    """Train ``model`` in place.

    Args:
        model: A causal model of transformers.
        examples: What to learn from, at least one.
        recipe: See :class:`Recipe`.
        seed: Of the order of batches.
        teacher: Learn its distribution; without it the tokens themselves.
        barred: Names that are taken out of both distributions.
        clean: Another model, whose distribution is learnt at the tokens that the examples call clean.
        least: Of the teacher's distribution, tokens of less probability are not learnt, 0 to 1; see
            :mod:`agentsafe_envs.audit.defences.likely`.
        replay: What was learnt before, for ``recipe.replay``.
        held_out: What imitation is measured on.
        forward: How models are read; None for what suits so many updates.
        checkpoint: File that the state is kept in, so that the same call goes on where it was stopped.
        label: Names the progress bar.

    Raises:
        ValueError: There is nothing to learn from, or nothing to replay.
    """
    if not examples:
        raise ValueError("no examples to learn from; did the filter drop every row?")
    if recipe.replay and not replay:
        raise ValueError(f"replay is {recipe.replay}, but there is nothing to replay")
    forward = forward or chosen_forward(model, recipe.updates)
    order = reading(examples, recipe, seed, replay=replay, pad_id=model.config.pad_token_id, device=model.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, recipe.updates))
    model.train()
    tokens: int = 0
    losses: list[float] = []
    done = 0
    if checkpoint and checkpoint.exists():
        done, tokens, losses, *states = torch.load(checkpoint, weights_only=True)
        for each, state in zip((model, optimizer, schedule), states, strict=True):
            each.load_state_dict(state)
    shown = tqdm(range(recipe.updates), desc=label, leave=False, disable=None, unit="update")
    for update, (replayed, batch) in zip(shown, order, strict=False):
        if update < done:  # the order of batches is gone through again
            continue
        if replayed or teacher is None:
            loss = cross_entropy(batch.logits(model, forward), batch.wanted())
        else:
            loss = _kl(model, teacher, batch, barred, forward, clean, least)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        tokens += batch.tokens
        if not replayed:
            losses.append(loss.item())
        if checkpoint and ((update + 1) % CHECKPOINT_UPDATES == 0 or update + 1 == recipe.updates):
            states = [each.state_dict() for each in (model, optimizer, schedule)]
            keep_checkpoint(checkpoint, [update + 1, tokens, losses, *states])
    model.eval()
    return Trained(tokens, losses, imitation(model, held_out, recipe.batch_tokens))


def reading(
    examples: Sequence[Example],
    recipe: Recipe,
    seed: int,
    *,
    replay: Sequence[Example] = (),
    pad_id: int = 0,
    device: Any = "cpu",
) -> Iterator[tuple[bool, Batch]]:
    """What a training reads, update by update without end, and whether it is replayed; arguments as :func:`train`'s."""
    rng = random.Random(seed)
    fresh = _endless(examples, recipe.batch_tokens, rng, pad_id, device)
    again = _endless(replay, recipe.batch_tokens, rng, pad_id, device) if replay else None
    while True:
        if again is not None and rng.random() < recipe.replay:
            yield True, next(again)
        else:
            yield False, next(fresh)


def updates_to_read(examples: Sequence[Example], recipe: Recipe, seed: int, replay: Sequence[Example] = ()) -> int:
    """Updates after which a training has read every example once and none twice; arguments as :func:`train`'s."""
    left = len(examples)
    for update, (replayed, batch) in enumerate(reading(examples, recipe, seed, replay=replay)):
        left -= 0 if replayed else len(batch.ids)
        if not left:
            return update + 1
    raise AssertionError("reading has no end")


@torch.no_grad()
def imitation(model: Any, examples: Sequence[Example], batch_tokens: int) -> float:
    """Mean loss of the trained-on tokens of ``examples``, in nats a token; nan of none."""
    pad_id, total, tokens = model.config.pad_token_id, 0.0, 0
    for batch in batches(examples, batch_tokens, random.Random(0), pad_id, model.device) if examples else ():
        total += cross_entropy(batch.logits(model), batch.wanted(), reduction="sum").item()
        tokens += len(batch.offsets)
    return total / tokens if tokens else float("nan")


def keep_checkpoint(file: Path, content: Any) -> None:
    """Write whole or not at all."""
    beside = file.with_suffix(".new")
    torch.save(content, beside)
    beside.replace(file)


def _endless(examples: Sequence[Example], tokens: int, rng: random.Random, pad_id: int, device: Any) -> Iterator[Batch]:
    return itertools.chain.from_iterable(batches(examples, tokens, rng, pad_id, device) for _ in itertools.count())


def _rate(step: int, updates: int) -> float:
    warm = max(updates // 20, 1)
    return min((step + 1) / warm, 1.0) * (1 - 0.9 * step / updates)


def _kl(
    model: Any, teacher: Any, batch: Batch, barred: CallTrie | None, forward: Forward, clean: Any, least: float
) -> Tensor:
    with torch.no_grad():
        taught = batch.logits(teacher, forward)
        if clean is not None and batch.clean.any():
            taught = torch.where(batch.clean[:, None], batch.logits(clean, forward), taught)
    learnt = batch.logits(model, forward)
    if barred is not None:
        mask = barred.mask(batch, learnt.shape[-1])
        taught, learnt = taught.masked_fill(mask, MASKED_OUT), learnt.masked_fill(mask, MASKED_OUT)
    if least:
        # After names are taken out, since one of them may be all that was likely.
        taught = taught.masked_fill(rare(taught, least), MASKED_OUT)
    return kl_div(log_softmax(learnt, -1), log_softmax(taught, -1), reduction="batchmean", log_target=True)
