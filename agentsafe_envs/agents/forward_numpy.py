"""The forward pass of small LFM2 models in numpy: students are scored without torch.

Each row has arrays of its own and is read at its own length, so nothing is filled up or masked
beyond the order of its tokens. Logits equal those of transformers but for the last bits of a float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_Piece = tuple[list[Floats], int, slice]
"""What a row keeps, where it is read on from, and where its tokens lie among those of all rows."""

NEEDS = {"model_type": "lfm2", "conv_bias": False, "block_auto_adjust_ff_dim": False, "tie_word_embeddings": True}
"""What must stand in a model's ``config.json``; of other models this module knows nothing."""


class Lfm2Forward:
    """A :class:`agentsafe_envs.agents.decoding.ForwardPass` through numpy.

    Args:
        config: The model's ``config.json``, which has what :data:`NEEDS` lists.
        weights: By transformers' names, float32.
    """

    def __init__(self, config: Mapping[str, Any], weights: Mapping[str, Floats]) -> None:
        self.config, self.weights = config, weights
        self.heads: int = config["num_attention_heads"]
        self.width: int = config["hidden_size"]
        self.size = self.width // self.heads
        self.kernel: int = config["conv_L_cache"]
        theta = np.float32(config["rope_parameters"]["rope_theta"])
        self.frequencies = 1 / theta ** (np.arange(0, self.size, 2, dtype=np.float32) / self.size)
        self._rows: list[list[Floats]] = []
        tokens = config["max_position_embeddings"]
        self._later = np.triu(np.full((tokens, tokens), -np.inf, np.float32), 1)  # what a token may not look at

    def read(self, rows: Sequence[int], starts: Sequence[int], chunks: Sequence[list[int]], batch: int) -> Floats:
        """Read ``chunks``, each from its start; logits behind the last token of each, shape (rows, vocabulary)."""
        self._rows += [self._new_row() for _ in range(batch - len(self._rows))]
        ends = np.cumsum([len(chunk) for chunk in chunks])
        pieces = [
            (self._rows[row], start, slice(end - len(chunk), end))
            for row, start, chunk, end in zip(rows, starts, chunks, ends, strict=True)
        ]
        # Tokens of all rows lie one behind the other; only attention and convolution tell rows apart.
        positions = np.concatenate([np.arange(start, start + each.stop - each.start) for _, start, each in pieces])
        angles = positions[:, None, None].astype(np.float32) * self.frequencies
        turn = np.cos(angles), np.sin(angles)
        stream = self.weights["model.embed_tokens.weight"][np.concatenate(chunks)]
        for number, kind in enumerate(self.config["layer_types"]):
            name = f"model.layers.{number}."
            inputs = self._norm(stream, name + "operator_norm")
            if kind == "conv":
                stream = stream + self._convolve(name + "conv.", number, inputs, pieces)
            else:
                stream = stream + self._attend(name + "self_attn.", number, inputs, pieces, turn)
            inputs = self._norm(stream, name + "ffn_norm")
            gate = self._linear(inputs, name + "feed_forward.w1")
            silu = gate * (0.5 + 0.5 * np.tanh(0.5 * gate))  # the same as gate / (1 + exp(-gate)), and never overflows
            inner = silu * self._linear(inputs, name + "feed_forward.w3")
            stream = stream + self._linear(inner, name + "feed_forward.w2")
        return self._linear(self._norm(stream[ends - 1], "model.embedding_norm"), "model.embed_tokens")

    def select(self, rows: Sequence[int | None]) -> None:
        """Keep these rows, in this order; None is a new one."""
        self._rows = [self._new_row() if row is None else self._rows[row] for row in rows]

    def swap(self, row: int, other: int) -> None:
        """Let two rows change places."""
        self._rows[row], self._rows[other] = self._rows[other], self._rows[row]

    def _new_row(self) -> list[Floats]:
        """For each layer the inputs of a convolution behind zeros, or keys and values: (2, heads, tokens, size)."""
        tokens = self.config["max_position_embeddings"]
        attended, shapes = (2, self.heads, tokens, self.size), {"conv": (tokens + self.kernel - 1, self.width)}
        return [np.zeros(shapes.get(kind, attended), np.float32) for kind in self.config["layer_types"]]

    def _convolve(self, name: str, layer: int, inputs: Floats, pieces: Sequence[_Piece]) -> Floats:
        before, behind, values = np.split(self._linear(inputs, name + "in_proj"), 3, axis=-1)
        values = before * values
        kernel = self.weights[name + "conv.weight"][:, 0].T
        for row, start, piece in pieces:
            row[layer][start + self.kernel - 1 :][: piece.stop - piece.start] = values[piece]
        if len(pieces) == len(values):  # a token a row, as while an answer is written: all rows at once
            seen = np.stack([row[layer][start : start + self.kernel] for row, start, _ in pieces])
            found = sum(seen[:, tap] * kernel[tap] for tap in range(self.kernel))
        else:
            found = np.empty_like(values)
            for row, start, piece in pieces:
                seen, count = row[layer][start:], piece.stop - piece.start
                found[piece] = sum(seen[tap:][:count] * kernel[tap] for tap in range(self.kernel))
        return self._linear(behind * found, name + "out_proj")

    def _attend(
        self, name: str, layer: int, inputs: Floats, pieces: Sequence[_Piece], turn: tuple[Floats, Floats]
    ) -> Floats:
        query, key, value = (
            self._linear(inputs, f"{name}{each}_proj").reshape(-1, self.heads, self.size) for each in "qkv"
        )
        query = _turned(self._norm(query, name + "q_layernorm"), *turn) * np.float32(self.size**-0.5)
        key = _turned(self._norm(key, name + "k_layernorm"), *turn)
        # Heads first, as rows keep them: (heads, tokens, size).
        query, key, value = (np.ascontiguousarray(each.swapaxes(0, 1)) for each in (query, key, value))
        found, sums = np.empty_like(query), np.empty((*query.shape[:2], 1), np.float32)
        for row, start, piece in pieces:
            (keys, values), end = row[layer], start + piece.stop - piece.start
            keys[:, start:end], values[:, start:end] = key[:, piece], value[:, piece]
            scores = query[:, piece] @ keys[:, :end].swapaxes(1, 2)
            if end > start + 1:
                scores += self._later[start:end, :end]
            scores -= np.maximum.reduce(scores, -1, keepdims=True)
            np.exp(scores, scores)
            np.add.reduce(scores, -1, keepdims=True, out=sums[:, piece])
            np.matmul(scores, values[:, :end], found[:, piece])
        found /= sums
        return self._linear(found.swapaxes(0, 1).reshape(-1, self.width), name + "out_proj")

    def _linear(self, inputs: Floats, name: str) -> Floats:
        return inputs @ self.weights[name + ".weight"].T

    def _norm(self, inputs: Floats, name: str) -> Floats:
        square = np.add.reduce(inputs * inputs, -1, keepdims=True) / np.float32(inputs.shape[-1])
        return inputs / np.sqrt(square + np.float32(self.config["norm_eps"])) * self.weights[name + ".weight"]


def _turned(heads: Floats, cosine: Floats, sine: Floats) -> Floats:
    """Rotary positions: the two halves of each head turned by its token's angles."""
    left, right = np.split(heads, 2, axis=-1)
    return np.concatenate([left * cosine - right * sine, right * cosine + left * sine], axis=-1)
