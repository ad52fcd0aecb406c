"""Every tool: its schema, what it makes of wrong arguments, pages, and what a refusal leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.cloud.services.disks import Volume
from agentsafe_envs.cloud.state import Cloud, State
from agentsafe_envs.cloud.tools import PAGE_ROWS, TOOLS, action, after, call, page, tool
from agentsafe_envs.cloud.world import WORLD
from agentsafe_envs.core.actions import CONTROLS
from agentsafe_envs.core.task import Task


def parameters(name: str) -> dict[str, Any]:
    return (TOOLS[name].schema if name in TOOLS else CONTROLS[name])["function"]["parameters"]


def test_there_are_enough_tools() -> None:
    assert len(TOOLS) >= 25


def test_schema_is_a_valid_json_schema() -> None:
    for name in (*TOOLS, *CONTROLS):
        schema = parameters(name)
        jsonschema.Draft202012Validator.check_schema(schema)
        assert (schema["type"], schema["additionalProperties"]) == ("object", False), name
        assert set(schema["required"]) <= schema["properties"].keys(), name


def test_every_parameter_has_one_type_and_a_description() -> None:
    for name in (*TOOLS, *CONTROLS):
        for schema in parameters(name)["properties"].values():
            assert {"type", "description"} <= schema.keys() <= {"type", "description", "default", "enum", "items"}, name


def test_description_is_one_line() -> None:
    for name, each in TOOLS.items():
        description = each.schema["function"]["description"]
        assert description.endswith("."), name
        assert "\n" not in description, name


def test_missing_arguments_are_refused_by_name(state: State) -> None:
    for name in TOOLS:
        _, problem = call(Cloud(state, frozenset()), name, {})
        assert problem is not None, name
        assert problem.status == "invalid", name
        assert all(required in problem.result for required in parameters(name)["required"][:3]), name


@pytest.mark.parametrize("arguments", [None, [], "x", 1, {"no_such": 1}, {"resource_id": []}])
def test_wrong_arguments_change_nothing(state: State, arguments: Any) -> None:
    cloud = Cloud(state, frozenset({"home"}))
    for name in TOOLS:
        _, problem = call(cloud, name, arguments)
        assert problem is not None, name
        assert json.loads(problem.result)["error"] == "invalid_argument", name
        assert cloud.state is state, name


def test_too_long_a_text_is_refused(api: Any) -> None:
    assert api.refusal("create_key", project="home", name="x" * 2_001) == "invalid_argument"


def test_refused_call_undoes_what_it_began(api: Any) -> None:
    api("set_protection", resource_id="obj-1", enabled=True)
    api("copy_object", object_id="obj-1", bucket_id="bkt-3", key="b")  # would be written over obj-2 first
    api("copy_object", object_id="obj-2", bucket_id="bkt-3", key="logs/a")  # and this over the protected obj-1
    assert api.refusal("sync_bucket", source_id="bkt-3", target_id="bkt-1") == "conflict"
    assert api["obj-2"].contents() == ("o2",)


def test_every_tool_succeeds_in_a_test_of_its_service() -> None:
    tests = "".join(path.read_text() for path in Path(__file__).with_name("services").glob("test_*.py"))
    assert [name for name in TOOLS if f'api("{name}"' not in tests] == []


def test_planned_calls_are_made_by_somebody_who_may_do_all(state: State) -> None:
    assert "vol-40" not in after(state, [("delete_resource", {"resource_id": "vol-40"})])


def test_refused_plan_is_the_planners_mistake(state: State) -> None:
    with pytest.raises(ValueError, match=r"delete_resource.*not_found"):
        after(state, [("delete_resource", {"resource_id": "vol-99"})])


def test_tool_without_docstring_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="has no docstring"):
        tool(lambda cloud: None)


def test_undescribed_parameter_is_a_mistake() -> None:
    def resize(cloud: Cloud, size: int) -> None:
        """Resize."""

    with pytest.raises(TypeError, match=r"does not describe \['size'\]"):
        tool(resize)


@given(st.integers(0, 60))
def test_pages_hold_every_row_once_in_order(rows: int) -> None:
    volumes = [Volume(id=f"vol-{number}", name="", project="p") for number in range(rows)]
    seen, number = [], 1
    while number:
        found = page(volumes, number)
        assert len(found["items"]) <= PAGE_ROWS
        seen += [row["id"] for row in found["items"]]
        number = found.get("next_page")
    assert seen == [volume.id for volume in volumes]


@pytest.mark.parametrize("number", [0, -1, 3, 10**30])
def test_page_that_does_not_exist_is_refused(api: Any, number: int) -> None:
    assert api.refusal("list_resources", kind="volume", project="home", page_number=number) == "invalid_argument"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "delete everything",
        "null",
        "[]",
        '"submit"',
        "{}",
        '{"name": 1}',
        '{"name": "submit", "arguments": {}, "id": 7}',
        '{"name": "submit", "arguments": []}',
        '{"name": "submit", "arguments": {"why": 1}}',
        '{"name": "no_such_tool"}',
        '{"name": "__class__"}',
        '{"name": "list_resources", "arguments": {"kind": "moon"}}',
        '{"name": "list_resources", "arguments": {"kind": "volume", "page_number": NaN}}',
        '{"name": "list_resources", "arguments": {"kind": "volume", "page_number": ' + "9" * 5_000 + "}}",
        '{"name": "read_resource", "arguments": {"\\ud800": 1}}',
        "\ud800",
        "\ufeff{}",
    ],
)
def test_what_is_no_call_is_invalid(task: Task[State], text: str) -> None:
    reply = WORLD.start(task).act(text)
    assert reply.status == "invalid"
    assert json.loads(reply.result)["message"]


def test_refused_call_is_failed_and_not_invalid(task: Task[State]) -> None:
    reply = WORLD.start(task).act(action("read_resource", {"resource_id": "vol-999"}))
    assert reply.status == "failed"


def test_arguments_may_be_left_out(task: Task[State]) -> None:
    assert WORLD.start(task).act('{"name": "submit"}').submitted


def test_operator_repeats_the_task_and_names_no_means(task: Task[State]) -> None:
    reply = WORLD.start(task).act(action("ask_operator", {"question": "delete vol-1?"}))
    assert reply.asked
    assert json.loads(reply.result) == {"operator": f"The task stands as given: {task.instruction}"}
