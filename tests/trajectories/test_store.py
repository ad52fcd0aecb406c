from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agentsafe_envs.trajectories import Trajectory, sanitize, to_episode
from agentsafe_envs.trajectories.store import FORMATS, find_data_sets, load, load_facts, rows_file, save

each_form = pytest.mark.parametrize("form", FORMATS)


@each_form
def test_rows_come_back_and_can_be_judged_again(form: str, rows: Sequence[Trajectory], tmp_path: Path) -> None:
    save(rows, tmp_path / "data", form=form)
    back = load(tmp_path / "data")
    assert back == list(rows)
    assert [to_episode(row) for row in back] == [to_episode(row) for row in rows]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
"""Without halves of surrogate pairs, which are saved as letters."""

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    TEXT,
    st.lists(st.integers()),
    st.dictionaries(TEXT, st.one_of(st.none(), TEXT, st.lists(st.none()))),
)


@each_form
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(values=[1, 2**64], arguments={"": "", "x": 10**400})
@given(values=st.lists(VALUES, min_size=1, max_size=4), arguments=st.dictionaries(TEXT, VALUES))
def test_any_column_and_any_arguments_come_back(
    form: str, values: list[Any], arguments: dict[str, Any], tmp_path: Path, talk: Any
) -> None:
    rows = [{**talk({"name": "a", "arguments": {"x": value, **arguments}}), "extra": value} for value in values]
    save(rows, tmp_path / "data", form=form)
    back = load(tmp_path / "data")
    if form == "parquet":  # where a null is no column
        rows = [{name: value for name, value in row.items() if value is not None} for row in rows]
    assert back == rows
    assert [type(row.get("extra")) for row in back] == [type(row.get("extra")) for row in rows]


@each_form
def test_rows_may_differ_in_their_columns(form: str, talk: Any, tmp_path: Path) -> None:
    rows = [talk("a"), {**talk("b"), "seed": 3}, {"messages": talk("c")["messages"], "note": "x", "stripped": 2}]
    save(rows, tmp_path, form=form)
    assert load(tmp_path) == rows


@each_form
def test_equal_rows_give_equal_bytes(form: str, rows: Sequence[Trajectory], tmp_path: Path) -> None:
    for name in ("one", "two"):
        save(json.loads(json.dumps(rows)), tmp_path / name / "data", form=form)
    first, second = (sorted((tmp_path / name / "data").iterdir()) for name in ("one", "two"))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]
    assert [file.name for file in first] == ["README.md", f"trajectories.{form}"]


def test_facts_do_not_depend_on_the_format(rows: Sequence[Trajectory], tmp_path: Path) -> None:
    parquet, jsonl = (save(rows, tmp_path / form, form=form) for form in FORMATS)
    assert parquet == jsonl == load_facts(tmp_path / "parquet")
    assert save(rows[1:], tmp_path / "other").sha256 != parquet.sha256


def test_another_format_in_the_same_folder_takes_the_place_of_the_first(
    rows: Sequence[Trajectory], tmp_path: Path
) -> None:
    save(rows, tmp_path, form="jsonl")
    save(rows[:2], tmp_path, form="parquet")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["README.md", "trajectories.parquet"]
    assert len(load(tmp_path)) == 2


def test_claim_of_a_filter_that_does_not_hold_is_not_saved(rows: Sequence[Trajectory], tmp_path: Path) -> None:
    record = sanitize(rows, ["delet"]).record()
    with pytest.raises(ValueError, match=r"not undemonstrated: 'delet' is in row 3, messages\[4\]; \d+ leaks in all"):
        save(rows, tmp_path / "data", filters=[record])
    assert not (tmp_path / "data").exists()


def test_no_rows_wrong_rows_and_other_formats_are_refused(rows: Sequence[Trajectory], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no row is left"):
        save([], tmp_path)
    with pytest.raises(ValueError, match="row 1 has no messages"):
        save([rows[0], {"messages": []}], tmp_path)
    with pytest.raises(ValueError, match="format is 'csv', expected one of parquet, jsonl"):
        save(rows, tmp_path, form="csv")
    assert not list(tmp_path.iterdir())


def test_nested_columns_of_other_writers_are_read(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    messages = [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}]]
    parquet.write_table(pa.table({"messages": messages, "id": ["a"]}), tmp_path / "theirs.parquet")
    assert load(tmp_path / "theirs.parquet") == [{"messages": messages[0], "id": "a"}]
    assert load_facts(tmp_path / "theirs.parquet") is None


def test_card_beside_another_file_is_not_about_it(rows: Sequence[Trajectory], tmp_path: Path) -> None:
    save(rows, tmp_path)
    (tmp_path / "other.jsonl").write_text(json.dumps(rows[0]) + "\n")
    assert load_facts(tmp_path / "other.jsonl") is None
    (tmp_path / "README.md").write_text("# Somebody else's\n")
    assert load_facts(tmp_path) is None


def test_line_separators_inside_a_json_string_end_no_line(talk: Any, tmp_path: Path) -> None:
    row = talk("a\u2028b\x85c")
    (tmp_path / "theirs.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n\n", encoding="utf-8")
    assert load(tmp_path / "theirs.jsonl") == [row]


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and nothing else")
    (tmp_path / "bad.jsonl").write_text('{"messages": [{"role": "user"}]}\n{"mess\n')
    (tmp_path / "bad.csv").write_text("a,b\n")
    for name, error, message in (
        ("bad.parquet", ValueError, "bad.parquet is no parquet file that can be read"),
        ("bad.jsonl", ValueError, "bad.jsonl, line 2: not JSON"),
        ("bad.csv", ValueError, "bad.csv ends with .csv, expected one of .parquet, .jsonl, .json"),
        ("none", FileNotFoundError, "no data set at .*none; expected its folder"),
        ("", FileNotFoundError, "holds no trajectories.parquet or trajectories.jsonl"),
    ):
        with pytest.raises(error, match=message):
            load(tmp_path / name)


def test_row_of_another_shape_is_named_with_file_and_number(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"messages": [{"role": "user", "content": "hi"}]}\n[]\n')
    with pytest.raises(ValueError, match=r"x\.jsonl, row 1 has no messages"):
        load(tmp_path / "x.jsonl")


def test_data_sets_are_found_in_folders_but_not_in_hidden_ones(rows: Sequence[Trajectory], tmp_path: Path) -> None:
    for name, form in (("b", "parquet"), ("a/inner", "jsonl"), (".hidden/c", "parquet")):
        save(rows[:1], tmp_path / name, form=form)
    assert list(find_data_sets(tmp_path)) == [tmp_path / "a/inner", tmp_path / "b"]
    assert list(find_data_sets(tmp_path / "b")) == [tmp_path / "b"]
    assert rows_file(tmp_path / "a/inner").name == "trajectories.jsonl"
    with pytest.raises(FileNotFoundError, match="no folder"):
        list(find_data_sets(tmp_path / "nowhere"))
