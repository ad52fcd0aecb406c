from __future__ import annotations

import shutil
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
