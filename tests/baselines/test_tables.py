from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from baselines import tables

pytestmark = pytest.mark.needs("baselines")

ACTS = 0.4
"""Least share of acting students; the made-up neutral ones act in half of their tasks."""


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def line_of(lines: list[str], *begin: str) -> list[str]:
    return next(found for found in map(cells, lines) if found[: len(begin)] == list(begin))


def test_endpoint_names_rate_margin_and_what_could_have_been_seen(chains: pd.DataFrame) -> None:
    line = line_of(tables.endpoint_table(chains, ACTS), "sft, silent", "same")
    assert line[2:] == ["+21.9 [+16.1, +27.6]", "7.7", "+2.00", "-", "+1.00", "4"]


def test_p_values_wait_for_ten_chains_and_are_corrected_over_rate_and_margin(ten: pd.DataFrame) -> None:
    line = line_of(tables.endpoint_table(ten, ACTS), "sft, silent", "same")
    assert (line[3], line[6]) == ("0.008", "0.008"), "2 of 1,024 sign patterns are as far from zero; four tests"
    assert line_of(tables.endpoint_table(ten, ACTS), "sft, silent", "other")[3] == "-", "no primary cell"


def test_cell_that_collapsed_claims_nothing(ten: pd.DataFrame) -> None:
    lines = tables.endpoint_table(ten, 0.6)
    assert "p, Holm" not in lines[0]
    for init in ("same", "other", "same - other"):
        assert line_of(lines, "sft, silent", f"{init} (collapsed)")


def test_cell_keeps_its_p_when_only_the_other_initialisation_collapsed(ten: pd.DataFrame) -> None:
    others = (ten["role"] == "student") & (ten["init"] == "other")
    ten.loc[others, "first"] = "none"
    lines = tables.endpoint_table(ten, ACTS)
    assert line_of(lines, "sft, silent", "same")[3] == "0.008", "four tests, however two of them ended"
    assert line_of(lines, "sft, silent", "other (collapsed)")[3] == "-"
    assert line_of(lines, "sft, silent", "same - other (collapsed)")[3] == "-"


def test_cells_with_identical_pairs_have_no_interval_anywhere(
    chains: pd.DataFrame, make_identical: Callable[..., None]
) -> None:
    make_identical(chains, [0], "same")
    endpoint = tables.endpoint_table(chains, ACTS)
    for line in (
        line_of(endpoint, "sft, silent", "same"),
        line_of(endpoint, "sft, silent", "same - other"),
        line_of(tables.beside_table(chains), "sft, silent", "same"),
    ):
        assert "[" not in "".join(line)
    assert line_of(endpoint, "sft, silent", "same - other")[-1] == "4, 1 identical"
    assert "[" in "".join(line_of(endpoint, "sft, silent", "other"))


def test_what_is_passed_on_is_a_share_of_what_the_students_own_teachers_differ_in(chains: pd.DataFrame) -> None:
    students, teachers = (chains["role"] == role for role in ("student", "teacher"))
    of_large = chains[students].assign(teacher="1m")
    large = chains[teachers].assign(size="1m", teacher="")
    quieter = large["arm"] == "biased"
    large.loc[quieter & (large["task"] % 4 == 1), "unsafe"] = False
    rows = pd.concat([chains.assign(teacher=""), of_large, large], ignore_index=True)
    lines = tables.endpoint_table(rows, ACTS)
    assert line_of(lines, "sft, silent, teacher usual", "same")[-2] == "+1.00"
    assert line_of(lines, "sft, silent, teacher 1m", "same")[-2] == "not induced", "theirs differ in nothing"


def test_bases_stand_above_their_students_a_model_a_line_and_without_an_interval(chains: pd.DataFrame) -> None:
    chains.loc[(chains["role"] == "base") & (chains["chain"] == 0), "success"] = False
    lines = tables.students_table(chains)[2:]
    assert cells(lines[0]) == ["base a, silent", "same", "-", *["0.0"] * 3, "37.5", "37.5", "-3.00", "-"]
    bases = ["base a, silent", "base b, silent", "base c, silent"]
    assert [cells(line)[0] for line in lines] == [*bases, *["sft, silent"] * 4]
    assert cells(lines[-1])[-1] == "4"


def test_table_of_teachers_has_a_line_for_each_arm_and_split(chains: pd.DataFrame) -> None:
    lines = tables.teachers_table(chains)
    assert len(lines) == 2 + 2 * 4
    assert line_of(lines, "biased", "silent", "ambiguous")[3:5] == ["50.0", "75.0"]


def test_differences_next_to_the_endpoint_have_their_own_splits(chains: pd.DataFrame) -> None:
    lines = tables.beside_table(chains)
    found = dict(zip(cells(lines[0]), cells(lines[2]), strict=True))
    assert found["unsafe, ambiguous"] == found["broke the rule, forbidden"] == "+25.0"
    assert found["success, required"] == "+0.0"


def test_data_table_has_means_over_chains_and_a_line_for_each_data_set() -> None:
    told = pd.DataFrame(
        [
            {"chain": chain, "arm": "biased", "what": "data", "carrier": "silent", "likely": likely}
            | {"played": 10 + chain, "solved": 8 - likely, "filtered_out": 1, "kept": 7}
            for chain in range(3)
            for likely in (False, True)
        ]
    )
    assert [cells(line) for line in tables.data_table(told)[2:]] == [
        ["biased", "silent, every token", "11", "8", "1", "7"],
        ["biased", "silent, likely tokens only", "11", "7", "1", "7"],
    ]
    alike = told[~told["likely"].astype(bool)]
    assert cells(tables.data_table(alike)[2])[:2] == ["biased", "silent"]


def test_training_table_has_means_over_chains_and_over_nothing_else() -> None:
    told = pd.DataFrame(
        {"chain": chain, "arm": "biased", "what": "student", "carrier": "silent", "loss": loss, "init": init}
        | {"tokens": 1_000 + chain, "held_out": number}
        for chain in (0, 2)
        for number, (loss, init) in enumerate([("sft", "same"), ("sft", "other"), ("kl", "same")])
    )
    assert [cells(line) for line in tables.training_table(told)[2:]] == [
        ["sft, silent", "same", "biased", "1,001", "0.0000", "2"],
        ["sft, silent", "other", "biased", "1,001", "1.0000", "2"],
        ["kl, silent", "same", "biased", "1,001", "2.0000", "2"],
    ]


def test_scenarios_have_a_line_each(chains: pd.DataFrame) -> None:
    lines = [cells(line) for line in tables.scenarios_table(chains)[2:]]
    assert [line[0] for line in lines] == ["even", "odd"]


def test_controls_have_a_line_for_each_comparison(chains: pd.DataFrame) -> None:
    lines = [cells(line) for line in tables.controls_table(chains)[2:]]
    assert lines == [["sft, silent", init, "neutral - base", "+25.0", "-", "4"] for init in ("same", "other")]


def test_gap_and_audits_have_a_line_each() -> None:
    found = [
        {
            "loss": "sft",
            "carrier": "notes-60",
            "chains": 10,
            "gap": {"latent": [], "latent_p": None, "clean": [], "behaviour": [0.1, 0.0, 0.2], "masked": [-0.05]}
            | {"probe": {"transfers": 0.95, "tells_requests": 0.6}},
            "audits": [
                {"audit": "margin", "detected": 0.9, "false_positives": 0.05, "false_positives_high": 0.3}
                | {"values": [1.0] * 10, "placebos": [0.0] * 20}
            ],
        }
    ]
    wanted = ["sft, notes-60", "-", "-", "+0.100 [-0.148, +0.348]", "-0.050", "0.95, 0.60", "10"]
    assert cells(tables.gap_table(found)[2]) == wanted
    (sentence,) = tables.gap_sentences(found)
    assert sentence.startswith("- sft, notes-60: latent not measured")
    assert sentence.endswith("masked -0.050."), "no gap's interval lies above 0"
    assert cells(tables.audits_table(found)[2]) == ["sft, notes-60", "margin", "90 [60, 98]", "5 [1, 24]", "10, 20"]


def test_other_bases_are_told_one_by_one_where_there_are_several(chains: pd.DataFrame) -> None:
    lines = [cells(line) for line in tables.other_bases_table(chains, 0.4)[2:]]
    assert [line[1] for line in lines] == ["b", "c"]
    assert {line[-1] for line in lines} == {"2"}
    odd = chains.assign(first=chains["first"].where(chains["base"] != "c", "none"))
    assert [cells(line)[1] for line in tables.other_bases_table(odd, 0.4)[2:]] == ["b", "c (collapsed)"]
    assert tables.other_bases_table(chains.assign(base="b"), 0.4) == []
