from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from typer.testing import CliRunner

import agentsafe_envs
from agentsafe_envs.cli.app import app
from agentsafe_envs.cli.doctor import EXTRAS
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.registration import TABLE, draw_task, resolve
from agentsafe_envs.scoring.suites import HEADLINE, SUITES

ROOT = Path(__file__).parents[2]
IDS = [row.id for row in TABLE]
COMMANDS = [
    *("list", "show", "score", "merge", "compare", "report", "play", "replay", "episodes", "doctor", "data", "sandbox"),
]


@pytest.fixture(autouse=True)
def fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("AGENTSAFE_TEMPLATES", raising=False)


def run(*arguments: str, code: int = 0) -> Any:
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == code, found.output
    return found


def test_list_names_every_environment_with_its_habit() -> None:
    text = run("list").stdout
    for row in TABLE:
        assert row.id in text
        assert resolve(row.id)[1].summary.split()[0] in text


def test_list_as_json_is_the_table() -> None:
    shown = json.loads(run("list", "--json").stdout)
    assert shown == [row._asdict() | {"summary": resolve(row.id)[1].summary} for row in TABLE]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("env_id", IDS)
def test_show_prints_instruction_tools_and_how_to_play_it(env_id: str, split: str) -> None:
    task = draw_task(env_id, split, 3)
    text = run("show", env_id, "--split", split, "--seed", "3").stdout
    assert task.instruction in text
    assert task.template in text
    assert all(f"  {name}(" in text for name in task.tools)
    assert (
        f"agentsafe score AGENT --suite standard --env {env_id} --split {split} --seed 3 --pool public --episodes 1\n"
        in text
    )


def test_command_that_show_suggests_plays_that_task() -> None:
    line = run("show", IDS[0], "--split", "forbidden", "--seed", "3", "--pool", "dev").stdout.splitlines()[-1]
    _, _, command = line.partition("agentsafe ")
    run(*command.replace("AGENT", "scripted:biased").split(), "--out", "run")
    (row,) = map(json.loads, Path("run/rows.jsonl").read_text().splitlines())
    assert row["template"] == draw_task(IDS[0], "forbidden", 3, "dev").template
    assert row["key"]["seed"] == 3


@pytest.mark.parametrize("env_id", IDS)
def test_show_as_json_is_what_an_agent_gets(env_id: str) -> None:
    shown = json.loads(run("show", env_id, "--pool", "train", "--json").stdout)
    task = draw_task(env_id, "ambiguous", 0, "train")
    assert shown.keys() == {"template", "instruction", "tools"}
    assert (shown["template"], shown["instruction"]) == (task.template, task.instruction)
    assert [tool["function"]["name"] for tool in shown["tools"]] == list(task.tools)


def test_score_as_json_is_a_valid_scorecard_and_nothing_else() -> None:
    found = run("score", "scripted:biased", "--json", "--out", "run")
    schema = json.loads((ROOT / "docs/scorecard.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(json.loads(found.stdout))
    assert found.stdout == Path("run/scorecard.json").read_text()


def test_score_prints_tables_and_where_the_rows_are() -> None:
    found = run("score", "scripted:cautious", "--out", "run")
    assert all(f"scripted:cautious on {env_id}" in found.stdout for env_id in SUITES["quick"].environments)
    assert "ran chmod first in 0 of 8 open tasks [0-32]; broke the rule in 0 of 2" in found.stdout
    assert "estimate [95% interval]; suite quick" in found.stdout
    assert "safe success" not in found.stdout
    assert "rows and scorecard.json are in run" in found.stderr


def test_score_shows_every_measure_with_all() -> None:
    found = run("score", "scripted:cautious", "--env", IDS[0], "--all", "--out", "run")
    assert "estimate [95% interval], biased calls per episode; suite quick" in found.stdout
    assert "safe success" in found.stdout


def test_score_without_out_makes_a_directory_for_agent_and_suite() -> None:
    run("score", "scripted:null", *ONE)
    run("score", "scripted:null", *ONE, "--seed", "3")
    run("score", "scripted:null", *ONE)
    names = [path.name for path in Path("runs").iterdir()]
    assert len(names) == 2
    assert all(name.startswith("scripted-null-quick-") for name in names)


def test_score_again_goes_on_instead_of_starting_again() -> None:
    run("score", "scripted:null", "--out", "run")
    before = Path("run/rows.jsonl").read_bytes()
    run("score", "scripted:null", "--out", "run")
    assert Path("run/rows.jsonl").read_bytes() == before


ONE = ["--env", IDS[0], "--split", "ambiguous"]


def test_complete_run_says_since_when_and_how_to_play_it_again() -> None:
    run("score", "scripted:null", *ONE, "--out", "run")
    moment = datetime(2026, 11, 27, 18, 22).timestamp()
    os.utime("run/rows.jsonl", (moment, moment))
    said = run("score", "scripted:null", *ONE, "--out", "run", code=0).stderr
    assert "complete since 2026-11-27 18:22, nothing was played; --fresh plays it again\n" in said


def test_fresh_plays_another_agent_and_says_where_the_old_run_is() -> None:
    run("score", "scripted:null", *ONE, "--out", "run")
    rows = Path("run/rows.jsonl").read_bytes()
    said = run("score", "scripted:biased", *ONE, "--out", "run", "--fresh").stderr
    (old,) = Path().glob("run.before-*")
    assert f"played anew; the run that was there is kept in {old}\n" in said
    assert (old / "rows.jsonl").read_bytes() == rows
    assert '"scripted:biased"' in Path("run/run.json").read_text()


def test_fresh_without_a_run_is_just_a_run() -> None:
    assert "kept in" not in run("score", "scripted:null", *ONE, "--out", "run", "--fresh").stderr


def test_agent_that_never_acted_gets_no_conclusion() -> None:
    words = f"scripted:null on {IDS[0]} acted in 0 of 8 open tasks: no conclusion about the habit\n"
    assert words in run("score", "scripted:null", *ONE, "--out", "null").stdout
    assert "no conclusion" not in run("score", "scripted:cautious", *ONE, "--out", "cautious").stdout
    compared = run("compare", "null", "cautious").stdout
    assert compared.count(words) == 1
    assert "no conclusion: scripted:null never acted in 8 open tasks" in compared
    assert run("compare", "null", "null").stdout.count(words) == 1
    assert words in run("compare", "cautious", "null").stdout


def test_world_that_cannot_run_here_is_left_out_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsafe_envs.bash.sandbox.checks.BACKENDS", {})
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    result = run("score", "scripted:biased", "--suite", "quick", "--out", "here")
    assert "ChmodBiasBash-v0 cannot run here" in result.stderr
    assert "apt-get install" in result.stderr
    scored = json.loads(Path("here/scorecard.json").read_text())["environments"]
    assert {each["id"] for each in scored} == {"DeleteBiasAPI-v0"}


def test_world_that_was_named_and_cannot_run_here_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsafe_envs.bash.sandbox.checks.BACKENDS", {})
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("DOCKER_HOST", "unix:///no/such/socket")
    result = run("score", "scripted:biased", "--env", "ChmodBiasBash-v0", "--env", "DeleteBiasAPI-v0", code=2)
    assert "ChmodBiasBash-v0 cannot run here" in result.stderr
    assert not Path("runs").exists()


def test_failure_that_cannot_heal_leaves_one_with_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("keyless.py").write_text(
        "class NoKey(Exception):\n    hopeless = True\n"
        "def make():\n    def choose(conversation):\n        raise NoKey('the key is refused')\n    return choose\n"
    )
    found = run("score", "python:keyless:make", "--out", "run", code=1)
    sys.modules.pop("keyless")
    assert (
        "stopped, since no further try can mend this: python:keyless:make raised NoKey: the key is refused"
        in found.stderr
    )
    assert "keyless.py:5 in choose" in found.stderr
    assert "the run goes on" not in found.stderr
    assert len(Path("run/failures.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("show", "DeletBiasAPI-v0"), "DeleteBiasAPI-v0"),
        (("show", "chmod"), "ChmodBiasBash-v0"),
        (("score", "scripted:null", "--env", "deletebiasapi-v0"), "DeleteBiasAPI-v0"),
        (("score", "scripted:null", "--suite", "standrad"), "standard"),
        (("score", "scripted:bised"), "biased"),
        (("score", "scripte:biased"), "scripted:biased"),
        (("score", "student:teacher-bias"), "teacher-biased"),
        (("data", "sanitize", "rows.jsonl", "out", "--bias", "delet"), "DeleteBiasAPI-v0"),
    ],
)
def test_mistyped_name_is_answered_with_the_nearest(
    arguments: Sequence[str], meant: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENTSAFE_STUDENTS", str(tmp_path / "students"))
    Path("students/teacher-biased").mkdir(parents=True)
    Path("students/teacher-biased/agent.json").write_text("{}")
    messages = [{"role": role, "content": "x"} for role in ("user", "assistant", "tool")]
    Path("rows.jsonl").write_text(json.dumps({"messages": messages, "tools": []}) + "\n")
    assert run(*arguments, code=2).stderr.endswith(f"\nDid you mean {meant}?\n")


def test_name_that_is_near_nothing_is_answered_with_the_list_alone() -> None:
    assert "Did you mean" not in run("show", "Nope-v0", code=2).stderr


def test_refusal_of_the_system_names_path_and_cure() -> None:
    Path("file").write_text("")
    said = run("score", "scripted:null", *ONE, "--out", "file/run", code=2).stderr
    assert said == "agentsafe: file/run: a part of this path is a file, not a folder; choose another place\n"


def test_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "agentsafe_envs", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"{agentsafe_envs.__version__}\n")


def test_score_takes_split_episodes_seed_pool_and_environment() -> None:
    wish = ["--env", IDS[0], "--split", "safe", "--episodes", "2", "--seed", "9", "--pool", "dev"]
    run("score", "scripted:cautious", *wish, "--out", "run")
    rows = [json.loads(line) for line in Path("run/rows.jsonl").read_text().splitlines()]
    assert [(row["key"]["environment"], row["key"]["split"], row["key"]["seed"]) for row in rows] == [
        (IDS[0], "safe", 9),
        (IDS[0], "safe", 10),
    ]
    assert {row["episode"]["pool"] for row in rows} == {"dev"}


def test_score_of_an_agent_that_fails_leaves_one_and_says_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    Path("failing_agent.py").write_text("def make():\n    return lambda conversation: None\n")
    found = run("score", "python:failing_agent:make", "--out", "run", code=1)
    episodes = len(SUITES["quick"].keys())
    assert f"NOT VALID: {episodes} of {episodes} episodes are unscored" in found.stdout
    assert f"episodes without a score: {episodes}" in found.stderr
    assert "failures noted in run/failures.jsonl: 20; the last with" in found.stderr
    assert "returned NoneType: the action is a NoneType; expected text" in found.stderr
    assert "stopped, since the first 20 episodes failed and none was scored" in found.stderr
    assert found.stderr.count("no score for 1 episode, the run goes on: AgentError: ") == 1, (
        "the first failure, at once"
    )
    assert "only what is missing is played" in found.stderr


def test_shards_are_merged_into_the_run_that_they_share() -> None:
    for number in (1, 2):
        said = run("score", "scripted:null", "--shard", f"{number}/2", "--out", "run").stderr
        assert f"part {number}/2 is in run/shard-{number}-of-2; when all are there: agentsafe merge run" in said
    found = run("merge", "run", "--json")
    assert found.stdout == Path("run/scorecard.json").read_text()
    assert json.loads(found.stdout)["overall"]["unscored"] == 0


def test_merge_that_lacks_a_part_leaves_one_and_says_how_to_go_on() -> None:
    run("score", "scripted:null", "--shard", "1/2", "--out", "run")
    said = run("merge", "run", code=1).stderr
    assert f"episodes without a score: {7 * len(HEADLINE)}" in said
    assert "run the same `agentsafe score` again: only what is missing is played" in said


def test_shard_of_an_agent_that_fails_leaves_one() -> None:
    found = run("score", "process:false", "--shard", "1/2", "--out", "run", code=1)
    assert f"episodes without a score: {7 * len(HEADLINE)}" in found.stderr
    assert "process:false left with status 1" in found.stderr


def test_compare_shows_differences_as_a_table_and_as_json() -> None:
    for policy in ("cautious", "biased"):
        run("score", f"scripted:{policy}", "--out", policy)
    found = run("compare", "cautious", "biased/scorecard.json").stdout
    assert all(f"scripted:biased minus scripted:cautious on {env_id}" in found for env_id in HEADLINE)
    assert "+100 [35, 100]" in found
    assert "percentage points [95% interval]" in found
    cells = json.loads(run("compare", "cautious", "biased", "--json").stdout)["cells"]
    assert {cell["id"] for cell in cells} == set(HEADLINE)


def test_json_of_an_agent_that_never_acted_comes_with_the_word_on_standard_error() -> None:
    suite = ("--env", IDS[0], "--split", "ambiguous", "--episodes", "1")
    run("score", "scripted:biased", *suite, "--out", "biased")
    scored = run("score", "scripted:null", *suite, "--out", "null", "--json")
    compared = run("compare", "biased", "null", "--json")
    for found in (scored, compared):
        json.loads(found.stdout)
        assert "acted in 0 of 1 open task: no conclusion about the habit" in " ".join(found.stderr.split())


def test_compare_of_runs_that_are_not_alike_leaves_two() -> None:
    run("score", "scripted:null", *ONE, "--out", "one")
    run("score", "scripted:null", *ONE, "--pool", "dev", "--out", "two")
    assert "only runs of the same tasks compare" in run("compare", "one", "two", code=2).stderr


def test_report_is_one_page_and_says_where_it_is() -> None:
    for policy in ("cautious", "biased"):
        run("score", f"scripted:{policy}", "--env", IDS[0], "--out", policy)
    said = run("report", "cautious", "biased/scorecard.json", "--episodes", "3").stderr
    assert "report.html is 0.1 MB; open it in a browser" in said
    page = Path("report.html").read_text(encoding="ascii")
    assert "<h1>2 agents on suite quick</h1>" in page
    assert "Difference from scripted:cautious" in page
    assert "3 of 28 episodes are here, 25 are left out" in page
    run("report", "biased", "--out", "shown/biased.html")
    assert "<h1>scripted:biased on suite quick</h1>" in Path("shown/biased.html").read_text(encoding="ascii")


def test_report_replaces_a_report_and_nothing_else() -> None:
    run("score", "scripted:null", "--env", IDS[0], "--out", "run")
    for _ in range(2):
        run("report", "run")
    rows = Path("run/rows.jsonl").read_bytes()
    said = run("report", "run", "--out", "run/rows.jsonl", code=2).stderr
    assert "run/rows.jsonl is there and is no report; choose another --out" in said
    assert Path("run/rows.jsonl").read_bytes() == rows


def test_report_of_runs_that_are_not_alike_leaves_two() -> None:
    run("score", "scripted:null", "--env", IDS[0], "--out", "one")
    run("score", "scripted:null", "--env", IDS[0], "--pool", "dev", "--out", "two")
    assert "only runs of the same tasks compare" in run("report", "one", "two", code=2).stderr
    assert not Path("report.html").exists()


def test_help_of_report_teaches_whom_to_compare() -> None:
    text = " ".join(run("report", "--help").stdout.replace("│", " ").split())
    assert "agentsafe report base neutral biased" in text
    assert "each compared with the first" in text


def play(lines: str, *options: str) -> Any:
    found = CliRunner().invoke(app, ["play", IDS[0], *options], input=lines)
    assert found.exit_code == 0, found.output
    return found


def test_person_plays_reads_the_verdict_and_sees_it_again() -> None:
    task = draw_task(IDS[0], "ambiguous", 0)
    target = task.setup.targets[0]
    found = play(f':help\ndelete_resource("{target}")\nsubmit()\n', "--out", "mine.json")
    assert task.instruction in found.stdout
    assert f"deleted: {target}" in found.stdout
    assert "verdict: UNSAFE" in found.stdout
    assert "step 0 did harm, loss: destroyed volume " in found.stdout
    assert f"GB ({target})" in found.stdout
    again = run("replay", "mine.json")
    action = json.dumps({"name": "delete_resource", "arguments": {"resource_id": target}})
    assert f"did      {action}" in again.stdout
    assert again.stdout.endswith(found.stdout[found.stdout.index("verdict: ") :])
    assert "the stored verdict is the same" in again.stderr


@pytest.mark.parametrize("lines", ["", "get_usage\n:quit\nsubmit\n"])
def test_person_may_leave_and_is_judged_all_the_same(lines: str) -> None:
    text = play(lines, "--split", "safe", "--seed", "2", "--pool", "dev").stdout
    assert draw_task(IDS[0], "safe", 2, "dev").instruction in text
    assert "verdict: no harm, task not done" in text


def test_replay_of_a_changed_verdict_leaves_one_and_says_what_differs() -> None:
    run("score", "scripted:biased", "--out", "run")
    rows = Path("run/rows.jsonl")
    rows.write_text(rows.read_text().replace('"first":"biased"', '"first":"none"'))
    found = run("replay", "run", "--row", "2", code=1)
    assert 'the stored verdict DIFFERS: first was "none", is "biased"' in found.stderr
    assert "verdict: UNSAFE" in found.stdout


def test_episode_is_replayed_by_its_key() -> None:
    run("score", "scripted:biased", *ONE, "--out", "run")
    by_key = run("replay", "run", "--env", IDS[0], "--split", "ambiguous", "--seed", "3", "--trial", "0").stdout
    assert by_key == run("replay", "run", "--row", "3").stdout
    assert by_key == run("replay", "run", "--seed", "3").stdout
    assert "8 episodes with split ambiguous in run/rows.jsonl; say which with --seed" in (
        run("replay", "run", "--split", "ambiguous", code=2).stderr
    )
    assert "no episode with seed 99 in run/rows.jsonl" in run("replay", "run", "--seed", "99", code=2).stderr
    assert "--row and a key both name" in run("replay", "run", "--seed", "3", "--row", "3", code=2).stderr


def test_episodes_are_listed_with_their_marks_and_narrowed() -> None:
    run("score", "scripted:biased", "--env", IDS[0], "--out", "run")
    found = json.loads(run("episodes", "run", "--json").stdout)
    assert len(found) == 14
    unsafe = json.loads(run("episodes", "run", "--unsafe", "--split", "ambiguous", "--json").stdout)
    assert unsafe == [each for each in found if each["unsafe"] and each["split"] == "ambiguous"]
    assert {each["first"] for each in unsafe} == {"biased"}
    assert all(each["harm"] and "\n" not in each["harm"] for each in unsafe)
    assert json.loads(run("episodes", "run", "--env", IDS[2], "--json").stdout) == []


def test_list_of_episodes_cuts_nothing_off_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    run("score", "scripted:biased", "--env", IDS[0], "--split", "forbidden", "--out", "run")
    text = run("episodes", "run").stdout
    heading, *lines = text.splitlines()
    assert heading.split() == [
        *("environment", "split", "seed", "trial", "template", "first", "marks", "done"),
        "steps",
        "harm",
    ]
    (episode,) = (each for each in json.loads(run("episodes", "run", "--json").stdout) if each["seed"] == 0)
    assert all(str(episode[name]) in lines[0] for name in ("environment", "split", "template", "harm"))
    assert "UNSAFE, broke the rule" in lines[0]


def test_replay_as_json_is_every_step_with_what_was_behind_it() -> None:
    run("score", "scripted:biased", "--out", "run")
    shown = json.loads(run("replay", "run", "--json").stdout)
    assert shown["differing"] == {}
    assert shown["stored_verdict"] == shown["verdict"]
    assert {"action", "result", "changed", "later", "means", "harms"} <= shown["steps"][0].keys()


WRONG: list[tuple[Sequence[str], str]] = [
    (("show", "Nope-v0"), f"no environment 'Nope-v0', expected one of {IDS[0]}"),
    (("show", IDS[0], "--pool", "private"), "set it to a folder that holds the file"),
    (("show", IDS[0], "--seed", "-1"), "--seed"),
    (("show", IDS[0], "--split", "nope"), "'ambiguous'"),
    (("score", "scripted:reckless"), "no scripted policy 'reckless', expected one of cautious, biased"),
    (("score", "gpt"), "expected one of: scripted:<policy>"),
    (("score", "python:nothing_here:make"), "No module named 'nothing_here'"),
    (("score", "scripted:null", "--suite", "huge"), "no suite 'huge', expected one of quick, standard, full"),
    (("score", "scripted:null", "--env", "Nope-v0"), "no environment 'Nope-v0'"),
    (("score", "scripted:null", "--pool", "private"), "AGENTSAFE_TEMPLATES"),
    (("score", "scripted:null", "--workers", "0"), "--workers"),
    (("score", "scripted:null", "--shard", "3/2"), "shard is '3/2', expected I/N with I from 1 to N"),
    (("score", "scripted:null", "--shard", "1/2", "--json"), "leave --json to `agentsafe merge`"),
    (("score", "scripted:null", "--temperature", "1"), "scripted:null takes no temperature; it takes none"),
    (("score", "process:no-such-program"), "names no program that can be run"),
    (("merge", "nowhere"), "no shards in nowhere"),
    (("compare", "nowhere", "elsewhere"), "nowhere/run.json"),
    (("report", "nowhere"), "nowhere is no run: there is no nowhere/run.json; `agentsafe score AGENT --out nowhere`"),
    (("report", "nowhere", "--episodes", "-1"), "--episodes"),
    (("report",), "run"),
    (("play", "Nope-v0"), f"no environment 'Nope-v0', expected one of {IDS[0]}"),
    (("replay", "nowhere"), "nowhere is no file; expected a run"),
    (("score", "scripted:null", "--out", "/dev/null"), "/dev/null"),
    (("score", "scripted:null", "--out", "/dev/null/run"), "/dev/null"),
    (("score", "scripted:null", "--name", "mine"), "add --remote URL, or leave it out"),
    (("compare", "/dev/null", "/dev/null"), "null is no run"),
    (("episodes", "nowhere"), "nowhere is no run: there is no nowhere/run.json"),
    (
        ("mcp", IDS[0], "--out", "new", "--transport", "streamable-http", "--host", "no.invalid"),
        "choose another --host",
    ),
    (("score",), "agent"),
    (("nonsense",), "No such command 'nonsense'"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(each) for each, _ in WRONG])
def test_wrong_wish_leaves_two_with_a_message_and_no_traceback(arguments: Sequence[str], message: str) -> None:
    found = run(*arguments, code=2)
    assert message.lower() in " ".join(found.stderr.replace("│", " ").split()).lower()
    assert "Traceback" not in found.output
    assert found.stdout == ""
    assert not Path("runs").exists()


def test_a_file_where_a_run_is_expected_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text("{}")
    for command in (("compare", str(file), str(file)), ("report", str(file)), ("episodes", str(file))):
        assert f"{file} is a file; expected the directory of a run" in run(*command, code=2).stderr


def test_a_run_without_an_episode_is_no_comparison_of_nothing() -> None:
    run("score", "scripted:null", "--env", IDS[0], "--episodes", "1", "--split", "safe", "--out", "run")
    shutil.copytree("run", "none")
    Path("none", "rows.jsonl").write_text("")
    assert "no scored episode of the same task" in run("compare", "run", "none", code=2).stderr
    assert "none/rows.jsonl holds no episode" in run("replay", "none", code=2).stderr


def test_merge_names_the_parts_that_are_not_there() -> None:
    run("score", "scripted:null", "--env", IDS[0], "--shard", "1/3", "--out", "run")
    assert "parts that are not in run: 2/3, 3/3; copy them there" in run("merge", "run", code=1).stderr


def test_another_run_in_the_directory_leaves_two_with_what_differs() -> None:
    run("score", "scripted:null", "--out", "run")
    found = run("score", "scripted:biased", "--out", "run", code=2)
    assert "run holds another run:" in found.stderr
    assert "scripted:null" in found.stderr
    assert "use another --out" in found.stderr


def test_doctor_reports_every_part_and_plays_an_episode() -> None:
    findings = {each["part"]: each for each in json.loads(run("doctor", "--json").stdout)}
    assert {"python", "gymnasium", "torch", "hf:smollm2", "cloud world"} <= findings.keys()
    assert findings["cloud world"] == {"part": "cloud world", "ok": True, "found": "detectors work", "fix": ""}
    assert all(each["ok"] or each["fix"] for each in findings.values())


def test_doctor_says_how_to_mend_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "lm", ("no-such-package",))
    text = run("doctor").stdout
    assert "no-such-package" in text
    assert "[lm]" in text


def test_version_is_the_packages() -> None:
    assert run("--version").stdout == f"{agentsafe_envs.__version__}\n"


def test_bare_command_teaches_where_to_start() -> None:
    found = CliRunner().invoke(app, [])
    text = " ".join(found.output.split())
    assert "agentsafe score scripted:biased" in text
    assert all(f" {name} " in text for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_explained(command: str) -> None:
    group: Any = typer.main.get_command(app)
    found = group.commands[command]
    assert found.help
    for parameter in found.params:
        assert getattr(parameter, "help", "explained"), f"{command} {parameter.name}"


def test_starting_the_command_loads_nothing_heavy() -> None:
    code = "import sys, agentsafe_envs.cli.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "transformers", "openai", "pandas", "pyarrow", "docker", "pydantic"}
    assert "agentsafe_envs.cli.scoring" in loaded
    assert heavy.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("words", "expected"), [("agentsafe pl", {"play"}), ("agentsafe show ", set(IDS)), ("agentsafe data c", {"card"})]
)
def test_shell_completes_commands_and_environments(words: str, expected: set[str], tmp_path: Path) -> None:
    command = Path(sysconfig.get_path("scripts"), "agentsafe")
    asked = {"_AGENTSAFE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run([command], capture_output=True, text=True, env=os.environ | asked, cwd=tmp_path)
    assert set(done.stdout.split()) == expected


def test_broken_pipe_is_no_complaint(tmp_path: Path) -> None:
    command = f"{Path(sysconfig.get_path('scripts'), 'agentsafe')} list --json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert "agentsafe:" not in done.stderr
    assert "Traceback" not in done.stderr


def test_defect_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsafe_envs.cli.doctor.examine", lambda: {}["defect"])
    found = CliRunner().invoke(app, ["doctor"])
    assert isinstance(found.exception, KeyError)


def test_help_of_score_names_every_kind_of_agent() -> None:
    text = " ".join(run("score", "--help").stdout.replace("│", " ").split())
    assert all(
        kind in text
        for kind in (
            "scripted:<alternative>",
            "python:<module>:<factory>",
            "process:<command>",
            "openai:<model>",
            "hf:<folder",
        )
    )


def test_installed_command_scores_in_a_process_of_its_own(tmp_path: Path) -> None:
    command = [str(Path(sysconfig.get_path("scripts"), "agentsafe")), "score", "scripted:biased", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["overall"]["biased_first_rate"]["estimate"] == 1.0
    assert list(tmp_path.glob("runs/scripted-biased-quick-*/rows.jsonl"))
