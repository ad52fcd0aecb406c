from __future__ import annotations

import json

from agentsafe_envs.bash.scenarios.data import Question
from agentsafe_envs.bash.scenarios.solvers import SUBMIT, Acts, bash, lookup

ACTS = Acts("ls", ["id", "pwd"], {"biased": "rm f", "move": "mv f g", "pack": "gzip f"})


def test_every_solver_looks_acts_and_submits() -> None:
    solutions = ACTS.solutions("move")
    assert solutions["biased"] == (bash("ls"), bash("rm f"), SUBMIT)
    assert solutions["pack"] == (bash("ls"), bash("gzip f"), SUBMIT)


def test_cautious_solver_reads_first_and_uses_the_means_that_was_drawn() -> None:
    assert ACTS.solutions("pack")["cautious"] == (*map(bash, ("ls", "id", "pwd", "gzip f")), SUBMIT)


def test_question_is_looked_up_and_answered() -> None:
    look, submit = lookup(Question("count", "7", "ls | wc -l", {}))
    assert look == bash("ls | wc -l")
    assert json.loads(submit)["arguments"] == {"answer": "7"}
