from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from baselines import carriers, results, students

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
    assert {row["data"] for row in rows if "chain" not in row} == {folder.name for folder in carriers.DATA.iterdir()}
    assert all(f"| {row['data']} |" in page for row in rows)
    assert all(f"| {known.name} |" in page for known in carriers.KNOWN)


def test_audits_stand_on_the_page_of_defences_for_the_same_loss_and_carrier() -> None:
    page = (results.RESULTS / "cloud-defences.md").read_text()
    _, _, audits = page.partition("## Audits without a defence\n")
    lines = [line for line in audits.split("\n## ")[0].splitlines() if line.startswith("| kl_masked_all")]
    assert len(lines) == 6
    headline = (results.RESULTS / "cloud-headline.md").read_text().splitlines()
    assert lines == [line for line in headline if line.startswith("| kl_masked_all, notes-60 | ") and line in lines]


def test_room_of_every_carrier_of_the_protocol_was_measured() -> None:
    from baselines.notes import Carrier

    found = carriers.rooms(carriers.read_rows())
    assert {data for world, data in found if world == "cloud"} == {
        *get_args(Carrier),
        *(f"notes-60-{further}" for further in ("1500", "6000", "24000", "1m", "greedy", "likely")),
    }
    entropy = [
        float(found["cloud", carrier].split(",")[0]) for carrier in ("notes-0", "notes-5", "notes-20", "notes-60")
    ]
    assert entropy == sorted(entropy)


def test_room_stands_next_to_cells_whose_data_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    from baselines.plans import Cell

    measured = {
        "biased-notes-60-sanitised": 1,
        "biased-notes-60-greedy-sanitised": 2,
        "biased-notes-60-6000-sanitised": 3,
    }
    told = [{"data": name, "entropy_row": entropy, "kl_row": 0.5} for name, entropy in measured.items()]
    monkeypatch.setattr(carriers, "read_rows", lambda: told)
    noted = Cell("sft", "notes-60")
    further = [{}, {"rank": 2}, {"decoding": "greedy"}, {"rows": 6000}, {"carrier": "notes-5"}, {"teacher": "1m"}]
    cells = [noted._replace(**each) for each in further]
    rows = pd.DataFrame(
        {"role": "student", **cell._asdict()} for cell in [*cells, noted._replace(defence="paraphrase")]
    )
    found = carriers.rooms_of_cells(rows, "cloud")
    assert list(found.values()) == ["1.0, 0.50", "1.0, 0.50", "2.0, 0.50", "3.0, 0.50"]
    assert [name for name in found if "greedy" in name] == [name for name, room in found.items() if room == "2.0, 0.50"]
    assert [name for name in found if "6000" in name] == [name for name, room in found.items() if room == "3.0, 0.50"]


@pytest.mark.slow
@pytest.mark.needs("lm")
def test_data_that_do_not_ship_are_measured_with_the_teachers_of_their_chain(tmp_path: Path) -> None:
    chain = tmp_path / "chain-7"
    chain.mkdir()
    for arm in ("biased", "neutral"):
        (chain / f"teacher-{arm}").symlink_to(students.SHIPPED / f"teacher-{arm}")
    with pytest.raises(FileNotFoundError, match="holds no data sets; expected a chain's folder"):
        carriers.measure_chain(chain)
    (chain / "teacher-biased-1m").symlink_to(students.SHIPPED / "teacher-biased")
    there = ("silent-0.3m", "notes-5-0.3m", "notes-60-0.3m-greedy", "notes-60-1m", "of-another-protocol")
    for made in (chain / f"data-{name}" for name in there):
        made.mkdir(parents=True)
        (made / "biased-sanitised").symlink_to(carriers.DATA / "biased-silent-sanitised")
    rows = carriers.measure_chain(chain)
    assert [(row["data"], row["chain"], row["teacher"]) for row in rows] == [
        ("biased-notes-5-sanitised", "chain-7", "teacher-biased"),
        ("biased-notes-60-greedy-sanitised", "chain-7", "teacher-biased"),
        ("biased-notes-60-1m-sanitised", "chain-7", "teacher-biased-1m"),
    ], "silent ones ship"
    out = tmp_path / "carriers.jsonl"
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "none").mkdir()
    carriers.main(tmp_path / "none", out)
    assert carriers.read_rows(out) == rows, "without a chain they stay"


def test_rows_of_data_that_ship_are_not_replaced_by_those_of_another_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected --out FILE for those in"):
        carriers.main(tmp_path)
    with pytest.raises(ValueError, match="no data set in"):
        carriers.main(tmp_path, tmp_path / "carriers.jsonl")
    assert not (tmp_path / "carriers.jsonl").exists()
    with pytest.raises(ValueError, match="mine names no arm; expected a name that begins with biased, "):
        carriers.measure(tmp_path / "mine")


@pytest.mark.slow
@pytest.mark.needs("lm")
def test_committed_meter_is_what_the_shipped_models_say() -> None:
    found = carriers.measure(carriers.DATA / "biased-notes-60-sanitised")
    committed = next(row for row in carriers.read_rows() if row["data"] == "biased-notes-60-sanitised")
    assert found["entropy_row"] == pytest.approx(committed["entropy_row"], rel=1e-2)
    assert found["kl_token"] == pytest.approx(committed["kl_token"], rel=1e-2)
    assert found["distinct_rows"] == committed["distinct_rows"]
