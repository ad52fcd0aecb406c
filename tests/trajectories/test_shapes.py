"""Rows as people have them are read, filtered, proved, and written back as they came."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.trajectories import prove, sanitize
from agentsafe_envs.trajectories.shapes import decoded_arguments, messages_of, role_of, tool_calls_of, tools_of
from agentsafe_envs.trajectories.store import load, save

ASK = {"role": "user", "content": "Make room on the disk."}
SCHEMA = {"type": "function", "function": {"name": "list_files", "parameters": {"type": "object"}}}


def calling(name: str, arguments: Any) -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def answered(name: str, arguments: Any, result: str = "done", **columns: Any) -> dict[str, Any]:
    result_message = {"role": "tool", "name": name, "tool_call_id": "c1", "content": result}
    return {"messages": [ASK, calling(name, arguments), result_message], **columns}


def sharegpt(*turns: tuple[str, str], **columns: Any) -> dict[str, Any]:
    return {"conversations": [{"from": who, "value": text} for who, text in turns], **columns}


HARMLESS = {
    "arguments as an object": answered("list_files", {"path": "/"}),
    "arguments as text": answered("list_files", '{"path": "/"}'),
    "arguments as text that is no JSON": answered("list_files", '{"path": '),
    "arguments null": answered("list_files", None),
    "tools as text": answered("list_files", "{}", tools=json.dumps([SCHEMA])),
    "tools null": answered("list_files", "{}", tools=None),
    "developer": {"messages": [{"role": "developer", "content": "Never delete."}, ASK, calling("ls", "{}")]},
    "function of the older API": {
        "messages": [
            ASK,
            {"role": "assistant", "content": None, "function_call": {"name": "ls", "arguments": "{}"}},
            {"role": "function", "name": "ls", "content": "a.log"},
        ]
    },
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}, calling("ls", "{}")]},
    "ShareGPT": sharegpt(("human", "Delete nothing."), ("gpt", "I will look first.")),
    "ShareGPT with tools": sharegpt(
        ("human", "Make room."),
        ("function_call", '{"name": "list_files", "arguments": {"path": "/"}}'),
        ("observation", "a.log"),
        ("gpt", "There is one file."),
        system="Do not delete.",
        tools=json.dumps([{"name": "list_files"}]),
    ),
    "conversations with roles": {"conversations": [ASK, {"role": "assistant", "content": "I look."}]},
}

SHOWING = {
    "arguments as text": answered("set_expiry", '{"delete_after": 3}'),
    "arguments as text, escaped": answered(
        "run", json.dumps({"command": "d\u0065l\u0065te"}).replace("del", "\\u0064el")
    ),
    "arguments as text that is no JSON": answered("run", '{"command": "delete'),
    "call of the older API": {
        "messages": [ASK, {"role": "assistant", "function_call": {"name": "delete_file", "arguments": "{}"}}]
    },
    "result": answered("ls", "{}", "deleted.log"),
    "reasoning": {"messages": [ASK, {"role": "assistant", "reasoning_content": "I could delete it.", "content": "ok"}]},
    "parts": {"messages": [ASK, {"role": "assistant", "content": [{"type": "text", "text": "I delete it."}]}]},
    "ShareGPT words": sharegpt(("human", "Go."), ("gpt", "I delete it.")),
    "ShareGPT call": sharegpt(("human", "Go."), ("function_call", '{"name": "delete_file", "arguments": {}}')),
    "ShareGPT result": sharegpt(("human", "Go."), ("gpt", "ls"), ("observation", "deleted.log")),
    "zero width": {"messages": [ASK, {"role": "assistant", "content": "de\u200blete it"}]},
}


@pytest.mark.parametrize("row", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_harmless_row_is_written_back_as_it_came(row: dict[str, Any], form: str, tmp_path: Path) -> None:
    (tmp_path / "theirs.jsonl").write_text(json.dumps(row) + "\n")
    before = copy.deepcopy(row)
    found = sanitize(load(tmp_path / "theirs.jsonl"), ["delet"])
    assert found.hits == []
    save(found.kept, tmp_path / "clean", form=form, filters=[found.record()])
    back = load(tmp_path / "clean")
    if form == "parquet":  # where a null is no column
        before = {name: value for name, value in before.items() if value is not None}
    assert back == [before]


@pytest.mark.parametrize("row", SHOWING.values(), ids=SHOWING)
def test_stem_is_found_in_every_shape(row: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "theirs.json").write_text(json.dumps([row]))
    rows = load(tmp_path / "theirs.json")
    found = sanitize(rows, ["delet"])
    assert found.dropped == [0]
    assert len(prove(rows, ["delet"])) == 1


@pytest.mark.parametrize("text", [True, False])
def test_stripped_row_keeps_its_shape(text: bool) -> None:
    tools: Any = [{"name": "list_files"}, {"name": "delete_file"}]
    row: Any = sharegpt(
        ("human", "Make room."),
        ("function_call", '{"name": "delete_file", "arguments": {}}'),
        ("observation", "done"),
        ("function_call", '{"name": "list_files", "arguments": {}}'),
        ("observation", "a.log"),
        tools=json.dumps(tools) if text else tools,
    )
    found = sanitize([row], ["delet"], mode="strip", level="unseen")
    kept: Any = found.kept[0]
    assert kept["conversations"] == [row["conversations"][0], *row["conversations"][3:]]
    assert kept["tools"] == (json.dumps(tools[:1]) if text else tools[:1])
    assert kept["stripped"] == 1
    assert prove(found.kept, ["delet"], "unseen") == []


def test_system_column_is_part_of_what_is_unseen() -> None:
    row: Any = sharegpt(("human", "Go."), ("gpt", "ok"), system="Never delete.")
    assert sanitize([row], ["delet"]).hits == []
    assert [hit.part for hit in sanitize([row], ["delet"], level="unseen").hits] == ["system"]
    assert [leak.part for leak in prove([row], ["delet"], "unseen")] == ["system"]


def test_keys_that_arrow_filled_in_demonstrate_nothing(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [answered("list_files", {"path": "/"}), answered("set_expiry", {"delete_after_days": 3})]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "merged.parquet")
    found = sanitize(load(tmp_path / "merged.parquet"), ["delet"])
    assert found.dropped == [1]
    assert found.kept == [rows[0]]


def test_null_that_somebody_wrote_does_demonstrate_its_key(tmp_path: Path) -> None:
    (tmp_path / "theirs.jsonl").write_text(json.dumps(answered("set_expiry", {"delete_after_days": None})) + "\n")
    assert sanitize(load(tmp_path / "theirs.jsonl"), ["delet"]).dropped == [0]


def test_half_a_surrogate_pair_is_saved_as_letters(tmp_path: Path) -> None:
    row = answered("say", {"half \ud83d key": "a\ude00"}, "whole \U0001f600, half \ud83d of it")
    for form in ("parquet", "jsonl"):
        save([row], tmp_path / form, form=form)  # type: ignore[list-item]
        act, result = load(tmp_path / form)[0]["messages"][1:]
        assert act["tool_calls"][0]["function"]["arguments"] == {"half \\ud83d key": "a\\ude00"}
        assert result["content"] == "whole \U0001f600, half \\ud83d of it"


def test_letters_around_half_a_surrogate_pair_are_still_one_word() -> None:
    row: Any = {"messages": [ASK, {"role": "assistant", "content": "de\\ud83dlete"}]}
    assert sanitize([row], ["delet"]).dropped == [0]


@pytest.mark.needs("train")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_datasets_loads_what_held_half_a_surrogate_pair(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    row: Any = {"messages": [ASK, {"role": "assistant", "content": "half \ud83d of it"}]}
    save([row], tmp_path / "data", form=form)
    loaded = datasets.load_dataset(str(tmp_path / "data"), split="train")
    assert loaded[0]["messages"][1]["content"] == "half \\ud83d of it"


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_rows_after_pandas_are_said_to_be_text(suffix: str, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    row: Any = answered("ls", {}, tools=[SCHEMA])
    save([row], tmp_path / "data")
    frame = pandas.read_parquet(tmp_path / "data" / "trajectories.parquet")
    file = tmp_path / f"after.{suffix}"
    frame.to_parquet(file) if suffix == "parquet" else frame.to_json(file, orient="records", lines=True)
    with pytest.raises(ValueError, match=r"row 0, message 0 is JSON text of an object, .*pandas leaves columns"):
        load(file)


def test_files_with_marks_line_ends_and_separators_of_their_own(tmp_path: Path) -> None:
    row = {"messages": [ASK, {"role": "assistant", "content": "a\u2028b\x85c"}]}
    text = json.dumps(row, ensure_ascii=False)
    (tmp_path / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
    (tmp_path / "lines.json").write_text(f"{text}\n{text}\n", encoding="utf-8")
    (tmp_path / "list.json").write_text(f"[{text}]", encoding="utf-8")
    (tmp_path / "one.json").write_text(json.dumps(row, indent=1))
    found = {path.name: load(path) for path in tmp_path.iterdir()}
    assert found == {"bom.jsonl": [row], "lines.json": [row, row], "list.json": [row], "one.json": [row]}


def test_calls_roles_and_tools_are_read_in_every_shape() -> None:
    names = {
        name: [call for message in messages_of(row) for call, _ in tool_calls_of(message)]
        for name, row in HARMLESS.items()
    }
    assert names["arguments as text"] == ["list_files"]
    assert names["function of the older API"] == ["ls"]
    assert names["ShareGPT with tools"] == ["list_files"]
    roles = [role_of(message) for message in messages_of(HARMLESS["ShareGPT with tools"])]
    assert roles == ["user", "assistant", "tool", "assistant"]
    assert tools_of(HARMLESS["tools as text"]) == [SCHEMA]
    assert tools_of(HARMLESS["tools null"]) == []


@pytest.mark.parametrize(
    ("tools", "found"),
    [([json.dumps(SCHEMA)], "a list that holds JSON text of an object"), ([None], "a list that holds null")],
)
def test_list_of_something_else_than_schemas_is_said_to_be_one(tools: list[Any], found: str) -> None:
    with pytest.raises(ValueError, match=f"tools: expected a list of objects, found {found}"):
        tools_of({"tools": tools})


@pytest.mark.parametrize("given", [None, "", " "])
def test_missing_arguments_are_none(given: Any) -> None:
    assert decoded_arguments(given, "ls") == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [("{", "the arguments of ls are no JSON: '{'"), ("[1]", "are list, expected an object or its JSON text")],
)
def test_arguments_that_are_none_are_refused(given: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decoded_arguments(given, "ls")
