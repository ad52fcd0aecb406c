from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents.callable import CallableAgent, load_callable
from agentsafe_envs.agents.protocol import AgentError, Conversation

SUBMIT = '{"name": "submit", "arguments": {}}'


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes ``mine.py`` into a fresh working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield (tmp_path / "mine.py").write_text
    sys.modules.pop("mine", None)


def talks(*instructions: str) -> list[Conversation]:
    return [Conversation(instruction, []) for instruction in instructions]


def test_callable_is_asked_for_one_conversation_after_the_other() -> None:
    agent = CallableAgent(lambda conversation: conversation.instruction.upper(), "mine")
    agent.start(0)
    assert agent.act(talks("a", "b")) == ["A", "B"]


def test_exception_of_the_callable_is_an_agent_error_that_names_it() -> None:
    def choose(conversation: Conversation) -> str:
        raise KeyError("volume")

    with pytest.raises(AgentError, match=r"python:mine:make raised KeyError: 'volume'") as caught:
        CallableAgent(choose, "python:mine:make").act(talks("a"))
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("action", [None, b"{}", {"name": "submit"}, 3])
def test_action_that_is_no_text_is_an_agent_error(action: Any) -> None:
    agent = CallableAgent(lambda conversation: action, "mine")
    with pytest.raises(AgentError, match=f"mine returned {type(action).__name__}, expected the action as text"):
        agent.act(talks("a"))


def test_factory_in_the_working_directory_is_found(module: Any) -> None:
    module(f"def make():\n    return lambda conversation: '{SUBMIT}'\n")
    agent = load_callable("mine:make")
    assert (agent.name, agent.group_size, agent.describe()) == ("python:mine:make", 1, {})
    assert list(agent.act(talks("a"))) == [SUBMIT]


def test_object_with_the_protocol_is_taken_as_it_is(module: Any) -> None:
    module(
        "class Whole:\n"
        "    name, group_size = 'python:mine:Whole', 4\n"
        "    def start(self, keys): pass\n"
        "    def act(self, conversations): return ['x'] * len(conversations)\n"
        "    def describe(self): return {'model': 'mine'}\n"
    )
    agent = load_callable("mine:Whole")
    assert (agent.group_size, agent.act(talks("a", "b")), agent.describe()) == (4, ["x", "x"], {"model": "mine"})


@pytest.mark.parametrize(
    ("source", "spec", "complaint"),
    [
        ("", "mine", r"python:mine names no factory; expected python:<module>:<factory>, e\.g\. python:mine:make"),
        ("", "mine:", "names no factory"),
        ("", ":make", "names no factory"),
        ("", "no_such_module:make", "cannot be made: ModuleNotFoundError"),
        ("", "mine:make", "cannot be made: AttributeError: .*make"),
        ("syntax error", "mine:make", "cannot be made: SyntaxError"),
        ("def make(): 1 / 0", "mine:make", "cannot be made: ZeroDivisionError"),
        ("def make(model): pass", "mine:make", "cannot be made: TypeError"),
        ("make = 3", "mine:make", "cannot be made: TypeError"),
        ("def make(): return 3", "mine:make", r"made a int, expected a callable or an object with act\(\)"),
        ("class make: act = len", "mine:make", r"act\(\) but without name, group_size, start, describe"),
    ],
)
def test_factory_that_makes_no_agent_is_refused(module: Any, source: str, spec: str, complaint: str) -> None:
    module(source)
    with pytest.raises(AgentError, match=complaint):
        load_callable(spec)
