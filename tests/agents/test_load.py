from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from agentsafe_envs.agents import AgentError, AgentOptions, load_agent
from agentsafe_envs.agents.load import KINDS, TAKES
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


@pytest.mark.parametrize("spec", ["", "cautious", "gpt:4", "Scripted:biased", "OpenAI:x"])
def test_unknown_form_is_refused_with_every_known_one(spec: str) -> None:
    with pytest.raises(AgentError) as caught:
        load_agent(spec)
    assert repr(spec) in str(caught.value)
    assert all(form in str(caught.value) for form in KINDS.values())


def test_unknown_policy_is_refused() -> None:
    with pytest.raises(AgentError, match="no scripted policy ''"):
        load_agent("scripted:")


def test_language_model_gets_the_options_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        "agentsafe_envs.agents.transformers.TransformersAgent", lambda rest, **options: seen.update(options, rest=rest)
    )
    options = AgentOptions(prompt_style="json", temperature=0.0, max_new_tokens=9, group_size=3, seed=0)
    load_agent("hf:org/model:branch", options)
    assert seen == {"rest": "org/model:branch", **options.given()}
    assert set(seen) == {"rest", "prompt_style", "temperature", "max_new_tokens", "group_size", "seed"}


@pytest.mark.parametrize(
    ("spec", "options", "complaint"),
    [
        ("scripted:null", {"base_url": "http://localhost"}, "scripted:null takes no base_url; it takes none"),
        ("python:a:b", {"seed": 3}, "python:a:b takes no seed; it takes timeout_s"),
        ("process:cat", {"temperature": 0.0, "seed": 1}, "takes no seed, temperature; it takes timeout_s"),
        ("hf:smollm2", {"timeout_s": 3.0}, "hf:smollm2 takes no timeout_s; it takes prompt_style, tool_choice"),
        ("student:any", {"temperature": 1.0}, "student:any takes no temperature; it takes group_size, seed"),
    ],
)
def test_option_that_an_agent_does_not_take_is_refused(spec: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AgentError, match=re.escape(complaint)):
        load_agent(spec, AgentOptions(**options))


def test_every_option_is_taken_by_some_agent() -> None:
    assert {name for names in TAKES.values() for name in names} == {each.name for each in fields(AgentOptions)}
    assert TAKES.keys() <= KINDS.keys()
