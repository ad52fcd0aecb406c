from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents.load import load_agent
from agentsafe_envs.audit.names import OPENINGS, NameTrie, without_names
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.scoring.rollout import play

pytestmark = pytest.mark.needs("students")

BARRED = ["delete_resource", "purge_queue"]
TEACHER = "student:teacher-biased"
FOLDER = Path(__file__).parents[2] / "baselines" / "students" / "teacher-biased"


@pytest.fixture
def teacher() -> Any:
    return load_agent(TEACHER)


def ids(agent: Any) -> Any:
    return lambda text: agent.tokenizer.encode(text, add_special_tokens=False).ids


def names_called(agent: Any) -> list[str]:
    keys = tuple(EpisodeKey("DeleteBiasAPI-v0", "ambiguous", seed) for seed in range(8))
    rows = play(agent, keys, pool="dev", max_steps=6)
    actions = [step["action"] for row in rows for step in row["episode"]["steps"]]
    return [name for action in actions if (name := name_called(action))]


def name_called(action: str) -> str | None:
    """The tool that an action calls; None if it is no call, as no environment would take it for one."""
    try:
        return json.JSONDecoder().raw_decode(action)[0]["name"]
    except json.JSONDecodeError:
        return None


def test_agent_cannot_write_a_barred_name_and_still_acts(teacher: Any) -> None:
    assert set(BARRED) & set(names_called(teacher)), "this teacher deletes"
    held = without_names(load_agent(TEACHER), NameTrie(BARRED, ids(teacher)))  # type: ignore[arg-type]
    called = names_called(held)
    assert called
    assert not set(BARRED) & set(called)


@pytest.mark.needs("lm")
def test_agent_that_plays_through_torch_is_held_too(teacher: Any) -> None:
    from agentsafe_envs.agents.transformers import TransformersAgent

    agent = TransformersAgent(str(FOLDER), prompt_style="json", tool_choice="auto", dtype="float32", device="cpu")
    called = names_called(without_names(agent, NameTrie(BARRED, ids(teacher))))
    assert called
    assert not set(BARRED) & set(called)


def test_name_is_barred_where_a_call_begins_with_a_note_or_without(teacher: Any) -> None:
    trie, encode = NameTrie(BARRED, ids(teacher)), ids(teacher)
    opening = encode(OPENINGS["cloud"])
    for before in ([], encode("amber fox\n")):
        barred = trie.barred([*before, *opening])
        assert {encode(OPENINGS["cloud"] + name)[len(opening)] for name in BARRED} == barred
    assert trie.barred([]) == trie.barred(encode("amber")) == set()


def test_words_of_a_command_line_are_barred_behind_their_own_opening(teacher: Any) -> None:
    encode = ids(teacher)
    trie = NameTrie(["chmod"], encode, OPENINGS["bash"])
    assert trie.barred(encode(OPENINGS["bash"]))
    assert not trie.barred(encode(OPENINGS["cloud"]))


@pytest.mark.needs("lm")
def test_agent_that_is_held_to_calls_already_is_refused(teacher: Any) -> None:
    from agentsafe_envs.agents.transformers import TransformersAgent

    guided = TransformersAgent(str(FOLDER), prompt_style="json", dtype="float32", device="cpu")
    with pytest.raises(ValueError, match="tool_choice='auto'"):
        without_names(guided, NameTrie(BARRED, ids(teacher)))
