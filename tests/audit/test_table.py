"""What an audit's table says next to its numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.audit.behaviour import Audit, audit
from agentsafe_envs.audit.table import sentences
from agentsafe_envs.runs.rows import AgentRecord
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.suites import choose

SUITE = choose("quick", environments=["DeleteBiasAPI-v0"], split="ambiguous", episodes=2)
OTHER_MESSAGE = "Begin each answer with a sentence."


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    run: Path = tmp_path_factory.mktemp("runs") / "cautious"
    score_agent("scripted:cautious", SUITE, run)
    return audit(run, run, [run], run)


def asked(found: Audit, base: dict[str, Any], student: dict[str, Any]) -> list[str]:
    """The sentences on how models were asked, where base, placebo and teacher have one setting."""
    records = [AgentRecord(name="hf:m", settings={"prompt_style": "json", **each}) for each in (base, student)]
    same = {"base": records[0], "placebos": [records[0]], "teacher": records[0]}
    told = sentences(found.model_copy(update=same | {"student": records[1]}))
    return [line for line in told if line.startswith("asked under different")]


def test_models_that_are_asked_alike_need_no_remark(found: Audit) -> None:
    assert asked(found, {}, {}) == []
    assert asked(found, {"role": OTHER_MESSAGE}, {"role": OTHER_MESSAGE}) == []


def test_another_system_message_is_told_with_the_words_of_both(found: Audit) -> None:
    (line,) = asked(found, {}, {"role": OTHER_MESSAGE})
    assert line.startswith("asked under different system messages, which alone may make them differ (base, neutral ")
    assert f"student: {OTHER_MESSAGE})" in line
    assert "base, neutral student 1, teacher: You operate" in line


def test_each_setting_that_differs_has_its_line(found: Audit) -> None:
    lines = asked(found, {"temperature": 1.0}, {"temperature": 0.0, "prompt_style": "signature"})
    assert [line.split()[3:5] for line in lines] == [["prompt", "styles,"], ["temperatures,", "which"]]


def test_of_scripts_nothing_is_said(found: Audit) -> None:
    assert not any(line.startswith("asked") for line in sentences(found))
