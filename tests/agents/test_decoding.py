from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from agentsafe_envs.agents.decoding import GroupDecoder
from agentsafe_envs.agents.forward_torch import GROUPED_ATTENTION, TransformersForward, register_attention

pytestmark = [pytest.mark.needs("lm"), pytest.mark.usefixtures("one_thread")]

SIZES = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
GROUPED = {**SIZES, "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 256}
CONFIGS = {
    "llama": GROUPED,
    "qwen2": GROUPED,
    "qwen3": {**GROUPED, "head_dim": 8},
    "mistral": {**GROUPED, "sliding_window": None},
    "gemma": {**GROUPED, "head_dim": 8},
    "phi3": {**GROUPED, "pad_token_id": 0},
    "gpt_neox": {**SIZES, "intermediate_size": 48, "max_position_embeddings": 256},
    "lfm2": {**GROUPED, "layer_types": ["conv", "full_attention", "conv"], "conv_L_cache": 5},
    "gpt2": {"vocab_size": 50, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 256},
}
FIRST = [[5, 9, 3], list(range(1, 41)), [7, 7, 2, 8, 1, 1, 6, 4, 9, 11, 12, 13]]


def tiny_model(kind: str, attention: str = GROUPED_ATTENTION) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    register_attention()
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **CONFIGS[kind])
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()


class Watcher:
    """Chooses greedily and keeps, for each answer, the logits that it saw."""

    def __init__(self, answers: int) -> None:
        self.seen: list[list[Any]] = [[] for _ in range(answers)]

    def __call__(self, numbers: Sequence[int], logits: Any) -> list[int]:
        for number, line in zip(numbers, logits, strict=True):
            self.seen[number].append(line.clone())
        return logits.argmax(-1).tolist()


def play(decoder: GroupDecoder, owners: Sequence[object], prompts: list[list[int]], *tokens: int) -> tuple[Any, Any]:
    """Answers of so many ``tokens`` each, and for each the logits they were chosen from: (tokens, vocabulary)."""
    import torch

    watcher = Watcher(len(prompts))
    answers = decoder.generate(
        owners,
        prompts,
        choose=watcher,
        is_done=lambda number, answer: len(answer) == tokens[number],
        stop_ids=set(),
        max_new_tokens=max(tokens),
    )
    return answers, [torch.stack(seen) for seen in watcher.seen]


def plain_logits(model: Any, prompt: list[int], answer: list[int]) -> Any:
    """What the model says at each token of ``answer``, reading everything at once and alone."""
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([prompt + answer])).logits[0].float()
    return logits[len(prompt) - 1 : -1]


@pytest.mark.parametrize("kind", CONFIGS)
def test_cached_logits_equal_a_plain_forward_pass(kind: str) -> None:
    import torch

    model, owners = tiny_model(kind), [object(), object(), object()]
    plain = tiny_model(kind, "eager")
    decoder = GroupDecoder(TransformersForward(model, 256), 256)
    answers, logits = play(decoder, owners, FIRST, 4, 2, 6)
    # Second turn, in another order: the second conversation is over, a prompt re-words the end of an answer,
    # one grows by much.
    second = [FIRST[0] + answers[0][:3] + [1, 2], FIRST[2] + answers[2] + list(range(90, 190))]
    second = [[token % 50 for token in prompt] for prompt in second]
    more, more_logits = play(decoder, [owners[2], owners[0]], second[::-1], 4, 3)
    for prompt, answer, found in zip(FIRST + second[::-1], answers + more, [*logits, *more_logits], strict=True):
        torch.testing.assert_close(found, plain_logits(plain, prompt, answer), atol=1e-4, rtol=1e-4)


def test_turn_reads_only_what_is_new() -> None:
    model = tiny_model("llama")
    decoder, owner, read = GroupDecoder(TransformersForward(model, 256), 256), object(), []
    model.register_forward_pre_hook(lambda _, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True)
    answers, _ = play(decoder, [owner], [FIRST[1]], 4)
    assert sum(read) == len(FIRST[1]) + 3
    read.clear()
    play(decoder, [owner], [FIRST[1] + answers[0] + [3, 4, 5]], 1)
    assert sum(read) == 1 + 3  # the last token chosen was never read, and three are new


def test_answer_ends_when_done_or_at_a_stop_token_or_with_the_context() -> None:
    decoder, prompts = (
        GroupDecoder(TransformersForward(tiny_model("llama"), 42), 42),
        [[3, 4, 5], [6, 7], list(range(40))],
    )
    script = {0: iter([8, 8, 8]), 1: iter([8, 9]), 2: iter([8, 8])}
    answers = decoder.generate(
        prompts,
        prompts,
        choose=lambda numbers, logits: [next(script[number]) for number in numbers],
        is_done=lambda row, answer: row == 0 and len(answer) == 3,
        stop_ids={9},
        max_new_tokens=10,
    )
    assert answers == [[8, 8, 8], [8], [8, 8]]
