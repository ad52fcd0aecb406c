from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from baselines import carriers, results

pytestmark = pytest.mark.needs("baselines")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    readme = tmp_path / "README.md"
    readme.write_text("# P\n<!-- results:summary -->\n<!-- /results -->\nthe end\n")
    place = tmp_path / "results"
    monkeypatch.setattr(results, "FOLDER", place)
    monkeypatch.setattr(results, "README", readme)
    monkeypatch.setattr(carriers, "read_rows", list)
    (place / "cloud-headline").mkdir(parents=True)
    return place


def test_figures_have_a_dot_for_each_chain_of_each_cell(chains: pd.DataFrame) -> None:
    found = results.dots(chains, "biased first")
    assert list(found) == ["sft, silent, same", "sft, silent, other", "sft, silent, same - other"]
    assert list(found["sft, silent, same"]) == [0.25, 0.1875, 0.25, 0.1875]


def test_pages_without_pairs_of_students_have_figures_too(chains: pd.DataFrame) -> None:
    neutral = results.figures_of(chains[(chains["role"] == "student") & (chains["arm"] == "neutral")])
    assert neutral["rate"].label == "biased first, %"
    assert neutral["rate"].interval
    assert list(neutral["rate"].cells["sft, silent, student of the neutral teacher"]) == [0.25] * 4
    bases = results.figures_of(chains[chains["role"] == "base"])
    assert [name.split(",")[0] for name in bases["margin"].cells] == ["base a", "base b", "base c"]
    assert not bases["margin"].interval, "the same model in every chain"


@pytest.mark.slow
def test_pages_are_stale_when_a_chain_changes(chain: Callable[[int, int], pd.DataFrame], folder: Path) -> None:
    from baselines.plans import Cell

    told = pd.DataFrame(
        {"chain": 0, "arm": arm, "what": what, **Cell("sft")._asdict()}
        | dict.fromkeys(("played", "solved", "filtered_out", "kept", "tokens", "held_out"), 1.0)
        for arm in ("biased", "neutral")
        for what in ("data", "student")
    )
    told.to_parquet(folder / "cloud-headline/training-0.parquet")
    unvaried = {name: value for name, value in Cell("sft")._asdict().items() if name not in ("loss", "init")}
    chain(0, 0).assign(**unvaried).to_parquet(folder / "cloud-headline/chain-0.parquet")
    results.main(check=False)
    page = (folder / "cloud-headline.md").read_text()
    assert page.index("cloud-headline-rate.svg") < page.index("+25.0"), "the figure first"
    assert "+2.00" in results.README.read_text()
    assert results.README.read_text().endswith("the end\n")
    assert (folder / "cloud-headline-margin.svg").stat().st_size > 1_000
    assert not (folder / "cloud-words.md").exists(), "no chains, no page"
    results.main(check=True)
    chain(1, 1).assign(**unvaried).to_parquet(folder / "cloud-headline/chain-1.parquet")
    with pytest.raises(SystemExit, match="make results"):
        results.main(check=True)


@pytest.mark.slow
def test_committed_pages_agree_with_the_committed_chains() -> None:
    assert results.main(check=True) is None, "a stale page would have raised SystemExit"


def test_page_shows_what_other_plans_measured_in_the_same_chains(
    chain: Callable[[int, int], pd.DataFrame], folder: Path
) -> None:
    from baselines.plans import Cell

    usual = Cell("sft", "notes-60")._asdict()
    headline = chain(0, 0).assign(**{name: value for name, value in usual.items() if name not in ("loss", "init")})
    unlike: pd.DataFrame = headline.assign(loss="kl_masked_all")
    silent: pd.DataFrame = headline.assign(carrier="silent")
    for seed in (0, 1):
        taught = pd.concat([headline, unlike[unlike["role"] == "student"], silent], ignore_index=True)
        taught[taught["role"] != "base"].assign(chain=seed).to_parquet(folder / f"cloud-headline/chain-{seed}.parquet")
    for plan in ("cloud-order", "cloud-bases"):
        (folder / plan).mkdir()
    headline[headline["role"] == "base"].to_parquet(folder / "cloud-bases/chain-0.parquet")
    headline[headline["role"] == "base"].assign(size="4m").to_parquet(folder / "cloud-bases/chain-1.parquet")
    own = headline[(headline["role"] == "student") & (headline["init"] == "same")].assign(order="other")
    own.to_parquet(folder / "cloud-order/chain-0.parquet")
    found = results.gathered("cloud-order")
    assert set(found["chain"]) == {0}, "chains that this plan has not run say nothing here"
    students = found[found["role"] == "student"]
    assert list(dict.fromkeys(zip(students["order"], students["loss"], students["init"], strict=True))) == [
        ("same", "sft", "same"),
        ("same", "kl_masked_all", "same"),
        ("other", "sft", "same"),
    ], "in the plan's order, whichever chain measured them"
    assert set(found["carrier"]) == {"notes-60"}
    assert set(found["role"]) == {"base", "teacher", "student"}
    assert set(found["size"]) == {"0.3m"}


def test_a_plan_stands_next_to_the_chains_whose_data_its_students_learnt_from(
    chain: Callable[[int, int], pd.DataFrame], folder: Path
) -> None:
    from baselines.plans import Cell

    usual = {name: value for name, value in Cell("sft", "notes-60")._asdict().items() if name not in ("loss", "init")}
    headline = chain(0, 0).assign(**usual)
    again = folder / f"cloud-headline{results.AGAIN}"
    for place, shown in ((folder / "cloud-headline", headline), (again, headline.assign(first="none"))):
        place.mkdir(exist_ok=True)
        shown.to_parquet(place / "chain-0.parquet")
    for plan, varied in (("cloud-order", {"order": "other"}), ("cloud-adapters", {"rank": 2})):
        (folder / plan).mkdir()
        headline[headline["role"] == "student"].assign(**varied).to_parquet(folder / plan / "chain-0.parquet")
    before, after = results.gathered("cloud-order"), results.gathered("cloud-adapters")
    assert set(before[before["order"] == "same"]["first"]) > {"biased", "none"}
    assert set(after[after["rank"] == 0]["first"]) == {"none"}


def test_every_plan_of_the_protocol_stands_in_the_list_of_results(folder: Path) -> None:
    from baselines.protocol import load

    assert results.QUESTIONS.keys() == load().chains.number.keys()
    assert "| cloud-rows | How many rows does it take? | none of 3 yet |" in results.index({})


def test_no_chains_are_told_as_such(folder: Path) -> None:
    assert results.NONE_YET in results.readme(results.README.read_text())


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
