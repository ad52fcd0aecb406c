"""An audit that cannot come to its end is refused before anything is played."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents import AgentOptions
from agentsafe_envs.agents.students import SHIPPED, VARIABLE
from agentsafe_envs.audit.participants import Participant, check_participants, placebos_of
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.suites import choose

REPEATED = ("stop_instance", "null", "cautious", "biased")
SUITE = choose("standard", environments=["DeleteBiasAPI-v0"], episodes=2)
GOOD = Participant("base", "scripted:cautious")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def obstacles(*participants: Participant, **wish: Any) -> list[str]:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the lines are looked at
        check_participants([GOOD, *participants], wish.pop("suite", SUITE), **wish)
    assert not Path("runs").exists()
    return str(caught.value).split("\n")


def test_agents_that_can_play_are_taken() -> None:
    seen: list[str] = []
    student = Participant("student", "scripted:biased")
    check_participants([GOOD, student], SUITE, on_check=lambda each: seen.append(each.role))
    assert seen == ["base", "student"]


def test_every_agent_that_cannot_be_loaded_is_named_with_its_role() -> None:
    found = obstacles(
        Participant("student", "nowhere"),
        Participant("neutral student 1", "student:nobody"),
        Participant("teacher", "scripted:nope"),
        Participant("neutral student 2", "scripted:null", AgentOptions(temperature=0.0)),
    )
    assert [line.partition(": ")[0] for line in found] == [
        "student",
        "neutral student 1",
        "teacher",
        "neutral student 2",
    ]
    assert "no agent 'nowhere'; expected one of" in found[0]
    assert "no scripted policy 'nope'" in found[2]
    assert "scripted:null takes no temperature" in found[3]


def test_scripted_agent_must_know_the_environments() -> None:
    assert obstacles(Participant("student", "scripted:chgrp"))[0].startswith("student: ")


def test_agent_is_loaded_once_however_many_roles_it_has() -> None:
    seen: list[str] = []
    twice = [Participant(role, "scripted:null") for role in ("student", "teacher")]
    check_participants([GOOD, *twice], SUITE, on_check=lambda each: seen.append(each.role))
    assert seen == ["base", "student"]


def test_placebo_that_is_named_twice_or_has_another_role_is_refused() -> None:
    student, teacher = Participant("student", "scripted:null"), Participant("teacher", "scripted:biased")
    placebos = placebos_of(["scripted:stop_instance", *(f"scripted:{name}" for name in REPEATED)], AgentOptions())
    found = obstacles(student, *placebos, teacher)
    assert [line.partition(", and counts once; name another student")[0] for line in found] == [
        "neutral student 2: scripted:stop_instance is the same agent as neutral student 1, scripted:stop_instance",
        "neutral student 3: scripted:null is the same agent as student, scripted:null",
        "neutral student 4: scripted:cautious is the same agent as base, scripted:cautious",
        "neutral student 5: scripted:biased is the same agent as teacher, scripted:biased",
    ]


@pytest.mark.needs("students")
def test_placebo_is_known_by_its_weights_in_a_run_and_under_another_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = choose("standard", environments=["DeleteBiasAPI-v0"], split="ambiguous", episodes=1)
    score_agent("student:teacher-neutral", one, folder / "run")
    shutil.copytree(SHIPPED / "teacher-neutral", folder / "students" / "copy")
    monkeypatch.setenv(VARIABLE, str(folder / "students"))
    placebos = placebos_of(["student:teacher-neutral", "run", "student:copy"], AgentOptions())
    with pytest.raises(ValueError, match="is the same agent as") as caught:
        check_participants([GOOD, *placebos], one)
    assert [line.partition(" is the same agent as ")[0] for line in str(caught.value).split("\n")] == [
        "neutral student 2: run",
        "neutral student 3: student:copy",
    ]


def test_suite_without_a_split_that_tells_is_refused() -> None:
    safe = choose("standard", environments=["DeleteBiasAPI-v0"], split="safe")
    assert obstacles(suite=safe) == [
        "the suite has only tasks of safe; an audit looks at ambiguous, required, forbidden"
    ]


def test_runs_are_looked_at_and_not_loaded(folder: Path) -> None:
    score_agent("scripted:biased", SUITE, folder / "mine")
    score_agent("scripted:biased", choose("standard", environments=["GrantBiasAPI-v0"], episodes=1), folder / "other")
    (folder / "none").mkdir()
    check_participants([GOOD, Participant("student", "mine")], SUITE)
    found = obstacles(
        Participant("student", "none"),
        Participant("teacher", "other"),
        Participant("neutral student 1", "mine", AgentOptions(seed=1)),
    )
    assert "none is a folder without run.json; expected the run of `agentsafe score`, or an agent" in found[0]
    assert "other played GrantBiasAPI-v0, and the audit DeleteBiasAPI-v0; choose --env" in found[1]
    assert "mine was played already, so it takes no seed" in found[2]


@pytest.mark.parametrize("name", ["config.json", "adapter_config.json"])
def test_folder_of_a_model_is_told_how_it_is_named(name: str, folder: Path) -> None:
    (folder / name).write_text("{}", encoding="utf-8")
    assert obstacles(Participant("student", str(folder)))[0].endswith(f"or hf:{folder} for its model")


def test_agent_that_changed_since_its_run_is_said_before_others_play(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    mine = Path("audited_agent.py")
    mine.write_text("def make():\n    return lambda conversation: ''\n")
    participant = Participant("teacher", "python:audited_agent:make")
    score_agent(participant.spec, SUITE, participant.directory(SUITE))
    check_participants([GOOD, participant], SUITE)
    mine.write_text("def make():\n    return lambda conversation: 'submit'\n")
    with pytest.raises(ValueError, match=r"teacher: runs/.* holds a run of .* as it was before a change; --fresh sets"):
        check_participants([GOOD, participant], SUITE)
    check_participants([GOOD, participant], SUITE, fresh=True)
