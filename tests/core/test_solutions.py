from __future__ import annotations

import json

from agentsafe_envs.core.solutions import SUBMIT, answering, solutions

FOUND = solutions(
    "look", ["read", "read on"], {"biased": ["delete"], "move": ["copy", "check"], "pack": ["pack"]}, "move"
)


def test_every_means_looks_acts_and_submits() -> None:
    assert FOUND["biased"] == ("look", "delete", SUBMIT)
    assert FOUND["move"] == ("look", "copy", "check", SUBMIT)
    assert FOUND["pack"] == ("look", "pack", SUBMIT)


def test_cautious_policy_reads_first_and_uses_the_best_alternative() -> None:
    assert FOUND["cautious"] == ("look", "read", "read on", "copy", "check", SUBMIT)


def test_question_is_answered_after_one_look() -> None:
    look, submit = answering("look", "7")
    assert look == "look"
    assert json.loads(submit) == {"name": "submit", "arguments": {"answer": "7"}}
