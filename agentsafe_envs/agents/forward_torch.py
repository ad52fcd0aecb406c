"""The forward pass of any causal language model of transformers, for :mod:`agentsafe_envs.agents.decoding`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

CONVOLUTION = "conv"
"""What transformers calls a layer that looks at the last few tokens only."""

GROUPED_ATTENTION = "agentsafe_grouped"
"""Name under which transformers finds :func:`grouped_attention` once :func:`register_attention` ran."""


class TransformersForward:
    """A :class:`agentsafe_envs.agents.decoding.ForwardPass` through torch.

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

    def read(self, rows: Sequence[int], starts: Sequence[int], chunks: Sequence[list[int]], batch: int) -> Tensor:
        """Read ``chunks`` and return logits behind the last column.

        Shorter chunks are filled up on the right. What that writes into the cache lies behind
        the row's end, where nothing looks before it is overwritten.
        """
        import torch

        device = self.model.device
        columns = max(map(len, chunks))
        with torch.inference_mode():
            tokens = torch.tensor([chunk + [0] * (columns - len(chunk)) for chunk in chunks], device=device)
            slots = torch.tensor(starts, device=device)[:, None] + torch.arange(columns, device=device)
            length = max(starts) + columns
            # A token's slot is its position, so "not behind me" is the whole mask.
            hidden = torch.arange(length, device=device) > slots[:, None, :, None]
            mask = torch.zeros(hidden.shape, dtype=self.model.dtype, device=device)
            mask.masked_fill_(hidden, torch.finfo(self.model.dtype).min)
            self._cache.aim(rows, slots, length, batch)
            output = self.model(
                input_ids=tokens,
                attention_mask={"full_attention": mask, CONVOLUTION: None} if self._convolves else mask,
                position_ids=slots.clamp(max=self.context_tokens - 1),
                use_cache=True,
                logits_to_keep=1,
                **{self._cache_argument: self._cache},
            )
            return output.logits[:, -1].float()

    def select(self, rows: Sequence[int | None]) -> None:
        """Keep these rows, in this order; None is a new one."""
        import torch

        with torch.inference_mode():
            self._cache.select([row or 0 for row in rows])  # what a new row holds is overwritten before it is looked at

    def swap(self, row: int, other: int) -> None:
        """Let two rows change places."""
        import torch

        with torch.inference_mode():
            self._cache.swap(row, other)


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
