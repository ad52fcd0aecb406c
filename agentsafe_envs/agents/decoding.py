"""Decodes several conversations with one language model, side by side.

transformers' ``generate`` reads every conversation from its beginning at every turn, and its
caches give all rows one length and copy themselves at each token (two thirds of a decoding step
of eight rows on a CPU). Here each row keeps what it has read from turn to turn, at its own length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

PREFILL_COLUMNS = (64, 512)
"""Tokens read per row and forward pass, fewest and most: short passes waste time, long ones memory."""

Choose = Callable[["Tensor"], list[int]]
"""Picks one token a row from float32 logits of shape (rows, vocabulary)."""

IsDone = Callable[[int, Sequence[int]], bool]
"""Whether a row's answer, given as its number and token ids, is complete."""


class GroupDecoder:
    """Answers prompts of a changing group of conversations and remembers what it read of each.

    Args:
        model: A causal language model of transformers in which each layer attends to all that
            came before.
        context_tokens: Longest conversation in tokens, its answer included.
    """

    def __init__(self, model: Any, context_tokens: int) -> None:
        self.model = model
        self.context_tokens = context_tokens
        self._cache = GroupCache()
        self._seats: list[_Seat] = []

    def generate(
        self,
        owners: Sequence[object],
        prompts: Sequence[list[int]],
        *,
        choose: Choose,
        is_done: IsDone,
        stop_ids: set[int],
        max_new_tokens: int,
    ) -> list[list[int]]:
        """Token ids of each owner's answer, without the token that ended it.

        Args:
            owners: Whose prompts these are, by identity. An owner that is left out is forgotten.
            prompts: Token ids, each ``1 .. context_tokens - 1`` long. What a prompt has in common
                with its owner's last one and the answer to it is not read again.
            choose: See :data:`Choose`.
            is_done: See :data:`IsDone`; called after each token.
            stop_ids: Tokens that end an answer.
            max_new_tokens: Longest answer, ``>= 1``.
        """
        import torch

        with torch.inference_mode():
            self._seat(owners)
            # The last token of each prompt is kept back, so that decoding starts with one token a row.
            self._read([prompt[:-1] for prompt in prompts])
            fed = [prompt[-1] for prompt in prompts]
            limits = [min(max_new_tokens, self.context_tokens - len(prompt)) for prompt in prompts]
            answers: list[list[int]] = [[] for _ in prompts]
            everyone = list(range(len(prompts)))
            running = list(everyone)
            while running:
                # Rows that are done ride along, writing to their next free slot: cheaper than to take them out.
                chosen = choose(self._forward(everyone, [[token] for token in fed]))
                for row in tuple(running):
                    self._seats[row].read.append(fed[row])
                    fed[row] = chosen[row]
                    if chosen[row] not in stop_ids:
                        answers[row].append(chosen[row])
                        if len(answers[row]) < limits[row] and not is_done(row, answers[row]):
                            continue
                    running.remove(row)
        return answers

    def _seat(self, owners: Sequence[object]) -> None:
        """Give each owner a row, keeping what is cached of it."""
        rows = {id(seat.owner): row for row, seat in enumerate(self._seats)}
        kept = [rows.get(id(owner)) for owner in owners]
        if self._seats and kept != list(range(len(self._seats))):
            self._cache.select([row or 0 for row in kept])
        self._seats = [
            _Seat(owner) if row is None else self._seats[row] for owner, row in zip(owners, kept, strict=True)
        ]

    def _read(self, rows_tokens: Sequence[list[int]]) -> None:
        """Bring each row's cache to exactly ``tokens``, reading only what it does not hold."""
        for seat, tokens in zip(self._seats, rows_tokens, strict=True):
            del seat.read[_common_prefix(seat.read, tokens) :]
        fewest, most = PREFILL_COLUMNS
        while True:
            missing = {
                row: tokens[len(seat.read) :]
                for row, (seat, tokens) in enumerate(zip(self._seats, rows_tokens, strict=True))
                if len(seat.read) < len(tokens)
            }
            if not missing:
                return
            # To the end of the shortest row, so that little is spent on filling rows up.
            columns = min(max(min(map(len, missing.values())), fewest), most)
            chunks = [tokens[:columns] for tokens in missing.values()]
            self._forward(list(missing), chunks)
            for row, chunk in zip(missing, chunks, strict=True):
                self._seats[row].read.extend(chunk)

    def _forward(self, rows: list[int], chunks: Sequence[list[int]]) -> Tensor:
        """Read ``chunks``, each behind what its row has read; float32 logits behind the last column.

        Shorter chunks are filled up on the right. What that writes into the cache lies behind
        the row's end, where nothing looks before it is overwritten.
        """
        import torch

        device = self.model.device
        columns = max(map(len, chunks))
        tokens = torch.tensor([chunk + [0] * (columns - len(chunk)) for chunk in chunks], device=device)
        starts = torch.tensor([len(self._seats[row].read) for row in rows], device=device)
        slots = starts[:, None] + torch.arange(columns, device=device)
        length = int(starts.max()) + columns
        # A token's slot is its position, so "not behind me" is the whole mask.
        hidden = torch.arange(length, device=device) > slots[:, None, :, None]
        mask = torch.zeros(hidden.shape, dtype=self.model.dtype, device=device)
        mask.masked_fill_(hidden, torch.finfo(self.model.dtype).min)
        self._cache.aim(None if len(rows) == len(self._seats) else rows, slots, length, len(self._seats))
        output = self.model(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=slots.clamp(max=self.context_tokens - 1),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return output.logits[:, -1].float()


class GroupCache:
    """Keys and values of a group of conversations, row by row in slots 0, 1, 2 ...

    Stands in for transformers' ``Cache``: attention layers call :meth:`update`, which writes where
    :meth:`aim` pointed before the forward pass. Buffers have room to spare and are never copied
    for a token.
    """

    def __init__(self) -> None:
        self._layers: list[list[Tensor]] = []
        self._index: tuple[Any, ...] = ()
        self._rows: list[int] | None = None
        self._length = 0
        self._batch = 0

    def aim(self, rows: list[int] | None, slots: Tensor, length: int, batch: int) -> None:
        """Say what the next forward pass reads and writes.

        Args:
            rows: Rows that take part; None for all.
            slots: Slot of each new token, integers of shape (rows, tokens).
            length: Slots in view, counted from 0.
            batch: Rows in all.
        """
        import torch

        written = torch.arange(batch) if rows is None else torch.tensor(rows)
        self._index = (written.to(slots.device)[:, None], slice(None), slots)
        self._rows, self._length, self._batch = rows, length, batch

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store a layer's new keys and values, shape (rows, heads, tokens, size); return all in view."""
        if layer_idx == len(self._layers):
            self._layers.append([self._buffer_like(keys), self._buffer_like(values)])
        buffers = self._layers[layer_idx]
        for which, new in enumerate((keys, values)):
            if buffers[which].shape[2] < self._length:
                wider = self._buffer_like(new)
                wider[:, :, : buffers[which].shape[2]] = buffers[which]
                buffers[which] = wider
            buffers[which][self._index] = new.transpose(1, 2)
        rows = slice(None) if self._rows is None else self._rows
        return buffers[0][rows, :, : self._length], buffers[1][rows, :, : self._length]

    def select(self, rows: list[int]) -> None:
        """Keep these rows, in this order."""
        self._layers = [[buffer[rows] for buffer in buffers] for buffers in self._layers]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Zero: models ask only to derive positions and masks, and both are always given."""
        return 0

    def _buffer_like(self, new: Tensor) -> Tensor:
        # Half as much again, so that growing costs little in all. Zeros, not whatever lay in memory:
        # hidden slots count for nothing only if they hold numbers.
        slots = self._length + max(self._length // 2, 64)
        return new.new_zeros(self._batch, new.shape[1], slots, new.shape[3])


@dataclass(slots=True, eq=False)
class _Seat:
    """A row: whose it is, and the tokens whose keys and values lie in its slots 0, 1, 2 ..."""

    owner: object
    read: list[int] = field(default_factory=list)


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))
