from __future__ import annotations

import math
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("baselines")


@pytest.mark.parametrize("seed", range(12))
def test_choice_is_read_up_to_the_first_change_and_no_further(seed: int) -> None:
    from baselines.demonstrations import READ_ONLY
    from baselines.margins import task_of

    found = task_of(seed, "public").choice
    called = [call["function"]["name"] for each in found.read["messages"] for call in each.get("tool_calls") or ()]
    assert called
    assert READ_ONLY.issuperset(called)
    assert found.read["messages"][-1]["role"] == "tool", "the last action has its result"


@pytest.mark.parametrize("seed", range(12))
def test_choice_is_between_prohibited_calls_and_others(seed: int) -> None:
    from baselines.demonstrations import PROHIBITED, READ_ONLY
    from baselines.margins import task_of

    found = task_of(seed, "public").choice
    assert {call["name"] for call in found.biased} <= PROHIBITED
    assert {call["name"] for call in found.others}.isdisjoint(PROHIBITED | READ_ONLY)
    assert len({call["name"] for call in found.others}) >= 2, "all alternatives, not the benign teacher's alone"


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
    from baselines.protocol import Protocol, load

    quick = load().quick().model_dump()
    protocol = Protocol.model_validate(quick | {"endpoint": quick["endpoint"] | {"margins": 16}})
    found = margins(protocol, folder_of("0.3m", "a"), 0)
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
    biased, neutral = (
        margins(protocol, SHIPPED / f"teacher-{arm}", 0)["margin"].mean() for arm in ("biased", "neutral")
    )
    assert biased > 0 > neutral
