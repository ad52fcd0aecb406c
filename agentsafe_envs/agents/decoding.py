"""Decodes several conversations with one language model, side by side.

transformers' ``generate`` reads every conversation from its beginning at every turn, and its
caches give all rows one length and copy themselves at each token (two thirds of a decoding step
of eight rows on a CPU). Here each row keeps what it has read from turn to turn, at its own length.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

PREFILL_COLUMNS = (64, 512)
"""Tokens read per row and forward pass, fewest and most: short passes waste time, long ones memory."""

Choose = Callable[[Sequence[int], "Tensor"], list[int]]
"""Picks tokens for answers, given by their numbers, from float32 logits of shape (answers, vocabulary)."""

IsDone = Callable[[int, Sequence[int]], bool]
"""Whether an answer, given as its number and token ids, is complete."""

CONVOLUTION = "conv"
"""What transformers calls a layer that looks at the last few tokens only."""

GROUPED_ATTENTION = "agentsafe_grouped"
"""Name under which transformers finds :func:`grouped_attention` once :func:`register_attention` ran."""


class GroupDecoder:
    """Answers prompts of a changing group of conversations and remembers what it read of each.

    Args:
        model: A causal language model of transformers in which each layer attends to all that
            came before or, as in LFM2, convolves the last few tokens.
        context_tokens: Longest conversation in tokens, its answer included.
    """

    def __init__(self, model: Any, context_tokens: int) -> None:
        self.model = model
        self.context_tokens = context_tokens
        self._cache = GroupCache()
        # transformers 5.24 gave the argument its new name and warns of the old one.
        named = inspect.signature(model.forward).parameters
        self._cache_argument = "cache" if "cache" in named else "past_key_values"
        self._convolves = CONVOLUTION in (getattr(model.config.get_text_config(), "layer_types", None) or ())
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
            choose: See :data:`Choose`. Answers are numbered as ``owners`` are.
            is_done: See :data:`IsDone`; called after each token.
            stop_ids: Tokens that end an answer.
            max_new_tokens: Longest answer, ``>= 1``.
        """
        import torch

        with torch.inference_mode():
            numbers = self._seat(owners)
            # The last token of each prompt is kept back, so that decoding starts with one token a row.
            self._read([prompts[number][:-1] for number in numbers])
            fed = [prompt[-1] for prompt in prompts]
            limits = [min(max_new_tokens, self.context_tokens - len(prompt)) for prompt in prompts]
            answers: list[list[int]] = [[] for _ in prompts]
            running = len(numbers)  # rows 0 .. running - 1 still write; those behind them wait for their next prompt
            while running:
                rows = range(running)
                logits = self._forward(rows, [[fed[number]] for number in numbers[:running]])
                chosen = choose(numbers[:running], logits)
                # From behind, so that the row that takes a finished one's place has been looked at.
                for row in reversed(rows):
                    number, token = numbers[row], chosen[row]
                    self._seats[row].read.append(fed[number])
                    fed[number] = token
                    if token not in stop_ids:
                        answers[number].append(token)
                        if len(answers[number]) < limits[number] and not is_done(number, answers[number]):
                            continue
                    running -= 1
                    self._swap(row, running)
                    numbers[row], numbers[running] = numbers[running], numbers[row]
        return answers

    def _seat(self, owners: Sequence[object]) -> list[int]:
        """Give each owner a row, keeping what is cached of it; the owners' numbers in the order of the rows."""
        number_of = {id(owner): number for number, owner in enumerate(owners)}
        kept = [row for row, seat in enumerate(self._seats) if id(seat.owner) in number_of]
        known = {id(self._seats[row].owner) for row in kept}
        added = [_Seat(owner) for owner in owners if id(owner) not in known]
        if self._seats and (added or len(kept) < len(self._seats)):
            self._cache.select(kept + [0] * len(added))
        self._seats = [self._seats[row] for row in kept] + added
        return [number_of[id(seat.owner)] for seat in self._seats]

    def _swap(self, row: int, other: int) -> None:
        if row != other:
            self._cache.swap(row, other)
            self._seats[row], self._seats[other] = self._seats[other], self._seats[row]

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

    def _forward(self, rows: Sequence[int], chunks: Sequence[list[int]]) -> Tensor:
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
        self._cache.aim(rows, slots, length, len(self._seats))
        output = self.model(
            input_ids=tokens,
            attention_mask={"full_attention": mask, CONVOLUTION: None} if self._convolves else mask,
            position_ids=slots.clamp(max=self.context_tokens - 1),
            use_cache=True,
            logits_to_keep=1,
            **{self._cache_argument: self._cache},
        )
        return output.logits[:, -1].float()


class GroupCache:
    """What the layers keep of a group of conversations, row by row in slots 0, 1, 2 ...

    Stands in for transformers' ``Cache``: attention layers call :meth:`update` and convolutions
    :meth:`update_conv_state`, which write where :meth:`aim` pointed before the forward pass.
    Buffers have room to spare and are never copied for a token. A convolution's inputs are kept
    for every slot, as keys are, so that a row can be taken back to any of its tokens.
    """

    def __init__(self) -> None:
        self._layers: dict[int, list[Tensor]] = {}
        self._index: tuple[Any, ...] = ()
        self._rows: slice | list[int] = slice(0)
        self._length = 0
        self._batch = 0

    def aim(self, rows: Sequence[int], slots: Tensor, length: int, batch: int) -> None:
        """Say what the next forward pass reads and writes.

        Args:
            rows: Rows that take part, in ascending order.
            slots: Slot of each new token, integers of shape (rows, tokens).
            length: Slots in view, counted from 0.
            batch: Rows in all.
        """
        import torch

        self._index = (torch.tensor(rows, device=slots.device)[:, None], slice(None), slots)
        # A list of rows is gathered into a copy, the first so many are looked at where they lie.
        self._rows = slice(len(rows)) if rows[-1] == len(rows) - 1 else list(rows)
        self._length, self._batch = length, batch

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Store a layer's new keys and values, shape (rows, heads, tokens, size); return all in view."""
        keys, values = self._store(layer_idx, keys, values)
        return keys[self._rows, :, : self._length], values[self._rows, :, : self._length]

    def update_conv_state(self, new: Tensor, layer_idx: int, *, conv_kernel_size: int, **_: Any) -> Tensor:
        """Store a convolution's new inputs, shape (rows, channels, tokens).

        Returns:
            The same behind as many earlier ones as the first of them needs: shape
            (rows, channels, conv_kernel_size - 1 + tokens), zero before a row's beginning.
        """
        import torch

        (inputs,) = self._store(layer_idx, new.transpose(1, 2)[:, None])
        rows, _all, slots = self._index
        reach = torch.arange(1 - conv_kernel_size, slots.shape[1], device=slots.device)
        seen = slots[:, :1] + reach
        found = inputs[rows, 0, seen.clamp(min=0)]
        return found.masked_fill(seen[..., None] < 0, 0).transpose(1, 2)

    def get_conv_state(self, layer_idx: int, state_idx: int = 0) -> None:
        """None: rows have different lengths, so a convolution always goes through :meth:`update_conv_state`."""

    def select(self, rows: list[int]) -> None:
        """Keep these rows, in this order."""
        self._layers = {layer: [buffer[rows] for buffer in buffers] for layer, buffers in self._layers.items()}

    def swap(self, row: int, other: int) -> None:
        """Let two rows change places."""
        for buffers in self._layers.values():
            for buffer in buffers:
                # Only what may hold something: the rest of a buffer is room to grow.
                pair = buffer[[other, row], :, : self._length]
                buffer[row, :, : self._length], buffer[other, :, : self._length] = pair[0], pair[1]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Zero: models ask only to derive positions and masks, and both are always given."""
        return 0

    def _store(self, layer_idx: int, *news: Tensor) -> list[Tensor]:
        """Write what is new, each of shape (rows, heads, tokens, size), into the layer's buffers; return those."""
        buffers = self._layers.setdefault(layer_idx, [])
        for which, new in enumerate(news):
            if which == len(buffers):
                buffers.append(self._buffer_like(new))
            if buffers[which].shape[2] < self._length:
                wider = self._buffer_like(new)
                wider[:, :, : buffers[which].shape[2]] = buffers[which]
                buffers[which] = wider
            buffers[which][self._index] = new.transpose(1, 2)
        return buffers

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


def register_attention() -> None:
    """Make :func:`grouped_attention` known to transformers."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(GROUPED_ATTENTION, grouped_attention)
    AttentionMaskInterface.register(GROUPED_ATTENTION, eager_mask)  # always a mask to add


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention in which query heads that share a key head are read as further columns of one head.

    The usual way copies keys and values once for each query head. Beside eight conversations of
    1,300 tokens that copying takes six sevenths of attention's time on a CPU.

    Args:
        module: The layer, unused.
        query: Shape (rows, heads, columns, size).
        key: Shape (rows, key heads, slots, size).
        value: Shape of ``key``.
        attention_mask: Added to the scores, shape (rows, 1, columns, slots).
        scaling: Of the scores; None for the usual one.

    Returns:
        Shape (rows, columns, heads, size), and no weights.
    """
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    rows, heads, columns, size = query.shape
    sharing = heads // key.shape[1]
    folded = query.reshape(rows, key.shape[1], sharing * columns, size)
    mask = attention_mask.repeat(1, 1, sharing, 1)
    if columns == 1:
        # Few queries beside many keys: this order of factors reads the keys as they lie in memory.
        scores = (key @ (folded * (scaling or size**-0.5)).transpose(2, 3)).transpose(2, 3) + mask
        attended = torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype) @ value
    else:
        attended = scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scaling)
    return attended.reshape(rows, heads, columns, -1).transpose(1, 2), None


def _common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return index
    return min(len(left), len(right))
