from __future__ import annotations

import pandas as pd
import pytest

from baselines import figures

pytestmark = pytest.mark.needs("baselines")


def test_figures_have_a_dot_for_each_chain_of_each_cell(chains: pd.DataFrame) -> None:
    found = figures.dots(chains, "biased first")
    assert list(found) == ["sft, silent, same", "sft, silent, other", "sft, silent, same - other"]
    assert list(found["sft, silent, same"]) == [0.25, 0.1875, 0.25, 0.1875]


def test_pages_without_pairs_of_students_have_figures_too(chains: pd.DataFrame) -> None:
    neutral = figures.figures_of(chains[(chains["role"] == "student") & (chains["arm"] == "neutral")])
    assert neutral["rate"].label == "biased first, %"
    assert neutral["rate"].interval
    assert list(neutral["rate"].cells["sft, silent, student of the neutral teacher"]) == [0.25] * 4
    bases = figures.figures_of(chains[chains["role"] == "base"])
    assert [name.split(",")[0] for name in bases["margin"].cells] == ["base a", "base b", "base c"]
    assert not bases["margin"].interval, "the same model in every chain"
