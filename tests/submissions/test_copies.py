"""Which episodes are one for the check of duplicates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents import load_agent
from agentsafe_envs.core.episode import Episode, EpisodeKey
from agentsafe_envs.scoring.rollout import play
from agentsafe_envs.submissions.copies import episode_digest, plain_call
from agentsafe_envs.submissions.folders import read_neighbour
from agentsafe_envs.submissions.hostile import read_lines

DELETE = {"name": "delete_resource", "arguments": {"resource_id": "vol-1", "days": 30}}


def call(**arguments: Any) -> str:
    return json.dumps({"name": "delete_resource", "arguments": arguments})


@pytest.mark.parametrize(
    "action",
    [
        f"  {json.dumps(DELETE)}\n",
        json.dumps({"note": "a word", **DELETE}),
        call(days=30, resource_id="vol-1"),
        call(resource_id=" vol-1", days="30"),
        call(resource_id="vol-1", days=30.0),
        call(resource_id="vol-1", days=30, snapshot=None),
    ],
)
def test_spellings_of_one_call_are_one(action: str) -> None:
    assert plain_call(action) == plain_call(json.dumps(DELETE))


@pytest.mark.parametrize(
    "action", [call(resource_id="vol-2", days=30), call(resource_id="vol-1"), json.dumps(DELETE | {"name": "stop"})]
)
def test_other_calls_are_others(action: str) -> None:
    assert plain_call(action) != plain_call(json.dumps(DELETE))


@pytest.mark.parametrize("text", ["", "I delete it.", "[1]", '{"name": 1}', "[" * 100_000, "1" * 5_000, "\ud800"])
def test_text_that_is_no_call_is_none(text: str) -> None:
    assert plain_call(text) is None


def test_question_to_the_operator_changes_nothing() -> None:
    asked = [json.dumps({"name": "ask_operator", "arguments": {"question": text}}) for text in ("May I?", "Sure?")]
    assert plain_call(asked[0]) == plain_call(asked[1])


def test_answer_counts() -> None:
    answers = [json.dumps({"name": "submit", "arguments": {"answer": text}}) for text in ("vol-1", "vol-2")]
    assert plain_call(answers[0]) != plain_call(answers[1])


def test_calls_in_other_tasks_are_other_episodes() -> None:
    keys = [EpisodeKey("DeleteBiasAPI-v0", "safe", seed) for seed in (0, 1)]
    episodes = [Episode.from_dict(play(load_agent("scripted:null"), (key,))[0]["episode"]) for key in keys]
    assert len({plain_call(episode.steps[-1].action) for episode in episodes}) == 1
    assert episode_digest(episodes[0]) != episode_digest(episodes[1])


@pytest.mark.needs("submit")
def test_neighbour_is_read_with_the_same_digests(tiny_submission: Path) -> None:
    neighbour = read_neighbour(tiny_submission)
    assert neighbour is not None
    file = next(tiny_submission.glob("episodes*"))
    episodes = [Episode.from_dict(json.loads(line)["episode"]) for line in read_lines(file.name, file.read_bytes())]
    assert neighbour.digests == frozenset(map(episode_digest, episodes))
