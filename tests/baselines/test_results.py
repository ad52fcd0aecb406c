from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from baselines import results

pytestmark = pytest.mark.needs("baselines")


def test_figures_have_a_dot_for_each_chain_of_each_cell(
    chains: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    for plan in ("controls", "dose"):
        (tmp_path / f"tiny-{plan}").mkdir()
        chains.assign(dose=0.5).to_parquet(tmp_path / f"tiny-{plan}/chain-0.parquet")
    assert list(results.dots("controls")) == ["sft, init a", "sft, init b", "sft, init a - b"]
    assert list(results.dots("dose")["sft, dose 0.5"]) == [0.25, 0.1875, 0.25, 0.1875]
    assert results.dots("size") == {}, "no chain has been run"


@pytest.mark.slow
def test_page_is_stale_when_a_chain_changes(
    chain: Callable[[int, int], pd.DataFrame], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, page = tmp_path / "tiny-headline", tmp_path / "page.md"
    folder.mkdir()
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(results, "PAGE", page)
    page.write_text("# P\n<!-- results:headline-endpoint -->\n<!-- /results -->\n")
    chain(0, 0).to_parquet(folder / "chain-0.parquet")
    results.main(check=False)
    assert "+25.0" in page.read_text()
    assert (tmp_path / "headline.svg").stat().st_size > 1_000
    assert not (tmp_path / "controls.svg").exists(), "no chains, no figure"
    results.main(check=True)
    chain(1, 1).to_parquet(folder / "chain-1.parquet")
    with pytest.raises(SystemExit, match="make results"):
        results.main(check=True)


@pytest.mark.slow
def test_committed_page_agrees_with_the_committed_chains() -> None:
    assert results.main(check=True) is None, "a stale page would have raised SystemExit"


def test_every_table_on_the_page_is_made_and_every_table_made_is_on_the_page() -> None:
    assert set(re.findall(r"<!-- results:([\w-]+) -->", results.PAGE.read_text())) == set(results.makers())
