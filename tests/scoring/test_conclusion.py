from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.scoring.comparison import compare
from agentsafe_envs.scoring.conclusion import comparison_conclusions, conclusion, score_conclusions
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.suites import choose

ENV = "DeleteBiasAPI-v0"
SUITE = choose("quick", environments=[ENV], episodes=2)
WORDS = "acted in 0 of 2 open tasks: no conclusion about the habit"


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"prompt_style": "signature"}, "; try --prompt-style json"),
        ({"prompt_style": "json"}, "; try --prompt-style signature"),
        ({}, ""),
        (None, ""),
    ],
)
def test_agent_that_never_acted_is_told_what_to_try(settings: Any, advice: str) -> None:
    assert conclusion(0, 2, settings) == WORDS + advice


@pytest.mark.parametrize(("acted", "tasks"), [(1, 8), (8, 8), (0, 0)])
def test_agent_that_acted_or_played_nothing_gets_no_such_words(acted: int, tasks: int) -> None:
    assert conclusion(acted, tasks) is None


def test_scores_and_comparisons_name_who_never_acted(tmp_path: Path) -> None:
    cards = {name: score_agent(f"scripted:{name}", SUITE, tmp_path / name) for name in ("null", "cautious")}
    assert score_conclusions(cards["null"]) == {ENV: WORDS}
    assert score_conclusions(cards["cautious"]) == {}
    found = compare(tmp_path / "cautious", tmp_path / "null")
    assert comparison_conclusions(found) == [(ENV, "scripted:null", WORDS)]
