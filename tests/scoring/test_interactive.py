from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.registration import MAX_EPISODE_STEPS, TABLE, draw_task
from agentsafe_envs.scoring.interactive import InteractiveSession, plain_result

CLOUD = next(row.id for row in TABLE if row.world == "cloud")
BASH = next(row.id for row in TABLE if row.world == "bash")
IDS = [row.id for row in TABLE]


@pytest.fixture
def session() -> Iterator[InteractiveSession]:
    found = InteractiveSession(CLOUD, split="ambiguous", seed=0, pool="public")
    yield found
    found.close()


@pytest.fixture
def shell() -> Iterator[InteractiveSession]:
    found = InteractiveSession(BASH, split="ambiguous", seed=0, pool="public")
    yield found
    found.close()


def actions(session: InteractiveSession) -> list[str]:
    return [step["action"] for step in session.played().row["episode"]["steps"]]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("env_id", IDS)
def test_person_sees_what_an_agent_sees(env_id: str, split: str) -> None:
    session = InteractiveSession(env_id, split=split, seed=3, pool="dev")
    task = draw_task(env_id, split, 3, "dev")
    text = session.opening()
    assert text.startswith(task.instruction)
    assert all(f"  {name}(" in text for name in task.tools)
    assert f"At most {MAX_EPISODE_STEPS} steps. :help says how to act." in text
    assert "template" not in text
    assert session.take(":task") == task.instruction
    session.close()


@pytest.mark.parametrize(
    "line",
    [
        'list_resources("volume")',
        'list_resources(kind="volume")',
        '  {"name": "list_resources", "arguments": {"kind": "volume"}}',
    ],
)
def test_call_is_understood_however_it_is_written(session: InteractiveSession, line: str) -> None:
    shown = session.take(line)
    assert actions(session) == ['{"name": "list_resources", "arguments": {"kind": "volume"}}']
    assert shown.startswith("items:\n  ")
    assert "id vol-" in shown


def test_name_of_a_tool_alone_is_a_call(session: InteractiveSession) -> None:
    assert session.take("submit") == "submitted: true"
    assert session.over
    assert session.played().row["episode"]["terminated"]


@pytest.mark.parametrize("line", ["please list", 'echo {"name": "submit", "arguments": {}}', "# submit()"])
def test_anything_else_goes_to_the_world_as_it_is(session: InteractiveSession, line: str) -> None:
    session.take(line)
    assert actions(session) == [line]
    assert session.played().row["verdict"]["invalid_actions"] == 1
    assert not session.over


@pytest.mark.parametrize(
    "line", ["", "   ", ":help", ":task", ":tools", ":tool submit", ":tool nope", ":nope", "help submit"]
)
def test_words_of_ours_are_no_steps(session: InteractiveSession, line: str) -> None:
    session.take(line)
    assert actions(session) == []
    assert not session.over


def test_help_for_a_tool_is_its_schema(session: InteractiveSession) -> None:
    assert json.loads(session.take(":tool delete_resource"))["parameters"]["required"] == ["resource_id"]
    assert session.take(":tool nope").startswith("no tool nope; there is ")
    assert "a call of a tool" in session.take(":help")
    assert session.take("help") == session.take("?") == session.take(":help")
    assert session.take("help delete_resource") == session.take(":tool delete_resource")
    assert "there is :help" in session.take(":nope")


@pytest.mark.parametrize("line", [":quit", "quit", "exit"])
def test_leaving_is_no_step(session: InteractiveSession, line: str) -> None:
    session.take(line)
    assert session.over
    assert actions(session) == []


@pytest.mark.needs("bubblewrap")
@pytest.mark.parametrize(
    "line",
    ["pwd", "{ pwd; }", "bash -c pwd", "bash", ": >/tmp/new", ":>/tmp/new", "echo {} | cat", "submit_it()", "ls :help"],
)
def test_plain_line_is_a_command_where_there_is_a_shell(shell: InteractiveSession, line: str) -> None:
    shell.take(line)
    assert [json.loads(action) for action in actions(shell)] == [{"name": "bash", "arguments": {"command": line}}]
    assert shell.played().row["verdict"]["invalid_actions"] == 0


@pytest.mark.needs("bubblewrap")
@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('ask_operator("May I?")', "ask_operator"),
        ('{"name": "bash", "arguments": {"command": "pwd"}}', "bash"),
        ('bash("pwd")', "bash"),
        ("submit", "submit"),
    ],
)
def test_call_is_a_call_where_there_is_a_shell(shell: InteractiveSession, line: str, name: str) -> None:
    shell.take(line)
    assert [json.loads(action)["name"] for action in actions(shell)] == [name]


@pytest.mark.needs("bubblewrap")
def test_what_a_command_prints_is_shown_as_an_agent_sees_it(shell: InteractiveSession) -> None:
    assert shell.take("""echo '{"a": 1}'""") == '{"a": 1}'
    assert shell.take(r"printf '\033[31mred\n'") == r"\x1b[31mred"
    assert shell.take("cd /srv && pwd") == "/srv"
    assert shell.take("pwd; false") == "/srv\n[exit 1]"
    assert "a command for the shell" in shell.take(":help")
    assert "a command for the shell" not in shell.take("help")  # bash answers


def test_leaving_judges_what_was_done(session: InteractiveSession) -> None:
    target = draw_task(CLOUD, "ambiguous", 0).setup.targets[0]
    session.take(f'delete_resource("{target}")')
    session.take(":quit")
    assert session.over
    row = session.played().row
    assert (row["verdict"]["first"], row["verdict"]["unsafe"]) == ("biased", True)
    assert not row["episode"]["terminated"]


def test_last_step_ends_the_episode_and_says_so(session: InteractiveSession) -> None:
    shown = [session.take("wait") for _ in range(MAX_EPISODE_STEPS)]
    assert session.over
    assert ["That was the last step." in each for each in shown] == [False] * (MAX_EPISODE_STEPS - 1) + [True]


def test_unknown_environment_is_refused() -> None:
    with pytest.raises(ValueError, match="no environment 'Nope'"):
        InteractiveSession("Nope", split="ambiguous", seed=0, pool="public")


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        ('{"a": 1, "b": null}', "a: 1\nb: null"),
        ('{"items": [{"id": "x", "tags": ["y"]}, 3], "next_page": 2}', 'items:\n  id x, tags ["y"]\n  3\nnext_page: 2'),
        ('{"items": []}', "items: []"),
        ('{"a": {"b": {"c": "d"}}}', "a: b c d"),
        ("[1, 2]", "[1, 2]"),
        ("total 0\n-rw", "total 0\n-rw"),
        ("", ""),
    ],
)
def test_result_is_shown_for_people(result: str, shown: str) -> None:
    assert plain_result(result) == shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_any_result_can_be_shown(value: object) -> None:
    assert isinstance(plain_result(json.dumps(value)), str)
