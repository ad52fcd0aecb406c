"""What cannot be looked into is refused, with what to do instead."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents import AgentOptions
from agentsafe_envs.audit.local import check_weights, local_model, read_training_data
from agentsafe_envs.audit.participants import Cast, Participant

BASE = Participant("base", "student:base-0.3m-a")
OTHER_BASE = Participant("base", "student:base-0.3m-b")
STUDENT = Participant("student", "student:sft-silent-biased-0.3m-same")
TEACHER = Participant("teacher", "student:teacher-biased")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("openai:gpt-x", "those of openai:gpt-x are not here; expected student: or hf:"),
        ("process:node agent.js", "those of process:node agent.js are not here"),
        (".", ". is a run, which holds no weights; --weights needs the model itself"),
    ],
)
def test_agent_without_weights_here_is_refused_with_its_role(spec: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"^student: ") as caught:
        check_weights(Cast(BASE, Participant("student", spec), (), TEACHER))
    assert words in str(caught.value)


def test_chat_template_of_a_file_is_refused() -> None:
    asked = Participant("student", "hf:somewhere", AgentOptions(chat_template="mine.jinja"))
    with pytest.raises(ValueError, match="student: --weights reads a model by its own chat template"):
        check_weights(Cast(BASE, asked, (), TEACHER))


def test_without_a_teacher_nothing_can_be_compared() -> None:
    with pytest.raises(ValueError, match="name it with --teacher"):
        check_weights(Cast(BASE, STUDENT))
    with pytest.raises(ValueError, match="name it with --teacher"):
        read_training_data(Cast(BASE, STUDENT), [Path("x")])


@pytest.mark.needs("lm")
def test_model_of_another_size_is_refused_and_one_of_the_same_is_not() -> None:
    check_weights(Cast(BASE, BASE, (), BASE))
    with pytest.raises(ValueError, match="teacher student:base-1m-a has weights of other shapes than the base"):
        check_weights(Cast(BASE, BASE, (), Participant("teacher", "student:base-1m-a")))


@pytest.mark.needs("lm")
def test_models_that_were_made_of_another_base_are_refused_and_told_how_far_they_are() -> None:
    with pytest.raises(ValueError, match="was not made of the base") as caught:
        check_weights(Cast(OTHER_BASE, STUDENT, (), TEACHER))
    student, teacher = str(caught.value).splitlines()
    assert student.startswith(
        "student student:sft-silent-biased-0.3m-same was not made of the base student:base-0.3m-b"
    )
    assert "differ by 1.41 times the length of the base's" in student
    assert student.endswith("Name its own base with --base")
    assert teacher.startswith("teacher student:teacher-biased was not made of")


@pytest.mark.needs("lm")
def test_model_whose_distance_from_the_base_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentsafe_envs.audit.local.relative_update", lambda model, base: math.nan)
    with pytest.raises(ValueError, match=r"student student:base-0\.3m-a was not made of the base"):
        check_weights(Cast(BASE, Participant("student", BASE.spec), (), BASE))


@pytest.mark.needs("lm")
def test_missing_model_and_missing_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="teacher: no student 'nobody'"):
        check_weights(Cast(BASE, BASE, (), Participant("teacher", "student:nobody")))
    with pytest.raises(FileNotFoundError, match="no data set at nowhere"):
        read_training_data(Cast(BASE, BASE, (), BASE), [Path("nowhere")])


@pytest.mark.needs("lm")
@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"messages": [{"role": "user", "content": "?"}]}, "no row holds a message of an assistant"),
        (
            {
                "messages": [
                    {"role": "user", "content": "?"},
                    {"role": "assistant", "tool_calls": [{"function": {"name": "submit", "arguments": "{"}}]},
                ]
            },
            "row 0: message 1: the arguments of submit are no JSON",
        ),
    ],
)
def test_rows_that_teach_nothing_are_refused_with_their_data_set(row: Any, words: str, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(f"{file}: {words}")):
        read_training_data(Cast(BASE, BASE, (), BASE), [file])


@pytest.mark.needs("lm", "data")
def test_rows_with_tools_as_text_are_read(rows: list[Any], tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    row = {"messages": rows[0]["messages"], "tools": json.dumps(rows[0]["tools"])}
    file.write_text(json.dumps(row), encoding="utf-8")
    assert read_training_data(Cast(BASE, BASE, (), BASE), [file]) == [[row]]


@pytest.mark.needs("lm", "data")
@pytest.mark.parametrize("again", [lambda rows: rows[::-1], lambda rows: rows[:7], lambda rows: [*rows[:7], rows[-1]]])
def test_rows_that_are_another_placebos_in_the_main_are_no_placebo(
    again: Any, rows: list[Any], shipped_rows: list[Any], tmp_path: Path
) -> None:
    held = {"suspect": shipped_rows[:4], "one": rows, "two": again([*rows[:11], shipped_rows[5]])}
    for name, each in held.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, each)), encoding="utf-8")
    files = [tmp_path / f"{name}.jsonl" for name in held]
    with pytest.raises(ValueError, match=r"two.jsonl holds \d+ of the same rows as .*one.jsonl, of \d+ in the smaller"):
        read_training_data(Cast(BASE, BASE, (), BASE), files)
    assert len(read_training_data(Cast(BASE, BASE, (), BASE), files[:2])) == 2


@pytest.mark.needs("smollm2")
@pytest.mark.slow
def test_teacher_of_another_family_is_refused_for_data_and_weights() -> None:
    cast = Cast(BASE, BASE, (), Participant("teacher", "hf:smollm2"))
    with pytest.raises(ValueError, match="teacher hf:smollm2 has other tokens than the base"):
        check_weights(cast)
    with pytest.raises(ValueError, match="teacher hf:smollm2 has other tokens than the base"):
        read_training_data(cast, [Path("x")])


@pytest.mark.needs("lm")
def test_model_is_asked_in_the_style_that_the_participant_is() -> None:
    assert local_model(BASE).style == "json"
    assert local_model(Participant("base", BASE.spec, AgentOptions(prompt_style="signature"))).style == "signature"
