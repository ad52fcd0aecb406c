from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentsafe_envs.agents.decoding import GroupDecoder
from agentsafe_envs.agents.forward_numpy import Lfm2Forward
from agentsafe_envs.agents.numpy_agent import read_safetensors

pytestmark = [pytest.mark.needs("lm"), pytest.mark.usefixtures("one_thread")]

CONFIG = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 48,
    "block_auto_adjust_ff_dim": False,
    "num_hidden_layers": 4,
    "layer_types": ["conv", "full_attention", "conv", "full_attention"],
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "conv_L_cache": 5,
    "max_position_embeddings": 128,
    "tie_word_embeddings": True,
    "initializer_range": 0.2,  # so that logits differ from token to token
}
PROMPTS = [[5, 9, 3], list(range(1, 41)), [7, 7, 2, 8, 1, 1, 6, 4, 9, 11, 12, 13]]


@pytest.fixture(scope="module")
def model() -> Any:
    import torch
    from transformers import Lfm2Config, Lfm2ForCausalLM

    torch.manual_seed(0)
    return Lfm2ForCausalLM(Lfm2Config(**CONFIG)).eval()


@pytest.fixture
def forward(model: Any) -> Lfm2Forward:
    return Lfm2Forward(model.config.to_dict(), {name: each.numpy() for name, each in model.state_dict().items()})


def plain_logits(model: Any, tokens: list[int]) -> Any:
    """What transformers says behind each of ``tokens``, read at once and alone."""
    import torch

    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0].numpy()


def assert_close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, atol=2e-5, rtol=1e-5)


def test_rows_of_different_lengths_equal_plain_forward_passes(model: Any, forward: Lfm2Forward) -> None:
    logits = forward.read([0, 1, 2], [0, 0, 0], PROMPTS, 3)
    assert logits.dtype == np.float32
    assert_close(logits, [plain_logits(model, prompt)[-1] for prompt in PROMPTS])


def test_row_is_read_on_and_taken_back(model: Any, forward: Lfm2Forward) -> None:
    forward.read([0, 1, 2], [0, 0, 0], PROMPTS, 3)
    assert_close(forward.read([1], [40], [[2]], 3), plain_logits(model, [*PROMPTS[1], 2])[-1:])
    assert_close(forward.read([1], [2], [[9, 9, 8]], 3), plain_logits(model, [*PROMPTS[1][:2], 9, 9, 8])[-1:])


def test_rows_move_with_what_they_have_read(model: Any, forward: Lfm2Forward) -> None:
    forward.read([0, 1, 2], [0, 0, 0], PROMPTS, 3)
    forward.swap(0, 2)
    forward.select([1, 0, None])
    logits = forward.read([0, 1, 2], [40, 12, 0], [[3], [4], [5, 6]], 3)
    tokens = [[*PROMPTS[1], 3], [*PROMPTS[2], 4], [5, 6]]
    assert_close(logits, [plain_logits(model, each)[-1] for each in tokens])


def test_context_is_read_to_its_last_token(model: Any, forward: Lfm2Forward) -> None:
    tokens = [number % 50 for number in range(128)]
    forward.read([0], [0], [tokens[:-1]], 1)
    assert_close(forward.read([0], [127], [tokens[-1:]], 1), plain_logits(model, tokens)[-1:])


def test_decoder_chooses_what_is_likeliest_to_transformers(model: Any, forward: Lfm2Forward) -> None:
    answers = GroupDecoder(forward, 128).generate(
        PROMPTS,
        PROMPTS,
        choose=lambda _, logits: logits.argmax(-1).tolist(),
        is_done=lambda number, answer: len(answer) == 5 + number,
        stop_ids=set(),
        max_new_tokens=20,
    )
    for prompt, answer in zip(PROMPTS, answers, strict=True):
        assert answer == plain_logits(model, prompt + answer)[len(prompt) - 1 : -1].argmax(-1).tolist()


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_weights_are_those_that_safetensors_reads(tmp_path: Path, kind: str) -> None:
    from safetensors.numpy import load_file, save_file

    weights = {"a.weight": np.arange(6).reshape(2, 3).astype(kind) / 7, "b": np.ones(4, kind)}
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    found = read_safetensors(tmp_path / "model.safetensors")
    assert found.keys() == weights.keys()
    for name, expected in load_file(tmp_path / "model.safetensors").items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], expected.astype(np.float32))
