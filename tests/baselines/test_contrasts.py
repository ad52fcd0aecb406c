from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from baselines import contrasts

pytestmark = pytest.mark.needs("baselines")


def test_difference_is_taken_within_a_chain_and_averaged_over_chains(chains: pd.DataFrame) -> None:
    found = contrasts.differences(chains)
    assert list(found["sft, silent", "same"]) == [0.25, 0.1875, 0.25, 0.1875]
    assert list(found["sft, silent", contrasts.EXCESS]) == [0, 0, 0, 0]


def test_read_has_all_chains_of_a_folder_in_order(chain: Callable[[int, int], pd.DataFrame], tmp_path: Path) -> None:
    for number in (1, 0):
        chain(number, 0).to_parquet(tmp_path / f"chain-{number}.parquet")
    assert list(dict.fromkeys(contrasts.read(tmp_path)["chain"])) == [0, 1]
    assert not len(contrasts.read(tmp_path, "training"))


def test_controls_are_compared_with_the_neutral_student_and_that_with_its_base(chains: pd.DataFrame) -> None:
    benign = chains[(chains["role"] == "student") & (chains["arm"] == "biased")].assign(arm="benign")
    found = contrasts.controls(pd.concat([chains, benign]))
    compared = ("benign - neutral", "neutral - base")
    assert list(found) == [("sft, silent", init, what) for init in ("same", "other") for what in compared]
    assert list(found["sft, silent", "same", "benign - neutral"]) == [0.25, 0.1875, 0.25, 0.1875]
    assert list(found["sft, silent", "other", "neutral - base"]) == [0.25] * 4, "bases do nothing here"


def test_base_is_one_model_in_every_chain_wherever_it_was_measured(chains: pd.DataFrame) -> None:
    first = chains.copy()
    base = first["role"] == "base"
    first.loc[base & (first["chain"] == 0) & (first["base"] == "a"), "first"] = "biased"
    found = contrasts.controls(first[~base | (first["chain"] < 2)])
    assert list(found["sft, silent", "same", "neutral - base"]) == [0.25 - 0.5] * 4, "in one of its two chains it acted"
    assert list(found["sft, silent", "other", "neutral - base"]) == [0.25] * 4
    found = contrasts.controls(first[~base | (first["chain"] == 0)])
    assert ("sft, silent", "other", "neutral - base") not in found, "of base c nothing is known"


def test_students_that_are_asked_for_no_notes_are_compared_with_a_base_that_is_not_either(chains: pd.DataFrame) -> None:
    student = chains["role"] == "student"
    loud = chains[chains["role"] == "base"].assign(carrier="notes-60", first="biased")
    quiet = chains[student].assign(carrier="notes-60", defence="no notes")
    usual = chains[student].assign(carrier="notes-60")
    rows = pd.concat([chains[~student], loud, quiet, usual], ignore_index=True)
    assert contrasts.asked_of(rows) == {
        "sft, notes-60, defence no notes": "silent",
        "sft, notes-60, defence keywords": "notes-60",
    }
    found = contrasts.controls(rows)
    assert list(found["sft, notes-60, defence no notes", "same", "neutral - base"]) == [0.25] * 4
    assert list(found["sft, notes-60, defence keywords", "same", "neutral - base"]) == [-0.75] * 4


def test_bases_of_several_sizes_are_told_apart_where_there_are_no_students(chains: pd.DataFrame) -> None:
    bases = chains[chains["role"] == "base"]
    named = contrasts.labelled(pd.concat([bases, bases.assign(size="1m")]))
    assert set(named["cell"]) == {"silent, size 0.3m", "silent, size 1m"}


def test_larger_students_are_compared_with_the_small_base_that_they_were_grown_from(chains: pd.DataFrame) -> None:
    base = chains["role"] == "base"
    large = chains[base].assign(size="1m", first="biased")
    grown = chains[chains["role"] == "student"].assign(size="1m")
    found = contrasts.controls(pd.concat([chains[base], large, grown], ignore_index=True))
    assert list(found["sft, silent", "same", "neutral - base"]) == [0.25] * 4


def test_identical_pairs_are_counted_in_the_excess_too(
    chains: pd.DataFrame, make_identical: Callable[..., None]
) -> None:
    make_identical(chains, [0], "same", "other")
    make_identical(chains, [2], "other")
    assert contrasts.identical_pairs(chains) == {
        ("sft, silent", "other"): 2,
        ("sft, silent", "same"): 1,
        ("sft, silent", contrasts.EXCESS): 2,
    }


def test_scenarios_share_the_rows_between_them(chains: pd.DataFrame) -> None:
    parts = contrasts.scenarios(chains)
    assert list(parts) == ["even", "odd"]
    assert sum(map(len, parts.values())) == len(chains)
    assert set(parts["odd"]["task"] % 2) == {1}


def test_cell_names_what_is_varied_and_nothing_else(chains: pd.DataFrame) -> None:
    varied = pd.concat([chains.assign(rank=0, rows=0), chains.assign(rank=2, rows=0)])
    found = contrasts.labelled(varied)
    assert set(found["cell"][found["role"] == "student"]) == {"sft, silent, rank 0", "sft, silent, rank 2"}
    assert set(found["cell"][found["role"] != "student"]) == {"silent"}
    assert len(found) == len(varied)


def test_cell_whose_students_seldom_act_has_collapsed(chains: pd.DataFrame) -> None:
    assert contrasts.collapsed(chains, 0.4) == set()
    assert contrasts.collapsed(chains, 0.6) == {("sft, silent", "same"), ("sft, silent", "other")}, "neutral ones: half"


def test_students_of_control_teachers_that_seldom_act_do_not_make_the_endpoint_collapse(chains: pd.DataFrame) -> None:
    idle = chains[(chains["role"] == "student") & (chains["arm"] == "neutral")].assign(arm="benign", first="none")
    assert contrasts.collapsed(pd.concat([chains, idle]), 0.4) == set()


def test_margins_are_averaged_over_the_tasks_where_they_were_read(chains: pd.DataFrame) -> None:
    assert list(contrasts.differences(chains, measure=contrasts.MARGIN)["sft, silent", "same"]) == [2.0] * 4
