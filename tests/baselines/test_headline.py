from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from baselines import headline, tables
from baselines.contrasts import EXCESS

pytestmark = pytest.mark.needs("baselines")

ACTS = 0.4
"""Least share of acting students; the made-up neutral ones act in half of their tasks."""


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def findings(rows: pd.DataFrame, acts: float = ACTS) -> dict[str, str]:
    """By initialisation."""
    return {each.init: each.finding for each in headline.headlines(rows, acts)}


def test_ten_chains_pass_by_the_corrected_p_and_not_by_an_interval(
    ten: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert findings(ten)["same"] == headline.PASSES
    monkeypatch.setattr(tables, "holm", lambda found: [0.2] * len(found))
    assert findings(ten)["same"] == headline.NOT_SHOWN
    assert findings(ten)["other"] == headline.SUGGESTED, "it is no primary cell and has no p"


def test_few_chains_suggest_and_never_pass(chains: pd.DataFrame) -> None:
    assert findings(chains) == {"same": "suggested", "other": "suggested", EXCESS: "not shown"}


def test_cell_that_collapsed_claims_nothing_and_neither_does_what_it_is_compared_with(ten: pd.DataFrame) -> None:
    assert set(findings(ten, 0.6).values()) == {headline.COLLAPSED}
    ten.loc[(ten["role"] == "student") & (ten["init"] == "other"), "first"] = "none"
    assert findings(ten) == {"same": "passes", "other": "collapsed", EXCESS: "collapsed"}


def test_cell_of_which_one_base_collapsed_suggests_nothing(chains: pd.DataFrame) -> None:
    assert findings(chains)["other"] == headline.SUGGESTED
    odd = (chains["role"] == "student") & (chains["init"] == "other") & (chains["chain"] == chains["chain"].min())
    chains.loc[odd, "base"] = "odd"
    assert findings(chains)["other"] == headline.SUGGESTED
    chains.loc[odd & (chains["first"] != "biased"), "first"] = "none"  # so the endpoint is as it was
    assert findings(chains) == {"same": "suggested", "other": "not shown", EXCESS: "not shown"}
    lines = headline.headline_table({"cloud-headline": chains}, ACTS)
    assert [cells(line)[1].endswith("base odd collapsed") for line in lines[2:]] == [False, True]


def test_headline_sets_a_student_next_to_the_neutral_teachers_in_every_world(chains: pd.DataFrame) -> None:
    lines = headline.headline_table(
        {"cloud-headline": chains, "bash-headline": chains}, ACTS, {("cloud", "silent"): "0.9, 0.03"}
    )
    names = [f"{world}, `sft, silent`, {init}" for world in ("cloud", "bash") for init in ("same", "other")]
    assert [cells(line)[0] for line in lines[2:]] == names
    same = ["suggested (rate)", "0.9, 0.03", "46.9, 25.0", "+21.9 [+16.1, +27.6]", "7.7", "+2.00", "-", "+0.00", "4"]
    assert cells(lines[2])[1:] == same
    assert cells(lines[5])[2] == "-", "that carrier was not measured"


def test_students_that_are_identical_are_counted_and_have_no_interval(
    ten: pd.DataFrame, make_identical: Callable[..., None]
) -> None:
    make_identical(ten, range(3), "same", "other")
    line = cells(headline.headline_table({"bash-headline": ten}, ACTS)[2])
    assert line[1] == "not shown, 3 of 10 pairs identical"
    assert "[" not in line[4]
    assert line[5] == "-", "nothing was detectable in data that are the same"


def test_single_students_that_act_too_seldom_are_counted(ten: pd.DataFrame) -> None:
    ten.loc[(ten["role"] == "student") & (ten["chain"] == 4) & (ten["arm"] == "neutral"), "first"] = "none"
    assert cells(headline.headline_table({"cloud-headline": ten}, ACTS)[2])[1] == (
        "passes (rate p = 0.008 and margin p = 0.008), 1 of 20 act too seldom"
    )


def test_a_sentence_says_which_cells_pass_and_of_which_nothing_is_shown(
    chains: pd.DataFrame, ten: pd.DataFrame, make_identical: Callable[..., None]
) -> None:
    def said(rows: pd.DataFrame, acts: float = ACTS) -> str:
        return headline.headline_sentences(headline.headlines(rows, acts))

    assert said(chains) == (
        "**suggested** `sft on silent` (same: rate; other: rate); **not shown** `sft on silent` (same - other)."
    )
    assert said(chains, 0.6) == "**collapsed** `sft on silent` (same; other)."
    assert said(ten).startswith("**passes** `sft on silent` (same: rate p = 0.008 and margin p = 0.008); **suggested**")
    make_identical(chains, range(4), "same", "other")
    assert said(chains) == "**not shown** `sft on silent` (same; other; same - other)."
