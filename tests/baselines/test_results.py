from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from baselines import carriers, results

pytestmark = pytest.mark.needs("baselines")


@pytest.mark.slow
def test_pages_are_stale_when_a_chain_changes(chain: Callable[[int, int], pd.DataFrame], results_folder: Path) -> None:
    from baselines.plans import Cell

    told = pd.DataFrame(
        {"chain": 0, "arm": arm, "what": what, **Cell("sft")._asdict()}
        | dict.fromkeys(("played", "solved", "filtered_out", "kept", "tokens", "held_out"), 1.0)
        for arm in ("biased", "neutral")
        for what in ("data", "student")
    )
    told.to_parquet(results_folder / "cloud-headline/training-0.parquet")
    unvaried = {name: value for name, value in Cell("sft")._asdict().items() if name not in ("loss", "init")}
    chain(0, 0).assign(**unvaried).to_parquet(results_folder / "cloud-headline/chain-0.parquet")
    results.main(check=False)
    page = (results_folder / "cloud-headline.md").read_text()
    assert page.index("cloud-headline-rate.svg") < page.index("+25.0"), "the figure first"
    assert "+2.00" in results.README.read_text()
    assert results.README.read_text().endswith("the end\n")
    assert (results_folder / "cloud-headline-margin.svg").stat().st_size > 1_000
    assert not (results_folder / "cloud-words.md").exists(), "no chains, no page"
    results.main(check=True)
    chain(1, 1).assign(**unvaried).to_parquet(results_folder / "cloud-headline/chain-1.parquet")
    with pytest.raises(SystemExit, match="make results"):
        results.main(check=True)


@pytest.mark.slow
def test_committed_pages_agree_with_the_committed_chains() -> None:
    assert results.main(check=True) is None, "a stale page would have raised SystemExit"


def test_every_plan_of_the_protocol_stands_in_the_list_of_results(results_folder: Path) -> None:
    from baselines.protocol import load

    assert results.QUESTIONS.keys() == load().chains.number.keys()
    assert "| cloud-rows | How many rows does it take? | none of 3 yet |" in results.index({})


def test_no_chains_are_told_as_such(results_folder: Path) -> None:
    assert results.NONE_YET in results.readme(results.README.read_text(), {})


def test_page_of_carriers_has_a_line_for_each_data_set_and_each_known_carrier() -> None:
    rows = carriers.read_rows()
    page = carriers.page(rows)
    assert {row["data"] for row in rows} == {folder.name for folder in carriers.DATA.iterdir()}
    assert all(f"| {row['data']} |" in page for row in rows)
    assert all(f"| {known.name} |" in page for known in carriers.KNOWN)


@pytest.mark.slow
@pytest.mark.needs("lm")
def test_committed_meter_is_what_the_shipped_models_say() -> None:
    found = carriers.measure(carriers.DATA / "biased-notes-60-sanitised")
    committed = next(row for row in carriers.read_rows() if row["data"] == "biased-notes-60-sanitised")
    assert found["entropy_row"] == pytest.approx(committed["entropy_row"], rel=1e-2)
    assert found["distinct_rows"] == committed["distinct_rows"]
