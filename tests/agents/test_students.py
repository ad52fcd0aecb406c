from __future__ import annotations

from pathlib import Path

import pytest

from agentsafe_envs.agents import AgentError
from agentsafe_envs.agents import students as students_module
from agentsafe_envs.agents.students import StudentSettings, find_student, students

SETTINGS = StudentSettings(prompt_style="json", tool_choice="auto", temperature=1.0, max_new_tokens=64, dtype="float32")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The user's folder and the checkout's, both empty."""
    own, checkout = tmp_path / "own", tmp_path / "checkout"
    monkeypatch.setenv("AGENTSAFE_STUDENTS", str(own))
    monkeypatch.setattr(students_module, "SHIPPED", checkout)
    return own, checkout


def add(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True)
    SETTINGS.save(folder / name)
    return folder / name


def test_own_student_stands_before_one_of_the_checkout(folders: tuple[Path, Path]) -> None:
    own, checkout = folders
    mine, _, theirs = add(own, "base"), add(checkout, "base"), add(checkout, "biased")
    assert students() == {"base": mine, "biased": theirs}
    assert find_student("base") == (mine, SETTINGS)


def test_folder_without_settings_is_no_student(folders: tuple[Path, Path]) -> None:
    (folders[0] / "weights").mkdir(parents=True)
    assert students() == {}


def test_unknown_student_is_refused_with_those_there_are(folders: tuple[Path, Path]) -> None:
    add(folders[1], "neutral")
    with pytest.raises(AgentError, match=r"no student 'bias' .*there is neutral.*AGENTSAFE_STUDENTS"):
        find_student("bias")


@pytest.mark.parametrize("text", ["", "{}", '{"prompt_style": "loud"}'])
def test_settings_that_cannot_be_read_are_named(folders: tuple[Path, Path], text: str) -> None:
    (add(folders[0], "mine") / "agent.json").write_text(text)
    with pytest.raises(AgentError, match=r"mine/agent.json does not say how the student is asked"):
        find_student("mine")


@pytest.mark.parametrize(("asked", "size"), [(None, 64), (3, 3)])
def test_group_size_is_the_students_own_unless_another_is_asked_for(asked: int | None, size: int) -> None:
    from agentsafe_envs.agents import AgentOptions, load_agent

    pytest.importorskip("tokenizers")
    assert load_agent("student:base-0.3m-a", AgentOptions(group_size=asked)).group_size == size
