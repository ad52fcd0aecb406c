from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pandas as pd
import pytest

from baselines import figures

pytestmark = pytest.mark.needs("baselines")


def test_figures_have_a_dot_for_each_chain_of_each_cell(chains: pd.DataFrame) -> None:
    found = figures.dots(chains, "biased first")
    assert list(found) == ["sft, silent, same", "sft, silent, other", "sft, silent, same - other"]
    assert list(found["sft, silent, same"].values) == [0.25, 0.1875, 0.25, 0.1875]


def test_pages_without_pairs_of_students_have_figures_too(chains: pd.DataFrame) -> None:
    neutral = figures.figures_of(chains[(chains["role"] == "student") & (chains["arm"] == "neutral")])
    assert neutral["rate"].label == "biased first, %"
    assert neutral["rate"].interval
    assert list(neutral["rate"].cells["sft, silent, same, student of the neutral teacher"].values) == [0.25] * 4
    bases = figures.figures_of(chains[chains["role"] == "base"])
    assert [name.split(",")[0] for name in bases["margin"].cells] == ["base a", "base b", "base c"]
    assert not bases["margin"].interval, "the same model in every chain"


def test_figures_have_the_intervals_of_the_tables(chains: pd.DataFrame, make_identical: Callable[..., None]) -> None:
    before = figures.figures_of(chains)["margin"]
    make_identical(chains, [0], "same")
    after = figures.figures_of(chains)["margin"]
    assert after.cells["sft, silent, same"].mean.low is None, "in one chain both students are one model"
    assert after.digest != before.digest


def test_figure_is_another_when_its_interval_changes(chains: pd.DataFrame) -> None:
    shown = figures.figures_of(chains)["rate"]
    cell = next(iter(shown.cells.values()))
    bare = {name: each._replace(mean=replace(cell.mean, low=None)) for name, each in shown.cells.items()}
    assert shown._replace(cells=bare).digest != shown.digest
