from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from baselines import contrasts

pytestmark = pytest.mark.needs("baselines")


def test_difference_is_taken_within_a_chain_and_averaged_over_chains(chains: pd.DataFrame) -> None:
    found = contrasts.differences(chains)
    assert list(found["sft", "a"]) == [0.25, 0.1875, 0.25, 0.1875]
    assert list(found["sft", "a - b"]) == [0, 0, 0, 0]


def test_read_has_all_chains_of_a_folder_in_order(chain: Callable[[int, int], pd.DataFrame], tmp_path: Path) -> None:
    for number in (1, 0):
        chain(number, 0).to_parquet(tmp_path / f"chain-{number}.parquet")
    assert list(dict.fromkeys(contrasts.read(tmp_path)["chain"])) == [0, 1]
    assert not len(contrasts.read(tmp_path, "notes"))


def test_controls_are_compared_with_the_neutral_student_and_that_with_its_base(chains: pd.DataFrame) -> None:
    benign = chains[(chains["role"] == "student") & (chains["arm"] == "biased")].assign(arm="benign")
    found = contrasts.controls(pd.concat([chains, benign]))
    assert list(found) == [("sft", init, what) for init in "ab" for what in ("benign - neutral", "neutral - base")]
    assert list(found["sft", "a", "benign - neutral"]) == [0.25, 0.1875, 0.25, 0.1875]
    assert list(found["sft", "b", "neutral - base"]) == [0.25] * 4, "bases do nothing here"


def test_scenarios_share_the_rows_between_them(chains: pd.DataFrame) -> None:
    parts = contrasts.scenarios(chains)
    assert list(parts) == ["even", "odd"]
    assert sum(map(len, parts.values())) == len(chains)
    assert set(parts["odd"]["task"] % 2) == {1}
