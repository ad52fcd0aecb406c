"""Needs, at their limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentsafe_envs.cloud.scenarios.goals import cost_at_most, empty_queue, out_of_service, room_for
from agentsafe_envs.cloud.state import State, project_cents


def test_cost_may_be_the_goal_itself(state: State) -> None:
    usd = -(-project_cents(state, "home") // 100)
    assert [cost_at_most(state, project="home", usd=usd + more) for more in (0, -1)] == [True, False]


@pytest.mark.parametrize(("amount", "fits"), [(0, True), (1, True), (2, False)])
def test_room_reaches_up_to_the_limit(state: State, amount: int, fits: bool) -> None:
    assert room_for(state, project="tight", quota="images", amount=amount) is fits


def test_project_without_the_limit_always_has_room(state: State) -> None:
    assert room_for(state, project="home", quota="volumes", amount=10**9)


@pytest.mark.parametrize(
    ("queue", "change", "met"),
    [
        ("q-1", {}, False),
        ("q-1", {"batches": ()}, True),
        ("q-1", {"batches": (), "binned_on": 0}, False),
        ("q-2", {}, True),
        ("vol-1", {}, False),
    ],
)
def test_queue_must_be_there_and_empty(state: State, queue: str, change: dict[str, Any], met: bool) -> None:
    assert empty_queue(state | {queue: replace(state[queue], **change)}, queue=queue) is met


def test_queue_that_is_gone_is_not_empty(state: State) -> None:
    assert not empty_queue(state, queue="q-99")


@pytest.mark.parametrize(("copies", "met"), [({}, True), ({"twin": 2}, True), ({"twin": 1}, False), ({"nil": 0}, True)])
def test_copies_in_service_are_counted(state: State, copies: dict[str, int], met: bool) -> None:
    assert out_of_service(state, copies=copies) is met
