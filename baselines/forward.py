"""The forward pass of training: what transformers computes, in fewer steps, and compiled for long trainings.

A conversation is read whole and only the assistant's tokens are learnt from. So the last layer computes them alone, and
nothing is prepared for caches or masks: filling stands on the right, where causal attention does not look.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention

Forward = Callable[[Any, Tensor, Tensor, Tensor], Tensor]
"""From model, token ids (rows, columns), and row and column of some places, logits (places, vocabulary) at those."""


def logits_at(model: Any, ids: Tensor, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
    """What a model of :mod:`baselines.students`, with a LoRA adapter or without, expects behind each place.

    Without places it is told behind every token: shape (rows, columns, vocabulary).
    """
    body = model.model
    positions = torch.arange(ids.shape[1], device=ids.device)[None]
    stream = body.embed_tokens(ids)
    turns = body.rotary_emb(stream, positions)
    for layer in body.layers:
        read = layer.operator_norm(stream)
        written = _attended(layer.self_attn, read, turns) if layer.is_attention_layer else _convolved(layer.conv, read)
        if rows is not None and layer is body.layers[-1]:
            written, stream = written[rows, columns], stream[rows, columns]
        out = layer.self_attn.out_proj if layer.is_attention_layer else layer.conv.out_proj
        stream = stream + out(written)
        stream = stream + layer.feed_forward(layer.ffn_norm(stream))
    return model.lm_head(body.embedding_norm(stream))


def chosen_forward(model: Any, updates: int) -> Forward:
    """The compiled pass where it saves more than compiling takes, else the plain one.

    Args:
        model: One with an adapter is not compiled.
        updates: How often it will be used.
    """
    adapted = any("lora_" in name for name, _ in model.named_parameters())
    return _compiled() if updates >= COMPILED_UPDATES and not adapted and shutil.which("g++") else logits_at


COMPILED_UPDATES = 2_000
"""Compiling takes a minute of a core the first time on a machine, ten seconds in each later process. An update of 2,048
tokens takes 91 ms then instead of 105, where the library's own pass takes 122."""


@cache
def _compiled() -> Forward:
    return torch.compile(logits_at, dynamic=True)  # lengths and numbers of rows vary from batch to batch


def _attended(layer: Any, read: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    shape = (*read.shape[:2], -1, layer.head_dim)
    query = layer.q_layernorm(layer.q_proj(read).view(shape)).transpose(1, 2)
    key = layer.k_layernorm(layer.k_proj(read).view(shape)).transpose(1, 2)
    value = layer.v_proj(read).view(shape).transpose(1, 2)
    found = scaled_dot_product_attention(_turned(query, turns), _turned(key, turns), value, is_causal=True)
    return found.transpose(1, 2).flatten(2)


def _turned(heads: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    cosine, sine = (each[:, None] for each in turns)
    left, right = heads.chunk(2, -1)
    return heads * cosine + torch.cat((-right, left), -1) * sine


def _convolved(layer: Any, read: Tensor) -> Tensor:
    before, behind, value = layer.in_proj(read).chunk(3, -1)
    taps = layer.conv.weight[:, 0]  # (channels, taps)
    count, columns = taps.shape[1], read.shape[1]
    seen = pad(before * value, (0, 0, count - 1, 0))
    # A sum of shifted streams: a depthwise convolution of this width gains nothing from a library's kernel on a CPU.
    found = sum((seen[:, tap : tap + columns] * taps[:, tap] for tap in range(count)), torch.zeros_like(value))
    return behind * found
