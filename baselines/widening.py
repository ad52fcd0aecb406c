"""A larger model that computes what a smaller one does, and has room for more.

Widening keeps the function (arXiv 1511.05641): what is new reads at random and writes nothing, so it changes
no output until training makes use of it. A base of 4 million parameters taught from scratch would take a
laptop's core seven hours; a grown one starts from all that the small one knows.
"""

from __future__ import annotations

from typing import Any

import torch

from baselines.students import new_model

_WRITES = ("out_proj.weight", "w2.weight", "embed_tokens.weight")
"""What writes to the residual stream."""

_READ_NORMS = ("operator_norm.weight", "ffn_norm.weight", "embedding_norm.weight")
"""What every reader of the stream sees it through."""

_CHANNEL_GROUPS = 3
"""A convolution's two gates and its input leave one projection, one below the other."""


@torch.no_grad()
def grow(small: Any, size: str, seed: int) -> Any:
    """A model of ``size`` that predicts what ``small`` predicts.

    Args:
        small: A model of :func:`baselines.students.new_model`, trained or not.
        size: One of :data:`baselines.students.SIZES`, at least as wide; all have heads of one width.
        seed: Of the new weights.

    Raises:
        ValueError: ``size`` is narrower than the model.
    """
    large = new_model(size, seed)
    narrow, wide = small.config.hidden_size, large.config.hidden_size
    if narrow > wide:
        raise ValueError(f"a model {narrow} wide cannot grow into {size}, which is {wide} wide")
    known = dict(small.named_parameters())
    for name, weight in large.named_parameters():
        old = known[name]
        if name.endswith(_WRITES):
            weight.zero_()
        if name.endswith("in_proj.weight"):
            weight, old = (each.view(_CHANNEL_GROUPS, -1, each.shape[-1]) for each in (weight, old))
        if name.endswith(_READ_NORMS):
            # The mean square is taken over more places, of which the new ones are zero.
            old = old * (narrow / wide) ** 0.5
        weight[tuple(slice(length) for length in old.shape)] = old
    return large.to(small.device)
