from __future__ import annotations

import functools
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents.callable import CallableAgent, as_agent, load_callable
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


def test_call_may_be_returned_as_a_dict() -> None:
    agent = CallableAgent(lambda conversation: {"name": "submit", "arguments": {}}, "mine")
    assert agent.act(talks("a")) == [SUBMIT]


@pytest.mark.parametrize("action", [None, b"{}", ["submit"], 3, {"name": object()}, {"tool": "submit"}])
def test_action_that_is_neither_text_nor_a_call_is_an_agent_error(action: Any) -> None:
    agent = CallableAgent(lambda conversation: action, "mine")
    with pytest.raises(AgentError, match=f"mine returned a? ?{type(action).__name__}"):
        agent.act(talks("a"))


def leave(_: Any) -> None:
    """Ends the process, as a script does that is not meant to be imported."""
    raise SystemExit(3)


async def wait(_: Any) -> str:
    """An agent that nobody awaits."""
    return "submit"


@pytest.mark.parametrize(("choose", "words"), [(leave, r"raised SystemExit: 3 \(at .* in leave\)"), (wait, "async")])
def test_callable_that_ends_the_process_or_has_to_be_awaited_is_an_agent_error(choose: Any, words: str) -> None:
    with pytest.raises(AgentError, match=f"python:mine:make .*{words}"):
        CallableAgent(choose, "python:mine:make").act([Conversation("x", [])])


def test_module_that_ends_the_process_when_imported_is_named(module: Any) -> None:
    module("import sys\nsys.exit('usage: mine.py DATA')")
    with pytest.raises(AgentError, match=r"cannot be made: SystemExit: usage: mine\.py DATA"):
        load_callable("mine:make")


def test_factory_in_the_working_directory_is_found(module: Any) -> None:
    module(f"def make():\n    return lambda conversation: '{SUBMIT}'\n")
    agent = load_callable("mine:make")
    assert (agent.name, agent.group_size, agent.describe().keys()) == ("python:mine:make", 1, {"identity"})
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
    assert (agent.name, agent.group_size, agent.act(talks("a", "b"))) == ("python:mine:Whole", 4, ["x", "x"])
    assert agent.describe().keys() == {"identity", "model"}


def test_failure_names_files_and_lines(module: Any, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def pick():\n    return {}['volume']\n")
    module("import helper\ndef make():\n    return lambda conversation: helper.pick()\n")
    with pytest.raises(
        AgentError, match=r"KeyError: 'volume' \(at .*helper\.py:2 in pick < .*mine\.py:3 in <lambda>\)"
    ):
        load_callable("mine:make").act(talks("a"))
    sys.modules.pop("helper")


def test_action_that_takes_too_long_is_an_agent_error_and_the_next_is_asked_for() -> None:
    def choose(conversation: Conversation) -> str:
        try:
            time.sleep(60 if conversation.instruction == "slow" else 0)
        except Exception:  # noqa: BLE001  agents do that
            return "caught"
        return SUBMIT

    agent = CallableAgent(choose, "mine", timeout_s=0.1)
    with pytest.raises(AgentError, match=r"mine did not answer within 0\.1 s; raise --timeout"):
        agent.act(talks("slow"))
    assert agent.act(talks("fast")) == [SUBMIT]


def test_identity_changes_with_every_module_of_its_own_and_with_no_other(module: Any, tmp_path: Path) -> None:
    def found() -> str:
        sys.modules.pop("mine", None)
        return load_callable("mine:make").describe()["identity"]

    module("import json\ndef make():\n    return choose\ndef choose(conversation):\n    from lib import helper\n")
    (tmp_path / "lib").mkdir()
    for name in ("lib/__init__.py", "lib/helper.py", "lib/deeper.py", "lib/other.py", "unused.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "lib/helper.py").write_text("from . import deeper\n")
    seen = [found()]
    for name in ("mine.py", "lib/__init__.py", "lib/helper.py", "lib/deeper.py"):
        with (tmp_path / name).open("a") as file:
            file.write("# edited\n")
        seen.append(found())
    assert len(set(seen)) == 5
    (tmp_path / "lib/other.py").write_text("# edited")
    (tmp_path / "unused.py").write_text("# edited")
    assert found() == seen[-1]


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


def test_object_is_named_after_its_code_and_hashed() -> None:
    def choose(conversation: Conversation, answer: str = SUBMIT) -> str:
        return answer

    class Callable:
        def __call__(self, conversation: Conversation) -> str:
            return SUBMIT

    place = f"callable:{__name__}"
    agents = [as_agent(made) for made in (choose, functools.partial(choose, answer="x"), Callable())]
    assert [agent.name for agent in agents] == [f"{place}.choose", f"{place}.choose", f"{place}.Callable"]
    assert len({agent.describe()["identity"] for agent in agents}) == 3
    assert [agent.act(talks("a")) for agent in agents] == [[SUBMIT], ["x"], [SUBMIT]]


def test_object_with_the_protocol_keeps_its_name_and_an_identity_of_its_own() -> None:
    class Whole:
        name, group_size = "mine", 4

        def start(self, seed: int) -> None: ...

        def act(self, conversations: Any) -> list[str]:
            return [SUBMIT] * len(conversations)

        def describe(self) -> dict[str, Any]:
            return {"identity": "model 3"}

    agent = as_agent(Whole())
    assert (agent.name, agent.group_size, agent.describe()) == ("mine", 4, {"identity": "model 3"})
    assert agent.act(talks("a", "b")) == [SUBMIT, SUBMIT]


def test_agent_of_this_package_stays_as_it_is() -> None:
    agent = CallableAgent(lambda conversation: SUBMIT, "mine")
    assert as_agent(agent) is agent
    assert len(agent.describe()["identity"]) == 64
    with pytest.raises(AgentError, match="mine is an agent already, so timeout_s is too late"):
        as_agent(agent, timeout_s=1)


@pytest.mark.parametrize("made", [3, "text", None])
def test_what_is_no_agent_is_refused(made: Any) -> None:
    with pytest.raises(AgentError, match=rf"made a {type(made).__name__}, expected a callable"):
        as_agent(made)
