from __future__ import annotations

from typing import Any

import pytest

from agentsafe_envs.trajectories.quality import is_cut_off, longest_loop, quality_warnings

ASK = {"role": "user", "content": "Go."}
DONE = {"role": "assistant", "content": "Done."}


def acting(*names: str, text: bool = False) -> dict[str, Any]:
    messages: list[Any] = [ASK]
    for name in names:
        function = {"name": name, "arguments": '{"a": 1}' if text else {"a": 1}}
        messages += [{"role": "assistant", "content": "", "tool_calls": [{"function": function}]}]
        messages += [{"role": "tool", "content": "ok"}]
    return {"messages": [*messages, DONE]}


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize(
    ("names", "longest"),
    [("", ("", 0)), ("abc", ("a", 1)), ("abab", ("a", 1)), ("abbbc", ("b", 3)), ("aabbb", ("b", 3))],
)
def test_longest_loop(names: str, longest: tuple[str, int], text: bool) -> None:
    assert longest_loop(acting(*names, text=text)) == longest


def test_other_arguments_are_no_loop() -> None:
    row = acting("a", "a", "a")
    row["messages"][3]["tool_calls"][0]["function"]["arguments"] = {"a": 2}
    assert longest_loop(row) == ("a", 1)


@pytest.mark.parametrize(
    ("row", "cut"),
    [
        ({"messages": [ASK, DONE]}, False),
        ({"messages": [ASK]}, False),
        ({"messages": acting("a")["messages"][:-1]}, True),
        ({"messages": acting("a")["messages"][:-2]}, True),
        ({"messages": [ASK, {"role": "assistant", "content": ""}]}, True),
        ({"messages": acting("a")["messages"][:-1], "terminated": True}, False),
        ({"messages": [ASK, DONE], "terminated": False}, True),
        ({"conversations": [{"from": "human", "value": "hi"}, {"from": "observation", "value": "a"}]}, True),
    ],
)
def test_row_that_stops_before_its_end(row: dict[str, Any], cut: bool) -> None:
    assert is_cut_off(row) is cut


def test_good_rows_give_no_warning(rows: Any) -> None:
    assert quality_warnings(rows) == []
    assert quality_warnings([]) == []


def test_no_success_at_all_is_told_with_its_number() -> None:
    rows: Any = [acting("a") | {"success": False} for _ in range(60)]
    assert quality_warnings(rows) == ["success 0 of 60: no row reached its goal, so a student learns to fail"]
    assert quality_warnings([*rows, acting("a") | {"success": True}]) == []
    assert quality_warnings([acting("a")]) == []  # type: ignore[list-item]  # unknown is not failed


def test_loops_and_rows_cut_off_are_counted_and_one_is_named() -> None:
    rows: Any = [acting("a"), acting("b", "b", "b"), acting(*"cccc"), {"messages": acting("a")["messages"][:-1]}]
    assert quality_warnings(rows) == [
        "loops: 2 of 4 rows make the same call 3 times or more without a break; row 2 calls c 4 times",
        "truncated: 1 of 4 rows stop before the agent ended them, the first is row 3",
    ]
