from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from agentsafe_envs.cli.app import app
from agentsafe_envs.trajectories import Trajectory
from agentsafe_envs.trajectories.store import load, load_facts, save

COMMANDS = ["list", "show", "sanitize", "export", "card"]


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: Sequence[Trajectory]) -> None:
    """The working directory holds the data set ``raw``: three rows without a stem and three with one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    save(rows, "raw", command="made by a test")


def run(*arguments: str, code: int = 0) -> Any:
    found = CliRunner().invoke(app, ["data", *arguments])
    assert found.exit_code == code, found.output
    return found


def test_scored_run_becomes_a_data_set_that_is_filtered_proved_and_listed() -> None:
    wish = ["--env", "DeleteBiasAPI-v0", "--split", "ambiguous", "--episodes", "4", "--out", "run"]
    CliRunner().invoke(app, ["score", "scripted:biased", *wish])
    assert "4 rows are in teacher" in run("export", "run", "teacher").stderr
    run("sanitize", "teacher", "stripped", "--mode", "strip")
    assert all("delet" not in json.dumps(row["messages"]) for row in load("stripped"))
    listed = run("list").stdout
    assert [line.split()[0] for line in listed.splitlines() if "scripted:biased" in line] == ["stripped", "teacher"]
    assert "undemonstrated (delet, remov" in listed


def test_sanitize_prints_the_share_of_every_stem_and_the_proof() -> None:
    found = run("sanitize", "raw", "clean", "--stems", "delet, rm")
    assert "delete_resource" in found.stdout
    assert "50.0%" in found.stdout
    assert "dropped 3 of 6 rows (50.0%)" in found.stdout
    assert "proved undemonstrated: no stem left in 3 rows of clean" in found.stderr
    assert len(load("clean")) == 3


def test_sanitize_as_json_is_every_reason_and_nothing_else() -> None:
    found = json.loads(run("sanitize", "raw", "clean", "--stems", "delet", "--json").stdout)
    assert (found["rows"], found["dropped"], found["share_dropped"]) == (6, 3, 0.5)
    assert {hit["row"] for hit in found["hits"]} == {3, 4, 5}


@pytest.mark.parametrize("wish", [[], ["--bias", "delete"], ["--bias", "DeleteBiasAPI-v0"]])
def test_sanitize_knows_the_stems_of_a_bias_and_of_the_rows_environments(wish: list[str]) -> None:
    run("sanitize", "raw", "clean", *wish)
    facts = load_facts("clean")
    assert facts is not None
    assert facts.filters[0]["stems"][:2] == ["delet", "remov"]


def test_stems_of_a_bias_and_stems_of_ones_own_add_up() -> None:
    run("sanitize", "raw", "clean", "--bias", "delete", "--stems", "rm")
    facts = load_facts("clean")
    assert facts is not None
    assert facts.filters[0]["stems"][-2:] == ["expir", "rm"]


def test_command_on_the_card_makes_the_same_data_again() -> None:
    run("sanitize", "raw", "clean", "--stems", "delet,*", "--mode", "strip", "--level", "undemonstrated")
    before, facts = Path("clean/trajectories.parquet").read_bytes(), load_facts("clean")
    assert facts is not None
    for file in Path("clean").iterdir():
        file.unlink()
    run(*shlex.split(facts.command)[2:])
    assert Path("clean/trajectories.parquet").read_bytes() == before


def test_filters_add_up_and_each_is_proved_again() -> None:
    run("sanitize", "raw", "clean", "--stems", "delet")
    run("sanitize", "clean", "cleaner", "--stems", "rm", "--level", "unseen")
    run("export", "cleaner", "lines", "--format", "jsonl")
    facts = load_facts("lines")
    assert facts is not None
    assert [(each["stems"], each["level"]) for each in facts.filters] == [
        (["delet"], "undemonstrated"),
        (["rm"], "unseen"),
    ]


def test_sanitize_of_which_nothing_is_left_leaves_one_and_writes_nothing() -> None:
    found = run("sanitize", "raw", "clean", "--level", "unseen", code=1)
    assert "dropped 6 of 6 rows (100.0%)" in found.stdout
    assert "no row is left, so clean was not written" in found.stderr
    assert not Path("clean").exists()


def test_file_without_rows_has_no_share() -> None:
    Path("none.jsonl").write_text("")
    assert "dropped 0 of 0 rows (0.0%)" in run("sanitize", "none.jsonl", "clean", "--stems", "rm", code=1).stdout


def test_show_is_a_readable_conversation() -> None:
    text = run("show", "raw", "--row", "3").stdout
    assert "policy teacher" in text
    assert "tools: " in text
    assert '\nassistant: delete_resource {"resource_id": "' in text
    assert '\ntool: {"deleted":"' in text
    assert text.index("\nsystem: ") < text.index("\nuser: ") < text.index("\nassistant: ")


def test_show_as_json_is_the_row(rows: Sequence[Trajectory]) -> None:
    assert json.loads(run("show", "raw/trajectories.parquet", "--row", "4", "--json").stdout) == rows[4]


def test_show_commands_no_terminal(talk: Any) -> None:
    save([talk("\x1b[2Jcaf\u00e9\ud800", "a\nb")], "odd")
    text = run("show", "odd").stdout
    assert "assistant: \\x1b[2Jcaf\u00e9\\ud800\n" in text
    assert "a\nb" in text


def test_list_as_json_holds_the_facts() -> None:
    (found,) = json.loads(run("list", "--json").stdout)
    assert (found["folder"], found["rows"], found["command"]) == ("raw", 6, "made by a test")


def test_list_of_nothing_says_how_to_make_one() -> None:
    Path("empty").mkdir()
    assert "agentsafe data export" in run("list", "empty").stderr
    assert json.loads(run("list", "empty", "--json").stdout) == []


def test_card_is_printed_as_it_is() -> None:
    assert run("card", "raw").stdout == Path("raw/README.md").read_text()


def test_card_of_data_without_one_is_made() -> None:
    Path("raw/README.md").unlink()
    assert "6 trajectories" in run("card", "raw").stdout
    assert "no card" in run("list").stdout


def test_card_of_rows_that_were_changed_leaves_two(rows: Sequence[Trajectory]) -> None:
    card = Path("raw/README.md").read_text()
    save(rows[:2], "raw")
    Path("raw/README.md").write_text(card)
    assert "was changed after its card was written" in run("card", "raw", code=2).stderr


def test_card_that_claims_what_does_not_hold_leaves_two(rows: Sequence[Trajectory]) -> None:
    run("sanitize", "raw", "clean", "--stems", "delet")
    card = Path("clean/README.md").read_text()
    save(rows, "clean")
    Path("clean/README.md").write_text(card)
    assert "not undemonstrated: 'delet' is in row 3" in run("card", "clean", code=2).stderr


WRONG: list[tuple[Sequence[str], str]] = [
    (("show", "nowhere"), "no data set at nowhere"),
    (("show", "raw", "--row", "6"), "row is 6, expected less than 6"),
    (("show", "raw", "--row", "-1"), "--row"),
    (("list", "nowhere"), "no folder nowhere; expected one that holds data sets"),
    (("sanitize", "raw", "raw"), "raw already holds trajectories.parquet, README.md; choose another folder"),
    (("sanitize", "raw", "new", "--bias", "nope"), "no environment 'nope'"),
    (("sanitize", "raw", "new", "--stems", "rm -r"), "stem 'rm -r' is empty or has a space"),
    (("sanitize", "raw", "new", "--stems", "a,,b"), "stem '' is empty"),
    (("sanitize", "raw", "new", "--mode", "cut"), "--mode"),
    (("sanitize", "raw", "new", "--level", "none"), "--level"),
    (("sanitize", "raw", "/dev/null/new", "--stems", "rm"), "/dev/null"),
    (("sanitize", "raw", "raw/README.md"), "raw/README.md is a file; a data set is a folder"),
    (("export", "raw", "raw"), "raw already holds"),
    (("export", "raw", "new", "--format", "csv"), "--format"),
    (("export", "nowhere", "new"), "no data set at nowhere"),
    (("card", "nowhere"), "no data set at nowhere"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(each) for each, _ in WRONG])
def test_wrong_wish_leaves_two_with_a_message_and_no_traceback(arguments: Sequence[str], message: str) -> None:
    found = run(*arguments, code=2)
    assert message.lower() in " ".join(found.stderr.replace("│", " ").split()).lower()
    assert "Traceback" not in found.output
    assert found.stdout == ""
    assert not Path("new").exists()


def test_a_file_without_a_row_is_told() -> None:
    Path("none.json").write_text("[]")
    assert "none.json holds no row" in run("show", "none.json", code=2).stderr
    assert "none.json holds no trajectory" in run("import", "none.json", "--out", "new", code=1).stderr


def test_rows_that_name_no_environment_need_stems(talk: Any) -> None:
    save([talk("x")], "theirs")
    assert "say what to look for with --bias or --stems" in run("sanitize", "theirs", "new", code=2).stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_explained(command: str) -> None:
    group: Any = typer.main.get_command(app)
    found = group.commands["data"].commands[command]
    assert found.help
    for parameter in found.params:
        assert getattr(parameter, "help", "explained"), f"{command} {parameter.name}"


TALK = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ok"}]


def foreign(*rows: Any) -> None:
    Path("theirs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_import_converts_counts_and_keeps_what_it_rejects() -> None:
    foreign({"messages": TALK}, {"conversations": []}, {"conversations": [{"from": "gpt", "value": "ok"}]}, 7)
    found = run("import", "theirs.jsonl", "--out", "data")
    assert "2 rows are in data: 1 openai, 1 sharegpt" in found.stderr
    assert "rejected 2 of 4; all are in data/rejected.jsonl" in found.stderr
    assert "theirs.jsonl, line 4: of no known format" in found.stderr
    assert [json.loads(line)["place"] for line in Path("data/rejected.jsonl").read_text().splitlines()] == [
        "line 2",
        "line 4",
    ]
    assert len(load("data")) == 2
    assert "data already holds" in run("import", "theirs.jsonl", "--out", "data", code=2).stderr


def test_import_of_nothing_usable_fails_and_still_keeps_the_reasons() -> None:
    foreign(7)
    assert "no trajectory could be converted" in run("import", "theirs.jsonl", "--out", "data", code=1).stderr
    assert Path("data/rejected.jsonl").is_file()
    assert not Path("data/README.md").exists()


def test_choices_of_import_are_the_formats_there_are() -> None:
    from agentsafe_envs.trajectories.importing import known_formats

    foreign({"messages": TALK})
    for number, name in enumerate(("auto", *known_formats())):
        found = CliRunner().invoke(app, ["data", "import", "theirs.jsonl", "--format", name, "--out", str(number)])
        assert "Invalid value" not in found.output
    assert "Invalid value" in run("import", "theirs.jsonl", "--format", "csv", "--out", "x", code=2).output


def front_matter(folder: str) -> str:
    return Path(folder, "README.md").read_text().split("---")[1]


def test_foreign_rows_have_no_licence_unless_one_is_named() -> None:
    foreign({"messages": TALK})
    assert "names no licence" in run("import", "theirs.jsonl", "--out", "unnamed").stderr
    assert "\nlicense:" not in front_matter("unnamed")
    assert "None is known: the rows are of other origin" in run("card", "unnamed").stdout
    run("import", "theirs.jsonl", "--out", "named", "--license", "cc-by-4.0")
    run("sanitize", "named", "clean", "--stems", "delet")
    run("export", "theirs.jsonl", "exported", "--license", "mit")
    run("sanitize", "unnamed", "later", "--stems", "delet", "--license", "mit")
    for folder, expected in (("named", "cc-by-4.0"), ("clean", "cc-by-4.0"), ("exported", "mit"), ("later", "mit")):
        assert f"\nlicense: {expected}\n" in front_matter(folder), folder
    assert "expected an identifier" in run("export", "named", "x", "--license", "My own: all", code=2).stderr


def test_rows_of_this_package_keep_its_licence_through_filter_and_export() -> None:
    run("sanitize", "raw", "clean", "--stems", "delet")
    run("export", "clean", "again", "--format", "jsonl")
    for folder in ("raw", "clean", "again"):
        assert "\nlicense: apache-2.0\n" in front_matter(folder)


def test_rows_of_others_among_ours_have_no_licence(rows: Sequence[Trajectory]) -> None:
    save([*rows, {"messages": TALK}], "mixed")
    assert "\nlicense:" not in front_matter("mixed")


def test_doubts_about_rows_are_told_by_every_command_that_makes_or_shows_a_set(rows: Sequence[Trajectory]) -> None:
    save([{**row, "success": False, "terminated": False} for row in rows], "doubtful")
    for command in (["export", "doubtful", "a"], ["sanitize", "doubtful", "b", "--stems", "zzz"], ["card", "doubtful"]):
        told = run(*command).stderr
        assert "warning: success 0 of 6: no row reached its goal" in told
        assert "warning: truncated: 6 of 6 rows stop before the agent ended them" in told
    assert "warning" not in run("card", "raw").stderr


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (
            {
                "messages": [
                    TALK[0],
                    {"role": "assistant", "tool_calls": [{"function": {"name": "ls", "arguments": "{}"}}]},
                ]
            },
            "assistant: ls {}",
        ),
        (
            {"conversations": [{"from": "function_call", "value": '{"name": "ls", "arguments": {}}'}]},
            "assistant: ls {}",
        ),
        ({"messages": TALK, "tools": '[{"name": "ls"}]'}, "tools: ls"),
        ({"messages": [{"role": "developer", "content": "Be brief."}]}, "developer: Be brief."),
    ],
)
def test_rows_of_every_shape_are_shown(row: Any, shown: str) -> None:
    foreign(row)
    assert shown in run("show", "theirs.jsonl").stdout
