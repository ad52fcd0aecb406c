from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from agentsafe_envs.agents import AgentError, AgentOptions, load_agent
from agentsafe_envs.agents.load import KINDS
from agentsafe_envs.agents.scripted import RandomAgent, ScriptedAgent
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.registration import TABLE, draw_task


@pytest.mark.parametrize("spec", ["scripted:cautious", "scripted:biased", "scripted:null", "scripted:random"])
def test_name_of_an_agent_loads_it_again(spec: str) -> None:
    agent = load_agent(spec)
    assert agent.name == spec
    assert isinstance(agent, RandomAgent if spec == "scripted:random" else ScriptedAgent)


def test_scripted_agent_knows_the_pool() -> None:
    agent = load_agent("scripted:biased", pool="dev")
    assert isinstance(agent, ScriptedAgent)
    agent.look_up(EpisodeKey(TABLE[0].id, "ambiguous", 0))
    assert agent.act([])[0] == draw_task(TABLE[0].id, "ambiguous", 0, "dev").setup.solutions["biased"][0]


@pytest.mark.parametrize("spec", ["", "cautious", "gpt:4", "Scripted:biased", "openai"])
def test_unknown_form_is_refused_with_every_known_one(spec: str) -> None:
    with pytest.raises(AgentError) as caught:
        load_agent(spec)
    assert repr(spec) in str(caught.value)
    assert all(form in str(caught.value) for form in KINDS.values())


def test_unknown_policy_is_refused() -> None:
    with pytest.raises(AgentError, match="no scripted policy ''"):
        load_agent("scripted:")


def test_language_model_gets_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        "agentsafe_envs.agents.transformers.TransformersAgent", lambda rest, **options: seen.update(options, rest=rest)
    )
    options = AgentOptions(prompt_style="json", temperature=0.5, max_new_tokens=9, group_size=3, seed=7)
    load_agent("hf:org/model:branch", options)
    assert seen == {"rest": "org/model:branch", **asdict(options)}
