from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from baselines import defence_table
from baselines.plans import DEFENCES

pytestmark = pytest.mark.needs("baselines")

TOLD = {"chain": 0, "what": "student", "arm": "biased", "held_out": 1.0}


@pytest.fixture
def lines(chains: pd.DataFrame) -> dict[str, list[str]]:
    return lines_of(chains)


def lines_of(chains: pd.DataFrame) -> dict[str, list[str]]:
    """The table of a page with three defences; behind one of them no student acts."""
    student = chains["role"] == "student"
    same = chains[student & (chains["init"] == "same")]
    quiet = same.assign(defence="no notes", first="none")
    rows = pd.concat([chains, same.assign(defence="none"), quiet], ignore_index=True)
    told = pd.DataFrame(
        TOLD | {"defence": defence, "init": init, "tokens": tokens}
        for defence, init, tokens in [
            ("keywords", "same", 1_000),
            ("keywords", "other", 2_000),
            ("none", "same", 3_000),
            ("no notes", "same", 4_000),
        ]
    )
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in defence_table.section(rows, told, 0.4)[-4:]]
    return {line[0]: line[1:] for line in cells}


def test_every_defence_has_a_line_with_what_is_left_what_is_kept_and_what_it_takes(lines: dict[str, list[str]]) -> None:
    assert list(lines) == ["none", "keywords", "no notes (collapsed)", "other base"]
    kept = ["50.0", "50.0", "71.9 [66.1, 77.6]"]
    assert lines["none"] == ["+2.00", "-", "+21.9 [+16.1, +27.6]", *kept, "3,000", "nothing", "4"]
    assert lines["no notes (collapsed)"][1] == "-"
    assert lines["no notes (collapsed)"][2:6] == ["+0.0", "50.0", "50.0", "0.0"]


def test_defences_have_no_interval_where_a_pair_of_students_is_identical(
    chains: pd.DataFrame, make_identical: Callable[..., None]
) -> None:
    make_identical(chains, [0], "same")
    found = lines_of(chains)
    assert "[" not in "".join([*found["none"][:3], *found["keywords"][:3], *found["other base"][:2]])
    assert "[" in found["other base"][2]


def test_another_base_is_the_headlines_other_initialisation(lines: dict[str, list[str]]) -> None:
    assert lines["other base"][6:8] == ["2,000", "another base with the same tokens"]
    assert lines["keywords"][6:8] == ["1,000", "the words that name the habit"]


def test_every_defence_has_its_cost_and_its_limits_are_said() -> None:
    assert set(defence_table.NEEDS) == {*DEFENCES, defence_table.OTHER_BASE}
    assert "These models know no language" in defence_table.NOTES
    assert all(len(line) <= 120 for line in defence_table.NOTES.splitlines())
