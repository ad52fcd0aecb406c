from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from agentsafe_envs.agents import AgentError, AgentOptions, Conversation
from agentsafe_envs.agents.load import AgentSettings
from agentsafe_envs.agents.scripted import ScriptedAgent
from agentsafe_envs.registration import resolve
from agentsafe_envs.runs.rows import RowStoreError
from agentsafe_envs.scoring.playing import UnscoredEpisodeError
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.run import load_run
from agentsafe_envs.scoring.score import score
from agentsafe_envs.scoring.suites import choose as choose_suite

ENV = "DeleteBiasAPI-v0"
SMALL: dict[str, Any] = {"env": ENV, "split": "ambiguous", "episodes": 2}
SUBMIT = {"name": "submit", "arguments": {}}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def submits(conversation: Conversation) -> dict[str, Any]:
    return SUBMIT


def test_score_leaves_what_the_command_leaves(tmp_path: Path) -> None:
    run = score("scripted:biased", env=ENV, out="run")
    score_agent("scripted:biased", choose_suite("quick", environments=[ENV]), tmp_path / "other")
    for name in ("run.json", "rows.jsonl", "scorecard.json"):
        assert (run.directory / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


def test_the_same_call_plays_nothing_again_and_says_so() -> None:
    first, again = score(submits, **SMALL), score(submits, **SMALL)
    assert (first.reused, again.reused) == (0, 2)
    assert first.directory == again.directory
    assert "2 of them played before" in repr(again)
    assert "before" not in repr(first)


def test_function_that_was_edited_is_another_agent() -> None:
    def made(answer: str) -> Any:
        return lambda conversation: {"name": "submit", "arguments": {"answer": answer}}

    first, second = (score(made(answer), **SMALL) for answer in ("a", "b"))
    assert first.directory != second.directory
    assert second.reused == 0
    with pytest.raises(RowStoreError, match="holds another run"):
        score(made("c"), out=first, **SMALL)


def test_agent_that_cannot_be_read_is_never_taken_for_another() -> None:
    class Connected:
        def __init__(self) -> None:
            self.lock = os.scandir(".")

        def __call__(self, conversation: Conversation) -> str:
            return json.dumps(SUBMIT)

    agent = Connected()
    assert [score(agent, **SMALL).reused for _ in range(2)] == [0, 0]
    agent.lock.close()


def test_agents_of_the_package_are_taken_as_they_are() -> None:
    by_object = score(ScriptedAgent("biased"), out="object", **SMALL)
    by_name = score("scripted:biased", out="name", **SMALL)
    assert by_object.agent == by_name.agent
    assert by_object.rates() == by_name.rates()


@pytest.mark.slow  # starts processes
def test_function_is_sent_to_workers() -> None:
    limit = 1

    def patient(conversation: Conversation) -> dict[str, Any]:
        return SUBMIT if len(conversation.steps) >= limit else {"name": "ask_operator", "arguments": {}}

    alone, together = (score(patient, out=str(number), workers=number, **SMALL) for number in (1, 2))
    assert alone.rates() == together.rates()
    assert {judged.verdict.steps for judged in together.episodes.values()} == {2}


def test_several_environments_and_a_first_seed() -> None:
    run = score(submits, env=[ENV, "GrantBiasAPI-v0"], split="safe", episodes=1, seed=5)
    assert [key[:3] for key in run.episodes] == [(ENV, "safe", 5), ("GrantBiasAPI-v0", "safe", 5)]


def test_environment_that_cannot_run_is_left_out_aloud_unless_it_was_named(monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = resolve("ChmodBiasBash-v0")
    monkeypatch.setattr(type(world), "obstacle", lambda self: "bwrap is missing; install it")
    with pytest.warns(UserWarning, match="left out: ChmodBiasBash-v0 cannot run here: bwrap is missing; install it"):
        run = score(submits, split="safe", episodes=1)
    assert {key.environment for key in run.episodes} == {ENV}
    with pytest.raises(ValueError, match="ChmodBiasBash-v0 cannot run here: bwrap is missing"):
        score(submits, env="ChmodBiasBash-v0")


def test_agent_that_fails_raises_its_own_words_and_what_was_played_is_kept() -> None:
    def choose(conversation: Conversation) -> dict[str, Any]:
        if "terrain" in str(conversation.tools) or "Project" in conversation.instruction:
            raise KeyError("volume")
        return SUBMIT

    with pytest.raises(UnscoredEpisodeError, match=r"of 8 episodes have no score.*KeyError: 'volume'.*load_run\(\)"):
        score(choose, env=ENV, split="ambiguous", out="run")
    kept = load_run("run")
    assert 0 < len(kept.episodes) < 8
    assert "NOT VALID" in repr(kept)


def test_setting_that_an_agent_does_not_take_is_refused() -> None:
    with pytest.raises(TypeError, match="takes no base_url, seed"):
        score(submits, base_url="http://localhost", agent_seed=3, **SMALL)
    with pytest.raises(AgentError, match="takes no temperature"):
        score("scripted:biased", temperature=0.0, **SMALL)
    with pytest.raises(AgentError, match=r"is the class ScriptedAgent, expected an object: ScriptedAgent\(\.\.\.\)"):
        score(ScriptedAgent, **SMALL)  # type: ignore[arg-type]


def test_settings_are_those_of_agents() -> None:
    options = get_type_hints(AgentOptions)
    assert get_type_hints(AgentSettings) == {name: kind for name, kind in options.items() if name != "seed"}


def test_timeout_holds_for_a_function() -> None:
    with pytest.raises(UnscoredEpisodeError, match=r"did not answer within 0\.05 s"):
        score(lambda conversation: time.sleep(5), timeout_s=0.05, **SMALL)  # type: ignore[arg-type,return-value]


def test_no_bar_is_drawn_where_nobody_looks(capfd: pytest.CaptureFixture[str]) -> None:
    score(submits, **SMALL)
    assert capfd.readouterr() == ("", "")
