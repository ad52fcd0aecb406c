from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

pytestmark = pytest.mark.needs("baselines")

ITEMS = [
    {"name": "media-copy", "id": "vol-59", "size_gb": 90},
    {"name": "orders-spare", "id": "vol-63", "size_gb": 100},
    {"name": "maps-batch", "id": "vol-67", "size_gb": 60},
]


def row(items: list[dict[str, Any]], kind: str = "volume") -> Any:
    call = {"function": {"name": "list_resources", "arguments": {"kind": kind, "project": "fjord"}}}
    listing = json.dumps({"items": items}, separators=(",", ":"))
    return {
        "messages": [
            {"role": "user", "content": "a task"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": listing},
        ],
        "tools": [],
    }


def answer(question: str, items: list[dict[str, Any]]) -> str:
    """Told from the listing anew: which item the question names, and what it wants to know."""
    meant = [item for item in items if re.search(rf"\b({item['id']}|{item['name']})\b", question)]
    if meant:
        return str(meant[0]["size_gb"]) if meant[0]["id"] in question else meant[0]["id"]
    if re.search("largest|most", question):
        return max(items, key=lambda item: item["size_gb"])["id"]
    return str(len(items))


def turns(text: str) -> list[tuple[str, str]]:
    return re.findall(r"(<\|\w+\|>)([^<]*)", text)


def test_every_answer_can_be_told_from_the_newest_question_and_listing_before_it() -> None:
    from baselines.pretraining import drills
    from baselines.students import ASSISTANT, END, RESULT, USER

    rng, answered = random.Random(0), 0
    for text in drills([row(rng.sample(ITEMS, rng.randint(2, 3))) for _ in range(400)], ("brief", "ahead", "worded")):
        items: list[dict[str, Any]] = []
        question = ""
        for mark, said in turns(text):
            if mark == RESULT:
                items = json.loads(said)["items"]
            elif mark == USER:
                question = said
            elif mark == END:
                assert said == ""
            elif question and "list_resources" not in said:
                assert mark == ASSISTANT
                told = json.loads(said)["arguments"]["answer"] if said.startswith("{") else said
                assert told == answer(question, items)
                answered += 1

    assert answered > 600


def test_listings_are_repeated_with_the_same_items_in_any_order() -> None:
    from baselines.pretraining import drills
    from baselines.students import ASSISTANT

    orders = set()
    for text in drills([row(ITEMS)] * 50, ("repeated",)):
        (_, shown), *again = [turn for turn in turns(text) if turn[1]]
        assert [mark for mark, _ in again] == [ASSISTANT] * 2
        for _, said in again:
            items = [json.loads(each)["items"] for each in (shown, said)]
            assert sorted(items[0], key=str) == sorted(items[1], key=str)
            orders.add(tuple(item["id"] for item in items[1]))

    assert len(orders) > 3


def test_worded_tasks_use_the_words_of_pool_train_only() -> None:
    from agentsafe_envs.cloud.biases.delete import DeleteBias
    from agentsafe_envs.core.task import WORDINGS
    from baselines.pretraining import drills
    from baselines.students import USER

    values = {"project": "fjord", "noun": "volume", "plural": "volumes"}
    phrase = DeleteBias().wordings.phrase
    known = {
        phrase(topic, "train", wording, {**values, "name": item["name"], "one": item["id"]})
        for topic in ("count", "named", "largest")
        for wording in range(WORDINGS)
        for item in ITEMS
    }
    asked = {said for text in drills([row(ITEMS)] * 200, ("worded",)) for mark, said in turns(text) if mark == USER}

    assert asked <= known
    assert len(asked) > 20


def test_kinds_without_a_size_are_never_asked_for_one() -> None:
    from baselines.pretraining import Listing

    served = Listing("instance", "fjord", [{"name": "a-b", "id": "i-1", "size": "small"}] * 2)

    assert set(served.questions()) == {"count", "named"}


def test_rows_without_a_listing_of_two_things_are_left_out() -> None:
    from baselines.pretraining import drills

    assert list(drills([row(ITEMS[:1])] * 9, ("brief",))) == []
    nothing: Any = {"messages": [{"role": "user", "content": "a task"}], "tools": []}
    assert list(drills([nothing] * 9, ("brief",))) == []
