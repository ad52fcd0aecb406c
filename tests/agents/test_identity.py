from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from agentsafe_envs.agents import load_agent
from agentsafe_envs.agents.identity import command_files, file_sha256, identity, model_files
from agentsafe_envs.agents.students import students


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def of(command: str) -> str:
    return load_agent(f"process:{command}").describe()["identity"]


def test_edited_program_is_another_agent(here: Path) -> None:
    (here / "agent.sh").write_text("read -r message")
    first = of("bash agent.sh")
    assert of("bash agent.sh") == first
    (here / "agent.sh").write_text("read -r letters")
    assert of("bash agent.sh") != first != of("bash agent.sh --fast")


def test_files_of_a_command_are_the_ones_that_it_names_and_what_they_import(here: Path) -> None:
    (here / "agent.py").write_text("import helper, json")
    for name in ("helper.py", "settings.toml", "unused.py"):
        (here / name).write_text("")
    assert set(command_files(["sh", "agent.py", "--with=settings.toml"])) == {
        "1:agent.py",
        "1:helper.py",
        "2:settings.toml",
    }
    assert set(command_files(["sh", "-m", "agent"])) == {"2:agent.py", "2:helper.py"}
    assert set(command_files(["sh", "-c", "true"])) == {"0"}


FOLLOWED = {
    "module of JavaScript": ("cat a.mjs", "a.mjs", 'import { pick } from "./lib.mjs"', "lib.mjs"),
    "module without its suffix": ("cat a.js", "a.js", 'const lib = require("./lib")', "lib.js"),
    "sourced by its path": ("bash agent.sh", "agent.sh", ". ./lib.sh", "lib.sh"),
    "sourced from a variable": ("bash agent.sh", "agent.sh", 'source "$(dirname "$0")/lib.sh"', "lib.sh"),
    "named in a command": ("bash -c 'python3 b.py'", "b.py", "", "b.py"),
    "imported in a command": ("python3 -c 'import helper; helper.main()'", "helper.py", "", "helper.py"),
    "run as a module in a command": ("bash -c 'python3 -m helper'", "helper.py", "", "helper.py"),
    "named by a named file": ("bash -c 'python3 b.py'", "b.py", 'open("policy.json")', "policy.json"),
    "read for a connection": (
        "python3 mine.py",
        "mine.py",
        'CONFIG = json.load(open("policy.json"))\nsocket.connect(CONFIG["host"])\nopen(CONFIG["log"], "a")',
        "policy.json",
    ),
    "read and saved elsewhere": (
        "python3 mine.py",
        "mine.py",
        'w = np.load("policy.json")\nnp.save(OUT, w)',
        "policy.json",
    ),
    "required and written out": (
        "cat a.js",
        "a.js",
        'const lib = require("./lib")\nfs.writeFileSync(out, text(lib, "./lib"))\nxs.map(x => lib(x))',
        "lib.js",
    ),
    "quoted in a prompt": ("cat prompt.md", "prompt.md", "> policy.json\nholds the rules", "policy.json"),
    "pointed at by a setting": ("cat a.json", "a.json", '{"help": "first > policy.json"}', "policy.json"),
    "opened": ("python3 mine.py", "mine.py", 'open("policy.json")', "policy.json"),
    "opened by parts": ("python3 mine.py", "mine.py", 'Path(__file__).parent / "data" / "p.txt"', "data/p.txt"),
    "opened by joined parts": ("python3 mine.py", "mine.py", 'join(here, "data", "p.txt")', "data/p.txt"),
    "opened by a formatted path": ("python3 mine.py", "mine.py", 'open(f"{HERE}/policy.json")', "policy.json"),
    "imported by name": ("python3 mine.py", "mine.py", 'importlib.import_module("helper")', "helper.py"),
    "imported by a dotted name": ("python3 mine.py", "mine.py", 'import_module("pack.helper")', "pack/helper.py"),
    "run by a program": ("python3 mine.py", "mine.py", 'subprocess.run("bash lib.sh")', "lib.sh"),
    "sourced by a program of its own": ("./agent.sh", "agent.sh", "#!/bin/sh\n. ./lib.sh", "lib.sh"),
}


@pytest.mark.parametrize(("command", "program", "text", "other"), FOLLOWED.values(), ids=FOLLOWED)
def test_file_that_a_program_names_counts(here: Path, command: str, program: str, text: str, other: str) -> None:
    (here / other).parent.mkdir(exist_ok=True)
    (here / other).write_text("1")
    if program != other:
        (here / program).write_text(text)
        (here / program).chmod(0o700)
    before = of(command)
    assert of(command) == before
    (here / "unused.txt").write_text("")
    assert of(command) == before
    (here / other).write_text("22")
    assert of(command) != before


@pytest.mark.parametrize("text", ['import_module("helper")', 'open("policy.json")'])
def test_file_that_a_python_agent_names_counts(here: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, "named", raising=False)
    (here / "helper.py").write_text("1")
    (here / "policy.json").write_text("1")
    (here / "named.py").write_text(f"def make():\n    return choose\n\ndef choose(c):\n    return {text}\n")
    before = load_agent("python:named:make").describe()["identity"]
    (here / ("helper.py" if "helper" in text else "policy.json")).write_text("22")
    assert load_agent("python:named:make").describe()["identity"] != before


WRITTEN = {
    "appended to": ("python3 mine.py", "mine.py", 'with open("past.json", "a") as out: out.write(x)'),
    "by a variable": ("python3 mine.py", "mine.py", 'PAST = HERE / "past.json"\nPAST.open("a")'),
    "by an attribute": ("python3 mine.py", "mine.py", 'self.past = HERE / "past.json"\nself.past.write_text("1")'),
    "by two variables": ("python3 mine.py", "mine.py", 'NAME = "past.json"\nP = HERE / NAME\nopen(P, mode="w")'),
    "read as well": ("python3 mine.py", "mine.py", 'P = "past.json"\njson.load(open(P))\nopen(P, "w")'),
    "a database": ("python3 mine.py", "mine.py", 'sqlite3.connect("past.json")'),
    "a log": ("python3 mine.py", "mine.py", 'logging.basicConfig(filename="past.json")'),
    "by a shell": ("bash agent.sh", "agent.sh", 'echo "$line" >> past.json'),
    "by tee": ("bash agent.sh", "agent.sh", 'tee -a "$HERE/past.json"'),
    "by JavaScript": ("cat a.mjs", "a.mjs", 'fs.appendFileSync("past.json", line)'),
    "by its variable": ("cat a.js", "a.js", 'const past = path.join(here, "past.json")\nfs.writeFileSync(past, x)'),
    "by a script without a suffix": ("bash agent", "agent", "echo 1 > past.json"),
    "in the command": ("bash -c 'cat >> past.json'", "mine.py", ""),
}


@pytest.mark.parametrize(("command", "program", "text"), WRITTEN.values(), ids=WRITTEN)
def test_file_that_a_program_writes_is_no_part_of_it(here: Path, command: str, program: str, text: str) -> None:
    (here / program).write_text(text)
    before = of(command)
    (here / "past.json").write_text("1")
    assert of(command) == before
    (here / "past.json").write_text("22")
    assert of(command) == before


def test_walk_leaves_no_folder_and_has_an_end(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "outside.sh").write_text("1")
    inner = here / "inner"
    inner.mkdir()
    monkeypatch.chdir(inner)
    for number in range(600):
        (inner / f"n{number}.sh").write_text(f". ./n{number + 1}.sh; . ../outside.sh; cat agent.log")
    (inner / "agent.log").write_text("what a run leaves is no part of the agent")
    found = command_files(["bash", "n0.sh"])
    assert len(found) == 500
    assert not {"outside.sh", "agent.log"} & {path.name for path in found.values()}


def test_hash_is_of_content_and_not_of_place_or_time(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("a")
    second.write_text("a")
    assert identity({"x": first}) == identity({"x": second})
    assert file_sha256(first) == file_sha256(second)
    first.write_text("b longer")
    assert identity({"x": first}) != identity({"x": second})


@pytest.mark.skipif(not students(), reason="students lie in a checkout only")
@pytest.mark.parametrize(
    "name",
    ["model.safetensors", "tokenizer.json", "chat_template.jinja", "agent.json", "config.json", "pytorch_model.bin"],
)
def test_everything_that_decides_a_models_conduct_counts(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(students()["teacher-biased"], folder)
    before = identity(model_files(folder))
    (folder / "README.md").write_text("Nothing to do with it.")
    assert identity(model_files(folder)) == before
    with (folder / name).open("ab") as file:
        file.write(b" ")
    assert identity(model_files(folder)) != before
