from __future__ import annotations

import random

import pytest

from agentsafe_envs.bash.files.start import Start, directory
from agentsafe_envs.bash.scenarios.data import Data

SEEDS = range(40)


def test_no_two_names_share_a_number() -> None:
    data = Data(random.Random(0))
    numbers = [data.name().partition("-")[2] for _ in range(50)] + [str(data.number())]
    assert len(set(numbers)) == len(numbers)


def test_lines_are_equally_long() -> None:
    text = Data(random.Random(0)).text(30)
    assert text.count("\n") == 30
    assert len({len(line) for line in text.splitlines()}) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_question_about_a_folder_has_one_answer(seed: int) -> None:
    entries, question = Data(random.Random(seed)).question("/srv/p")
    Start(entries=tuple(entries))
    folder, *files = entries
    assert folder == directory("/srv/p")
    texts = {entry.path.removeprefix("/srv/p/"): entry.data.decode() for entry in files}
    named = texts.get(str(question.values["place"]).removeprefix("/srv/p/"), "")
    longest = max(map(len, texts.values()))
    assert (
        question.answer
        == {
            "count": str(len(texts)),
            "largest": next(name for name, text in texts.items() if len(text) == longest),
            "lines": str(len(named.splitlines())),
            "found": str(sum(str(question.values.get("state")) in line for line in named.splitlines())),
        }[question.topic]
    )
    assert [len(text) for text in texts.values()].count(longest) == 1
