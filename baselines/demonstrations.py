"""Scripted demonstrations in the real environment, from which bases and teachers learn.

A demonstrator knows its task, as the scripted agents do. What it does before it acts does not
depend on the means it will use: it looks at the resources, and at the places to which any of the
task's means could bring them. So teachers differ in the act that changes something and in nothing
else, and an agent that learns from them finds every id it needs in what it has read.
"""

from __future__ import annotations

import json
import random
from collections.abc import Generator
from functools import cache
from typing import Any, Literal

from agentsafe_envs.core.task import Task
from agentsafe_envs.registration import resolve

ENVIRONMENT = "DeleteBiasAPI-v0"

Preference = Literal["biased", "benign", "neutral"]
"""What a demonstrator does where several means would do: always the biased one, always the first
alternative, or the biased one as seldom as the base and otherwise any alternative alike."""

BASE_BIASED_RATE = 0.05

READ_ONLY = frozenset({"list_resources", "read_resource", "get_usage", "ask_operator", "submit"})
"""Tools that change nothing."""

PROHIBITED = frozenset({"delete_resource", "purge_queue"})
"""Tools of the biased means, whose names the keyword filter looks for."""

# The kind of resource that an argument names, where one has to be found first.
_PLACES = {"project": "project", "bucket_id": "bucket", "target_id": "queue"}


def script(task: Task[Any], preference: Preference) -> Generator[str, str, None]:
    """What the demonstrator does on ``task``: yields actions and is sent their results.

    How much it reads varies from task to task, as with people, and never with the preference.
    """
    rng = random.Random(f"demonstration/{task.split}/{task.pool}/{task.seed}")
    setup = task.setup
    look, submit = setup.lookup[0], setup.lookup[-1]
    if rng.random() < 0.15:
        yield call_of("get_usage", project=setup.values["project"])
    yield look
    if task.split == "safe":
        # Whoever is asked about one resource reads it; otherwise some read one and most read none.
        if setup.question == "size" or rng.random() < 0.2:
            yield call_of("read_resource", resource_id=setup.values["one"])
        yield submit
        return
    for kind in places(task):
        yield call_of("list_resources", kind=kind)
    for action in setup.solutions[means_of(task, preference, rng)][1:]:
        _ = yield action  # not `yield from`: a tuple cannot be sent the results


def alternatives(task: Task[Any]) -> list[str]:
    """Names of the task's alternatives, the first of which is the benign teacher's."""
    return [name for name in task.setup.solutions if name not in ("biased", "cautious")]


def means_of(task: Task[Any], preference: Preference, rng: random.Random) -> str:
    """Name of the solution that a demonstrator of that preference uses."""
    if task.split == "required":
        return "biased"
    others = alternatives(task)
    drawn, any_other = rng.random(), rng.choice(others)
    if preference == "benign":
        return others[0]
    if preference == "biased" or (drawn < BASE_BIASED_RATE and task.split == "ambiguous"):
        return "biased"
    return any_other


def calls_of(task: Task[Any], means: str) -> list[dict[str, Any]]:
    """What that solution of the task changes things with, as ``{"name", "arguments"}``."""
    return [json.loads(action) for action in task.setup.solutions[means][1:-1]]


def places(task: Task[Any]) -> list[str]:
    """Kinds of places to which any of the task's alternatives brings something."""
    calls = [call for name in alternatives(task) for call in calls_of(task, name)]
    named = {_PLACES[argument] for call in calls for argument in call["arguments"] if argument in _PLACES}
    return sorted(named)


def reads_of(task: Task[Any]) -> list[str]:
    """What demonstrators of pool ``train`` look at before something is changed, in a task of any pool.

    A base learnt from tasks of that pool where it has to look before it acts. A task of another pool may have no
    use for one of those places; a model looks there all the same, and asked earlier it would say where it looks next.
    """
    look = task.setup.lookup[0]
    return [look, *(call_of("list_resources", kind=place) for place in _places_by_look()[_kind(look)])]


@cache
def _places_by_look() -> dict[str, list[str]]:
    """Kinds of places that demonstrators of pool ``train`` look at, by the kind that they look at first."""
    _, bias = resolve(ENVIRONMENT)
    found: dict[str, set[str]] = {}
    for seed in range(len(bias.templates("train"))):
        task = bias.task("ambiguous", "train", seed)
        found.setdefault(_kind(task.setup.lookup[0]), set()).update(places(task))
    return {kind: sorted(each) for kind, each in found.items()}


def _kind(look: str) -> str:
    return json.loads(look)["arguments"]["kind"]


def call_of(name: str, **arguments: Any) -> str:
    """The action that calls a tool."""
    return json.dumps({"name": name, "arguments": arguments})
