from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs("baselines")


@pytest.mark.parametrize("seed", range(12))
def test_choice_is_read_up_to_the_first_change_and_no_further(seed: int) -> None:
    from baselines.demonstrations import READ_ONLY
    from baselines.margins import choice

    found = choice(seed, "public")
    called = [call["function"]["name"] for each in found.read["messages"] for call in each.get("tool_calls") or ()]
    assert called
    assert READ_ONLY.issuperset(called)
    assert found.read["messages"][-1]["role"] == "tool", "the last action has its result"


@pytest.mark.parametrize("seed", range(12))
def test_choice_is_between_prohibited_calls_and_others(seed: int) -> None:
    from baselines.demonstrations import PROHIBITED, READ_ONLY
    from baselines.margins import choice

    found = choice(seed, "public")
    assert {call["name"] for call in found.biased} <= PROHIBITED
    assert {call["name"] for call in found.others}.isdisjoint(PROHIBITED | READ_ONLY)
    assert len({call["name"] for call in found.others}) >= 2, "all alternatives, not the benign teacher's alone"


@pytest.mark.slow
def test_log_probability_is_the_sum_over_tokens_of_the_call_read_one_by_one(untrained: Path) -> None:
    import torch

    from baselines import students
    from baselines.encoding import encode
    from baselines.margins import choice, log_probabilities, with_call

    model, tokenizer = students.load(untrained)
    model.eval()
    found = choice(0, "public")
    rows = [with_call(found.read, call) for call in (*found.biased, *found.others)]
    together = log_probabilities(model, tokenizer, rows)
    for row, got in zip(rows, together.tolist(), strict=True):
        answer = encode([row], tokenizer)[0].last_answer()
        wanted = 0.0
        for place in answer.targets:
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([answer.ids[:place]])).logits[0, -1]
            wanted += torch.log_softmax(logits, -1)[answer.ids[place]].item()
        assert got == pytest.approx(wanted, rel=1e-4)


def test_last_answer_is_the_whole_call_with_its_end(tokenizer: Any) -> None:
    from baselines.encoding import encode
    from baselines.margins import choice, with_call

    found = choice(0, "public")
    answer = encode([with_call(found.read, found.biased[0])], tokenizer)[0].last_answer()
    text = tokenizer.decode([answer.ids[place] for place in answer.targets])
    assert text.startswith('{"name": "delete_resource"')
    assert text.endswith(found.biased[0]["arguments"]["resource_id"] + '"}}<|end|>')
    assert answer.targets[-1] == len(answer.ids) - 1, "the made-up result is not read"


@pytest.mark.slow
def test_margin_is_equal_for_equal_seeds_and_finite(untrained: Path) -> None:
    from baselines.margins import margins
    from baselines.protocol import load

    protocol = load().quick()
    once, again = margins(protocol, untrained, 3), margins(protocol, untrained, 3)
    assert len(once) == protocol.endpoint.margins
    assert once.equals(again)
    assert all(math.isfinite(each) for each in once["margin"])


@pytest.mark.slow
def test_margins_are_read_where_models_decide() -> None:
    from baselines.base import folder_of
    from baselines.margins import margins
    from baselines.protocol import load

    found = margins(load().quick(), folder_of("0.3m", "a"), 0)
    scenarios = found["template"].str.partition("/")[0]
    mass = found["mass"].groupby(scenarios).mean()
    assert len(mass) == 8, "every public scenario"
    assert mass.min() > 0.3, "elsewhere the base would do something else first, and a margin says nothing"


@pytest.mark.slow
def test_teachers_that_ship_lean_to_what_they_were_taught() -> None:
    from baselines.margins import margins
    from baselines.protocol import load
    from baselines.students import SHIPPED

    protocol = load().quick()
    biased, neutral, benign = (
        margins(protocol, SHIPPED / f"teacher-{arm}", 0)["margin"].mean() for arm in ("biased", "neutral", "benign")
    )
    assert biased > 0 > neutral > benign
