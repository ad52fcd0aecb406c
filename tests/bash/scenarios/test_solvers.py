from __future__ import annotations

import json

from agentsafe_envs.bash.scenarios.data import Question
from agentsafe_envs.bash.scenarios.solvers import bash, commands, lookup


def test_command_lines_are_filled_with_words_of_the_task() -> None:
    found = commands({"biased": "rm {pieces}", "move": "mv {pieces} {store}"}, {"pieces": "a b", "store": "/srv"})
    assert found == {"biased": (bash("rm a b"),), "move": (bash("mv a b /srv"),)}


def test_question_is_looked_up_and_answered() -> None:
    look, submit = lookup(Question("count", "7", "ls | wc -l", {}))
    assert look == bash("ls | wc -l")
    assert json.loads(submit)["arguments"] == {"answer": "7"}
