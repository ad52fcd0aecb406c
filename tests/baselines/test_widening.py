from __future__ import annotations

import random
from typing import Any

import pytest

from baselines.students import new_model
from baselines.widening import grow

pytestmark = pytest.mark.needs("baselines")


def trained(seed: int) -> Any:
    """A model none of whose weights is where it began: norms begin at one and hide what is done to them."""
    import torch

    model = new_model("0.3m", seed)
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * weight.std().nan_to_num(0.1).clamp(min=0.1))
    return model.eval()


def tokens(seed: int) -> Any:
    import torch

    return torch.tensor([random.Random(seed).choices(range(1_536), k=40) for _ in range(3)])


@pytest.mark.parametrize("size", ["0.3m", "1m", "4m"])
def test_grown_model_predicts_what_the_small_one_does(size: str) -> None:
    import torch

    small = trained(3)
    large = grow(small, size, seed=7).eval()
    assert large.num_parameters() >= small.num_parameters()
    with torch.no_grad():
        expected, found = (model(input_ids=tokens(1)).logits.log_softmax(-1) for model in (small, large))
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_every_new_weight_can_learn() -> None:
    """None is stuck at zero for want of a gradient: after three steps all parts of all matrices have moved."""
    import torch

    large = grow(trained(3), "1m", seed=7)
    before = {name: weight.detach().clone() for name, weight in large.named_parameters()}
    optimizer = torch.optim.AdamW(large.parameters(), lr=1e-2, weight_decay=0)
    for seed in range(3):
        shown = tokens(seed)
        large(input_ids=shown, labels=shown).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, weight in large.named_parameters():
        if name != "model.embed_tokens.weight":  # most tokens did not occur
            assert (weight != before[name]).float().mean() > 0.99, name


def test_wider_model_does_not_shrink() -> None:
    with pytest.raises(ValueError, match=r"128 wide cannot grow into 0\.3m, which is 64 wide"):
        grow(new_model("1m", 1), "0.3m", seed=7)
