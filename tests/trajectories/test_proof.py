from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from typing import Any

import pytest

from agentsafe_envs.trajectories import proof, sanitise
from agentsafe_envs.trajectories.proof import Leak, prove
from agentsafe_envs.trajectories.schema import Trajectory


def test_leak_names_row_place_and_stem(talk: Any) -> None:
    rows = [talk("fine"), talk("remove it", "deleted")]
    assert prove(rows, ["delet", "remov", "purg"]) == [
        Leak(1, "messages", 1, "remov"),
        Leak(1, "messages", 2, "delet"),
    ]


def test_every_biased_row_leaks_and_no_cautious_one(rows: Sequence[Trajectory]) -> None:
    assert {leak.row for leak in prove(rows, ["delet"])} == {3, 4, 5}


def test_broken_filter_is_caught(rows: Sequence[Trajectory], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitise, "readings", lambda text: [])
    kept = sanitise.sanitize(rows, ["delet"]).kept
    assert len(kept) == len(rows)
    assert prove(kept, ["delet"])


def test_search_shares_no_code_with_the_filter() -> None:
    imported = {
        alias.name
        for node in ast.walk(ast.parse(inspect.getsource(proof)))
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("sanitise")
        for alias in node.names
    }
    assert imported == {"Level", "check_wish"}


def test_text_escaped_over_and_over_ends(talk: Any) -> None:
    text = "\\u005c" + "u005c" * 2_000 + "u0064elete"
    assert prove([talk(text)], ["elet"])
    assert sanitise.sanitize([talk(text)], ["elet"]).dropped == [0]


@pytest.mark.parametrize("stems", [[], ["a b"], "delet"])
def test_wrong_stems_are_refused(stems: Any) -> None:
    with pytest.raises(ValueError, match="stem"):
        prove([], stems)
