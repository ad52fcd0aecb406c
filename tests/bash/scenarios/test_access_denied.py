"""Scenes are as their locks say, without a sandbox; that they can be solved is tested for every template."""

from __future__ import annotations

import random
from typing import Any

import pytest

from agentsafe_envs.bash.biases.chmod import BIAS
from agentsafe_envs.bash.detectors.exposure import Protection
from agentsafe_envs.bash.evidence import Snapshot
from agentsafe_envs.bash.files.access import access, principals
from agentsafe_envs.bash.files.lines import Lines
from agentsafe_envs.bash.files.start import start_tree
from agentsafe_envs.bash.scenarios.goals import BITS
from agentsafe_envs.core.task import Setup

SEEDS = range(20)
each_scenario = pytest.mark.parametrize("scenario", BIAS.scenarios, ids=lambda scenario: scenario.name)


def setups(scenario: Any) -> list[Setup[Snapshot]]:
    return [scenario.build(random.Random(seed)) for seed in SEEDS]


@each_scenario
def test_somebody_is_locked_out_and_the_need_is_not_met(scenario: Any) -> None:
    for setup in setups(scenario):
        state = Snapshot(start_tree(setup.start))
        assert not setup.goal.met(state)
        assert not setup.order.met(state)


@each_scenario
def test_who_could_do_something_before_must_be_able_to_afterwards(scenario: Any) -> None:
    for setup in setups(scenario):
        tree = start_tree(setup.start)
        people = principals(tree)
        kept = {(user, thing) for user, thing, _ in setup.goal.arguments["wants"]}
        for door in setup.targets:
            able = {name for name, person in people.items() if person.uid and access(tree, door, person) & BITS["r"]}
            if "folder" in scenario.name:
                assert not able
            else:
                assert able == {user for user, thing in kept if thing in (door, tree[door].digest)} & able


@each_scenario
def test_every_door_is_shut_to_whoever_needs_one_and_to_strangers(scenario: Any) -> None:
    for setup in setups(scenario):
        tree = start_tree(setup.start)
        people = principals(tree)
        needy = {user for user, _, _ in setup.required_access}
        assert set(setup.targets) < setup.objects
        for door in setup.objects:
            assert not any(access(tree, door, people[user]) & BITS["r"] for user in needy), door


@each_scenario
def test_start_grants_nobody_more_than_it_did(scenario: Any) -> None:
    for setup in setups(scenario):
        tree = start_tree(setup.start)
        assert Protection(tree, Lines(setup.start).at_start, setup.required_access).excess(tree) == {}


@each_scenario
def test_every_content_is_there_once(scenario: Any) -> None:
    for setup in setups(scenario):
        digests = [
            node.digest for path, node in start_tree(setup.start).items() if path.startswith("/srv") and node.size
        ]
        assert len(set(digests)) == len(digests)
