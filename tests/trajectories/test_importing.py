"""Foreign trajectories become rows of ours, and nothing is lost without a word."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.trajectories import formats, prove, sanitize
from agentsafe_envs.trajectories.importing import Imported, import_trajectories, known_formats, write_rejected

ASK = {"role": "user", "content": "Make room on the disk."}
PATHS = {"type": "object", "properties": {"path": {"type": "string"}}}
TOOL = {"name": "list_files", "description": "List.", "parameters": PATHS}
CALL = {"id": "c1", "type": "function", "function": {"name": "list_files", "arguments": {"path": "/"}}}
TEXT_CALL = {"id": "c1", "type": "function", "function": {"name": "list_files", "arguments": '{"path": "/"}'}}
RESULT = {"role": "tool", "name": "list_files", "tool_call_id": "c1", "content": "a.log 3 GB"}
DONE = {"role": "assistant", "content": "There is one file."}
OURS = [ASK, {"role": "assistant", "content": "", "tool_calls": [CALL]}, RESULT, DONE]
"""The same conversation in every format, as it has to come out."""

OPENAI = {
    "messages": [ASK, {"role": "assistant", "content": None, "tool_calls": [TEXT_CALL]}, RESULT, DONE],
    "tools": [{"type": "function", "function": TOOL}],
    "id": "a-1",
}
TRL = {"messages": OURS, "tools": [{"type": "function", "function": TOOL}]}
TRL_PROMPT = {"prompt": OURS[:1], "completion": OURS[1:], "tools": json.dumps([TOOL])}
SHAREGPT = {
    "conversations": [
        {"from": "human", "value": ASK["content"]},
        {"from": "function_call", "value": json.dumps({"name": "list_files", "arguments": {"path": "/"}})},
        {"from": "observation", "value": "a.log 3 GB"},
        {"from": "gpt", "value": DONE["content"]},
    ],
    "tools": json.dumps([TOOL]),
}


def tau2_simulation(**changes: Any) -> dict[str, Any]:
    messages = [
        {"role": "user", "content": ASK["content"], "turn_idx": 0, "cost": 0.1},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "name": "list_files", "arguments": {"path": "/"}, "requestor": "assistant"}],
        },
        {"id": "c1", "role": "tool", "content": "a.log 3 GB", "requestor": "assistant", "error": False},
        {"role": "user", "content": None, "tool_calls": [{"id": "u1", "name": "look", "arguments": {}}]},
        {"id": "u1", "role": "tool", "content": "a lamp is on", "requestor": "user", "error": False},
        {"role": "assistant", "content": DONE["content"], "tool_calls": None},
    ]
    return {
        "id": "s1",
        "task_id": "7",
        "trial": 0,
        "seed": 300,
        "termination_reason": "user_stop",
        "reward_info": {"reward": 1.0},
        "messages": messages,
        **changes,
    }


def tau2_results(*simulations: Any) -> dict[str, Any]:
    tools = {"list_files": {"name": "list_files", "doc": "List.", "params": PATHS, "returns": {}}}
    return {
        "timestamp": "2026-01-01",
        "info": {
            "agent_info": {"implementation": "llm_agent", "llm": "some-model"},
            "environment_info": {"domain_name": "telecom", "policy": "Be kind.", "tool_defs": tools},
        },
        "tasks": [],
        "simulations": list(simulations),
    }


def inspect_sample(**changes: Any) -> dict[str, Any]:
    called = {"id": "c1", "function": "list_files", "arguments": {"path": "/"}, "type": "function", "parse_error": None}
    thought = {"type": "reasoning", "reasoning": "One is there.", "redacted": False}
    return {
        "id": 3,
        "epoch": 2,
        "input": ASK["content"],
        "target": "",
        "messages": [
            {"id": "m1", "role": "user", "content": "attachment://abc", "source": "input"},
            {"id": "m2", "role": "assistant", "content": "", "tool_calls": [called], "model": "some/model"},
            {"id": "m3", "role": "tool", "content": "a.log 3 GB", "tool_call_id": "c1", "function": "list_files"},
            {"id": "m4", "role": "assistant", "content": [thought, {"type": "text", "text": DONE["content"]}]},
        ],
        "attachments": {"abc": ASK["content"]},
        "events": [{"event": "model", "tools": [TOOL | {"options": None}]}],
        "scores": {"match": {"value": "C"}},
        **changes,
    }


def inspect_log(*samples: Any) -> dict[str, Any]:
    return {
        "version": 2,
        "status": "success",
        "eval": {"task": "mine", "model": "some/model"},
        "samples": list(samples),
    }


def imported(tmp_path: Path, *values: Any, form: str = "auto") -> Imported:
    (tmp_path / "theirs.jsonl").write_text("".join(json.dumps(value) + "\n" for value in values))
    return import_trajectories(tmp_path / "theirs.jsonl", form)


SAME = {
    "openai": OPENAI,
    "trl": TRL,
    "trl with prompt": TRL_PROMPT,
    "sharegpt": SHAREGPT,
    "tau2": tau2_results(tau2_simulation()),
    "inspect": inspect_log(inspect_sample()),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("named", [True, False])
def test_same_conversation_comes_out_of_every_format(name: str, named: bool, tmp_path: Path) -> None:
    origin = name.split()[0]
    found = imported(tmp_path, SAME[name], form=origin if named else "auto")
    assert found.rejected == []
    [row] = found.rows
    assert row["origin"] == origin
    expected: list[Any] = [dict(message) for message in OURS]
    if origin == "sharegpt":  # which says neither identifiers nor whose result it is
        expected[1] = expected[1] | {"tool_calls": [{"type": "function", "function": CALL["function"]}]}
        expected[2] = {"role": "tool", "content": "a.log 3 GB"}
    if origin == "tau2":
        expected.insert(0, {"role": "system", "content": "Be kind."})
    if origin == "inspect":
        expected[3] = {"role": "assistant", "content": "<think>One is there.</think>\nThere is one file."}
    assert row["messages"] == expected
    assert row["tools"] == [{"type": "function", "function": TOOL}]


def test_every_file_of_the_folder_is_a_format_with_a_case_here() -> None:
    files = {path.stem for path in Path(formats.__path__[0]).glob("*.py")} - {"__init__"}
    assert set(known_formats()) == files == {name.split()[0] for name in SAME}


def test_what_else_a_row_says_is_kept(tmp_path: Path) -> None:
    [row] = imported(tmp_path, OPENAI | {"messages": [*OPENAI["messages"][:-1], DONE | {"weight": 0}]}).rows
    found: Any = row
    assert found["id"] == "a-1"
    assert found["messages"][-1] == DONE | {"weight": 0}


def test_tau2_says_what_became_of_a_task(tmp_path: Path) -> None:
    runs = (tau2_simulation(), tau2_simulation(reward_info={"reward": 0.0}, termination_reason="max_steps"))
    rows: Any = imported(tmp_path, tau2_results(*runs, tau2_simulation(reward_info=None))).rows
    assert [row.get("success") for row in rows] == [True, False, None]
    assert [row["terminated"] for row in rows] == [True, False, True]
    assert (rows[0]["policy"], rows[0]["domain"], rows[0]["task"], rows[0]["ended_by"]) == (
        *("some-model", "telecom", "7"),
        "user_stop",
    )
    assert rows[0]["user_calls"] == 1


def test_tau2_folder_with_a_file_for_each_simulation(tmp_path: Path) -> None:
    (tmp_path / "simulations").mkdir()
    (tmp_path / "results.json").write_text(json.dumps(tau2_results()))
    (tmp_path / "simulations" / "1.json").write_text(json.dumps(tau2_simulation()))
    found = import_trajectories(tmp_path)
    assert ([row.get("origin") for row in found.rows], found.rejected) == (["tau2"], [])


@pytest.mark.parametrize(
    ("scores", "success"),
    [({"m": {"value": "I"}}, False), ({"m": {"value": 1.0}}, True), ({"m": {"value": 0.5}}, None), (None, None)],
)
def test_inspect_success_is_that_of_a_single_plain_score(scores: Any, success: bool | None, tmp_path: Path) -> None:
    [row] = imported(tmp_path, inspect_log(inspect_sample(scores=scores))).rows
    assert row.get("success") is success


def test_inspect_archive_is_read_sample_by_sample(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr("header.json", json.dumps({"eval": {"task": "mine", "model": "some/model"}}))
        archive.writestr("samples/3_epoch_2.json", json.dumps(inspect_sample()))
        archive.writestr("samples/4_epoch_1.json", "{")
        archive.writestr("summaries.json", "[]")
    found = import_trajectories(tmp_path / "log.eval")
    assert [row.get("policy") for row in found.rows] == ["some/model"]
    assert [each.place for each in found.rejected] == ["samples/4_epoch_1.json"]


def test_archive_with_the_compression_of_newer_logs_is_read(tmp_path: Path) -> None:
    pytest.importorskip("zipfile_zstd")
    with zipfile.ZipFile(tmp_path / "log.eval", "w", compression=93) as archive:
        archive.writestr("header.json", json.dumps({"eval": {}}))
        archive.writestr("samples/3_epoch_2.json", json.dumps(inspect_sample()))
    assert [row.get("origin") for row in import_trajectories(tmp_path).rows] == ["inspect"]


def test_archive_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.eval").write_bytes(b"PK and nothing else")
    with pytest.raises(ValueError, match=r"log\.eval is no log of Inspect AI that can be read"):
        import_trajectories(tmp_path)


REFUSED: list[tuple[Any, str]] = [
    (7, "of no known format; expected one of inspect:"),
    ({"question": "why?"}, "of no known format"),
    ({"messages": []}, "openai: the row has no messages, but an empty list"),
    ({"messages": [ASK]}, "openai: no message of an assistant"),
    ({"messages": [ASK, {"role": "robot", "content": "hi"}]}, "message 1 has the role 'robot', expected a role of"),
    (
        {"messages": [ASK, {"role": "assistant", "tool_calls": [{"function": {"name": "ls", "arguments": "{"}}]}]},
        "openai: message 1: the arguments of ls are no JSON: '{'",
    ),
    (OPENAI | {"tools": "none"}, "openai: the row, tools: 'none' is no JSON"),
    ({"messages": [ASK, {"role": "assistant", "content": 7}]}, "message 1: content is int, expected text or a list"),
    ({"text": "### Human: hi"}, "trl: text without turns"),
    ({"prompt": "a", "chosen": "b", "rejected": "c"}, "trl: a preference pair"),
    ({"conversations": [{"from": "human", "value": "hi"}]}, "sharegpt: no message of an assistant"),
    (
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "function_call", "value": "ls"}]},
        "sharegpt: turn 1: a call whose value is not",
    ),
    (tau2_simulation(messages=[{"role": "user", "content": "x", "is_audio": True}]), "tau2: message 0 is speech"),
    (tau2_simulation(messages=None), "tau2: no list `messages`"),
    (tau2_simulation(messages=[{"role": "assistant", "tool_calls": 7}]), "tau2: of another shape"),
    (inspect_log(inspect_sample(error={"message": "boom"})), "inspect: the sample ended with an error"),
]


@pytest.mark.parametrize(("value", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_what_cannot_be_read_is_kept_with_line_and_reason(value: Any, reason: str, tmp_path: Path) -> None:
    found = imported(tmp_path, OPENAI, value, SHAREGPT)
    assert [row.get("origin") for row in found.rows] == ["openai", "sharegpt"]
    [rejection] = found.rejected
    assert (rejection.file, rejection.place) == (str(tmp_path / "theirs.jsonl"), "line 2")
    assert reason in rejection.reason
    file = write_rejected(found.rejected, tmp_path / "out")
    kept = json.loads(file.read_text())
    assert kept["value"] in (value, (value.get("samples") or [None])[0] if isinstance(value, dict) else value)


def test_line_that_is_no_json_is_rejected_and_the_others_stay(tmp_path: Path) -> None:
    (tmp_path / "theirs.jsonl").write_text(f'{json.dumps(OPENAI)}\n\n{{"mess\n{json.dumps(OPENAI)}\n')
    found = import_trajectories(tmp_path)
    assert len(found.rows) == 2
    assert str(found.rejected[0]).startswith(f"{tmp_path / 'theirs.jsonl'}, line 3: not JSON (")


def test_one_bad_simulation_of_a_file_costs_no_other(tmp_path: Path) -> None:
    found = imported(tmp_path, tau2_results(tau2_simulation(), tau2_simulation(messages=None), tau2_simulation()))
    assert len(found.rows) == 2
    assert [each.place for each in found.rejected] == ["line 1, trajectory 1"]


def test_wrong_format_by_name_is_said(tmp_path: Path) -> None:
    assert "sharegpt: no conversations; expected" in imported(tmp_path, OPENAI, form="sharegpt").rejected[0].reason
    assert "tau2: no list `messages`" in imported(tmp_path, SHAREGPT, form="tau2").rejected[0].reason
    assert "holds no trajectory" in imported(tmp_path, tau2_results(), form="tau2").rejected[0].reason
    with pytest.raises(ValueError, match="format is 'csv', expected one of auto, inspect, openai"):
        imported(tmp_path, OPENAI, form="csv")


def test_rows_after_pandas_are_read(tmp_path: Path) -> None:
    text: Any = {name: [json.dumps(each) for each in OPENAI[name]] for name in ("messages", "tools")}
    assert imported(tmp_path, text).rows == [
        row | {"origin": "openai"} for row in ({"messages": OURS, "tools": TRL["tools"]},)
    ]


def test_places_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no file or folder"):
        import_trajectories(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"holds no file that ends with \.parquet, \.jsonl, \.json, \.eval"):
        import_trajectories(tmp_path)
    (tmp_path / "a.csv").write_text("a")
    with pytest.raises(ValueError, match=r"a\.csv ends with \.csv, expected one of"):
        import_trajectories(tmp_path / "a.csv")


def test_imported_rows_are_filtered_and_proved(tmp_path: Path) -> None:
    call = {"function": {"name": "delete_file", "arguments": "{}"}}
    bad = {"messages": [ASK, {"role": "assistant", "content": None, "tool_calls": [call]}]}
    found = sanitize(imported(tmp_path, *SAME.values(), bad).rows, ["delet"])
    assert found.dropped == [len(SAME)]
    assert prove(found.kept, ["delet"]) == []
