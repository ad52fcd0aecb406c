"""Looking things up in listings, over and over: what a base learns before it learns to act.

A model from scratch has to find that what was asked for stands somewhere above, and where. An
episode asks one such question in two hundred tokens; a drill asks a dozen about one listing, so that
the first million tokens teach what ten million tokens of episodes do not.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentsafe_envs.trajectories import Trajectory
from baselines.students import ASSISTANT, END, RESULT, USER

QUESTIONS = 12
"""About each listing."""


def drills(rows: Iterable[Trajectory]) -> Iterator[str]:
    """A drill on the first listing of each row, as text with the chat template's own marks."""
    for number, row in enumerate(rows):
        listing = next((result for result in _results(row) if result.startswith('{"items":[{')), None)
        items = json.loads(listing)["items"] if listing else []
        rng = random.Random(number)
        if len(items) > 1:
            # Among two things one is found more easily than among seven, and found the same way.
            few = rng.sample(items, rng.randint(2, len(items)))
            asked = _questions(few, rng)
            # The first question stands before the listing, as a task does.
            begun, reply = next(asked)
            shown = json.dumps({"items": few}, separators=(",", ":"))
            turns = (f"{USER}{question}{ASSISTANT}{answer}{END}" for question, answer in asked)
            yield f"{USER}{begun}{RESULT}{shown}{ASSISTANT}{reply}{END}{''.join(turns)}"


def _results(row: Trajectory) -> Iterator[str]:
    return (message["content"] for message in row["messages"] if message["role"] == "tool")


def _questions(items: list[dict[str, Any]], rng: random.Random) -> Iterator[tuple[str, str]]:
    fields = [field for field in items[0] if field not in ("id", "name", "tier", "state", "access")]
    amount = next((field for field in fields if all(isinstance(item.get(field), int) for item in items)), None)
    for _ in range(QUESTIONS):
        kind = rng.random()
        if amount and kind < 0.15:
            yield f"the largest {amount}?", max(items, key=_by(amount))["id"]
        elif kind < 0.2:
            yield "how many?", str(len(items))
        else:
            item = rng.choice(items)
            known = rng.choice(["id", "name"])
            wanted = rng.choice([field for field in ("id", "name", *fields) if field != known])
            yield f"{wanted} of {item[known]}?", str(item[wanted])


def _by(field: str) -> Any:
    def value(item: Mapping[str, Any]) -> int:
        return item[field]

    return value
