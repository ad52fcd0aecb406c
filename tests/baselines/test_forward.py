from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from baselines.forward import COMPILED_UPDATES, chosen_forward, logits_at
from baselines.students import VOCABULARY, new_model

pytestmark = [
    pytest.mark.needs("baselines"),
    # torch's own, when peft or a compiler is imported first
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),  # what peft looks at
]


@pytest.fixture
def places() -> tuple[Any, Any, Any]:
    """Three rows of random tokens, and some places in them."""
    import torch

    torch.manual_seed(0)
    return torch.randint(10, VOCABULARY, (3, 40)), torch.tensor([0, 0, 1, 2, 2]), torch.tensor([3, 39, 20, 0, 11])


def with_adapter(model: Any) -> Any:
    """The model with a LoRA adapter that says something."""
    import torch
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear")).get_base_model()
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    return adapted


@pytest.mark.parametrize("change", [lambda model: model, with_adapter], ids=["whole", "adapter"])
def test_logits_and_slopes_are_those_of_transformers(
    places: tuple[Any, Any, Any], change: Callable[[Any], Any]
) -> None:
    import torch

    ids, rows, columns = places
    model = change(new_model("0.3m", 1).eval())
    slopes, logits = [], []
    for read in (lambda: model(input_ids=ids).logits[rows, columns], lambda: logits_at(model, ids, rows, columns)):
        model.zero_grad()
        found = read()
        found.logsumexp(-1).sum().backward()
        logits.append(found.detach())
        slopes.append({name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None})
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-4)
    assert slopes[0].keys() == slopes[1].keys()
    for name, slope in slopes[0].items():
        torch.testing.assert_close(slopes[1][name], slope, rtol=1e-3, atol=1e-4, msg=name)


def test_short_trainings_and_adapters_are_not_compiled() -> None:
    model = new_model("0.3m", 1)
    assert chosen_forward(model, COMPILED_UPDATES - 1) is logits_at
    assert chosen_forward(with_adapter(model), COMPILED_UPDATES) is logits_at


@pytest.mark.slow
def test_compiled_pass_computes_the_same(places: tuple[Any, Any, Any]) -> None:
    import torch

    model = new_model("0.3m", 1)
    forward = chosen_forward(model, COMPILED_UPDATES)
    if forward is logits_at:
        pytest.skip("no C++ compiler here, so nothing is compiled")
    torch.testing.assert_close(forward(model, *places), logits_at(model, *places), rtol=1e-4, atol=1e-4)
