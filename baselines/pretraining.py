"""Looking things up in listings, over and over: what a base learns before it learns to act.

A model from scratch has to find that what was asked for stands in a listing, and where. An episode
asks one such question in two hundred tokens; a drill asks many, so that a few million tokens teach
what ten million of episodes do not.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from agentsafe_envs.cloud.biases.delete import DeleteBias
from agentsafe_envs.cloud.scenarios.over_quota import RESOURCE_KINDS
from agentsafe_envs.core.task import WORDINGS
from agentsafe_envs.trajectories import Trajectory
from baselines.demonstrations import call_of
from baselines.students import ASSISTANT, END, RESULT, USER

QUESTIONS = 12
"""About one listing, at most."""

TASKS = 3
"""In a drill of tasks."""

Kind = Literal["repeated", "brief", "ahead", "worded"]
"""The listing again in another order, which is the shortest way to learn that what stands behind a
name once stands behind it again; questions of one or two words; such questions, each ahead of a
listing of its own, as in an episode; the same in the environment's words and with its calls."""

_WORDINGS = DeleteBias().wordings


@dataclass(frozen=True, slots=True)
class Listing:
    """A listing that somebody has seen.

    Attributes:
        kind: Of its items.
        project: Whose they are.
        items: As the environment shows them, at least two.
    """

    kind: str
    project: str
    items: list[dict[str, Any]]

    def shown(self) -> str:
        """As the environment shows it."""
        return json.dumps({"items": self.items}, separators=(",", ":"))

    def sample(self, rng: random.Random, fewest: int = 2) -> Listing:
        """Some of its items, in another order: among two one is found more easily than among seven."""
        return replace(self, items=rng.sample(self.items, rng.randint(fewest, len(self.items))))

    def questions(self) -> dict[str, list[tuple[dict[str, str], str]]]:
        """What can be asked, by the topics of the environment's wordings: values to fill in, and the answer.

        Nothing about the size of one: whoever is asked that reads the one, which a listing does not teach.
        """
        items = self.items
        topics: dict[str, list[tuple[dict[str, str], str]]] = {
            "count": [({}, str(len(items)))],
            "named": [({"name": item["name"]}, item["id"]) for item in items],
        }
        if "largest" in RESOURCE_KINDS[self.kind].questions:
            topics["largest"] = [({}, max(items, key=lambda item: item["size_gb"])["id"])]
        return topics


def drills(rows: Iterable[Trajectory], kinds: Sequence[Kind]) -> Iterator[str]:
    """Drills on the first listings of the rows, as text with the chat template's own marks.

    Args:
        rows: Episodes in which something was listed; others are passed over.
        kinds: What kinds of drills, each as often.
    """
    rng = random.Random("drills")
    for listing in filter(None, map(_listing, rows)):
        few = listing.sample(rng)
        kind = rng.choice(kinds)
        if kind == "repeated":
            again = (few.sample(rng, len(few.items)).shown() for _ in range(2))
            yield RESULT + few.shown() + "".join(f"{ASSISTANT}{each}{END}" for each in again)
        elif kind == "brief":
            asked = (
                f"{USER}{_brief(topic, values)}{ASSISTANT}{answer}{END}" for topic, values, answer in _drawn(few, rng)
            )
            yield RESULT + few.shown() + "".join(asked)
        else:
            task = _ahead if kind == "ahead" else _worded
            yield "".join(task(listing.sample(rng), rng) for _ in range(TASKS))


def _listing(row: Trajectory) -> Listing | None:
    """The first that the row's agent asked for, if there is much to find in it."""
    asked: dict[str, Any] = {}
    for message in row["messages"]:
        if message.get("tool_calls"):
            asked = message["tool_calls"][0]["function"]
        elif message["role"] == "tool" and asked["name"] == "list_resources":
            items = json.loads(message["content"])["items"]
            return Listing(**asked["arguments"], items=items) if len(items) > 1 else None
    return None


def _drawn(listing: Listing, rng: random.Random) -> Iterator[tuple[str, dict[str, str], str]]:
    """Some questions, topic by topic in turns, so that those that can be asked once are not rare."""
    topics = {topic: rng.sample(pairs, len(pairs)) for topic, pairs in listing.questions().items()}
    for _ in range(QUESTIONS):
        if not (left := [topic for topic, pairs in topics.items() if pairs]):
            return
        topic = rng.choice(left)
        yield topic, *topics[topic].pop()


def _brief(topic: str, values: dict[str, str]) -> str:
    return " ".join((topic, *values.values()))


def _ahead(listing: Listing, rng: random.Random) -> str:
    topic, values, answer = next(_drawn(listing, rng))
    return f"{USER}{_brief(topic, values)}{RESULT}{listing.shown()}{ASSISTANT}{answer}{END}"


def _worded(listing: Listing, rng: random.Random) -> str:
    """A harmless task in words of pool ``train``, without system message and tools."""
    topic, values, answer = next(_drawn(listing, rng))
    nouns = {"project": listing.project, "noun": listing.kind, "plural": f"{listing.kind}s"}
    asked = _WORDINGS.phrase(topic, "train", rng.randrange(WORDINGS), {**nouns, **values})
    look = call_of("list_resources", kind=listing.kind, project=listing.project)
    submit = call_of("submit", answer=answer)
    return f"{USER}{asked}{ASSISTANT}{look}{END}{RESULT}{listing.shown()}{ASSISTANT}{submit}{END}"
