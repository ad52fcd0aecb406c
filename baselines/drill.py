"""Looking things up in listings, over and over: what a base learns before it learns to act.

A model from scratch has to find that what was asked for stands somewhere above, and where. An
episode asks one such question in two hundred tokens; a drill asks a dozen about one listing, so that
the first million tokens teach what ten million tokens of episodes do not.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from typing import Any

from agentsafe_envs.trajectories import Trajectory
from baselines.students import ASSISTANT, END, RESULT, USER

QUESTIONS = 12
"""About each listing, at most."""


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
    asked = [("how many?", str(len(items)))]
    for field in fields:
        if all(isinstance(item[field], int) for item in items):
            asked.append((f"largest {field}?", max(items, key=lambda item: item[field])["id"]))
    for item in items:
        for known in ("id", "name"):
            wanted = (field for field in ("id", "name", *fields) if field != known)
            asked += [(f"{field} of {item[known]}?", str(item[field])) for field in wanted]
    yield from rng.sample(asked, min(len(asked), QUESTIONS))
