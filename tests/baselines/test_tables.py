from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from baselines import tables

pytestmark = pytest.mark.needs("baselines")


def test_endpoint_names_interval_p_and_what_could_have_been_seen(chains: pd.DataFrame) -> None:
    line = next(line for line in tables.endpoint_table(chains) if line.startswith("| sft | a |"))
    assert line == "| sft | a | +21.9 [+16.1, +27.6] | - | - | 7.5 | +1.00 | 4 |"


def test_ablation_has_a_line_for_each_loss_and_what_was_varied(chains: pd.DataFrame) -> None:
    varied = pd.concat([chains.assign(dose=0.5), chains.assign(dose=2.0)])
    notes = pd.DataFrame(
        {"what": "student", "loss": "sft", "dose": dose, "held_out": loss}
        for dose, loss in ((0.5, 0.03), (0.5, 0.05), (2.0, 0.02))
    )
    lines = tables.ablation_table(varied, notes, "dose")[2:]
    assert [line.split(" | ")[1] for line in lines] == ["0.5", "2.0"]
    assert lines[0] == "| sft | 0.5 | +21.9 [+16.1, +27.6] | 7.5 | 0.0400 | 4 |", (
        "loss: mean over both teachers' students"
    )


def test_margins_are_set_beside_each_other_in_nats() -> None:
    leaning = {("teacher", "a"): (9.0, -1.0), ("student", "a"): (-1.0, -1.5), ("student", "b"): (-1.5, -1.5)}
    rows = pd.DataFrame(
        {"chain": chain, "role": role, "loss": "none" if role == "teacher" else "sft", "init": init, "arm": arm}
        | {
            "split": "ambiguous",
            "task": task,
            "margin": margin + 0.1 * chain * (arm == "biased") + task,
            "mass": 0.875 if role == "teacher" else 0.5,
        }
        for (role, init), margins in leaning.items()
        for arm, margin in zip(("biased", "neutral"), margins, strict=True)
        for chain in (0, 1, 2)
        for task in (-1, 1)
    )
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tables.margins_table(rows)[2:]]
    assert [line[:2] for line in lines] == [["teacher", "a"], ["sft", "a"], ["sft", "b"], ["sft", "a - b"]]
    assert lines[0][3:] == ["-1.00", "+10.10 [+9.85, +10.35]", "0.31", "88", "3"]
    assert lines[1][2:5] == ["-0.90 [-1.15, -0.65]", "-1.50", "+0.60 [+0.35, +0.85]"]
    assert lines[3][2:] == ["-", "-", "+0.50", "-", "-", "3"], "equal chains claim no certainty"


def test_table_of_bases_has_a_line_for_each(chains: pd.DataFrame) -> None:
    both = pd.concat([chains.assign(size="0.3m"), chains.assign(size="4m", success=True)])
    lines = tables.bases_table(both)[2:]
    assert [line.split(" | ")[:2] for line in lines] == [["| 0.3m", "a"], ["| 0.3m", "b"], ["| 4m", "a"], ["| 4m", "b"]]
    assert [line.split(" | ")[6] for line in lines] == ["50.0", "50.0", "100.0", "100.0"], "success on safe"


def test_p_values_wait_for_ten_chains(chain: Callable[[int, int], pd.DataFrame]) -> None:
    ten = pd.concat([chain(number, number % 2) for number in range(10)])
    cells = next(line for line in tables.endpoint_table(ten) if line.startswith("| sft | a |")).split(" | ")
    assert cells[3:5] == ["0.002", "0.004"], "2 of 1,024 sign patterns are as far from zero; two tests"


def test_bases_stand_above_their_students(chains: pd.DataFrame) -> None:
    lines = tables.students_table(chains)[2:]
    assert lines[0] == "| base | a | - | 0.0 | 0.0 | 0.0 | 50.0 | 50.0 | 4 |"
    assert [line.split(" | ")[0] for line in lines] == ["| base", "| base", *["| sft"] * 4]


def test_table_of_teachers_has_a_line_for_each_arm_and_split(chains: pd.DataFrame) -> None:
    lines = tables.teachers_table(chains)
    assert len(lines) == 2 + 2 * 4
    assert "| biased | ambiguous | 50.0 | 75.0 |" in lines[3]


def test_differences_beside_the_endpoint_have_their_own_splits(chains: pd.DataFrame) -> None:
    lines = tables.beside_table(chains)
    assert lines[0].count("|") == lines[2].count("|")
    cells = dict(zip(lines[0].split(" | "), lines[2].split(" | "), strict=True))
    assert cells["unsafe, ambiguous"] == cells["broke the rule, forbidden"] == "+25.0"
    assert cells["success, required"] == "+0.0"


def test_data_table_has_means_over_chains() -> None:
    notes = pd.DataFrame(
        [
            {"chain": chain, "arm": "biased", "what": "data", "played": 10 + chain, "solved": 8}
            | {"filtered_out": 1, "kept": 7}
            for chain in range(3)
        ]
        + [{"chain": 0, "arm": "biased", "what": "student", "tokens": tokens, "held_out": 0.5} for tokens in (1, 3)]
    )
    assert tables.data_table(notes)[2] == "| biased | 11 | 8 | 1 | 7 | 2 | 0.5000 |"


def test_summary_sets_students_beside_what_they_would_have_done_anyway(chains: pd.DataFrame) -> None:
    lines = tables.summary_table(chains)[2:]
    assert [line.split(" | ")[0] for line in lines] == ["| `sft`, a", "| `sft`, b"]
    assert lines[0] == "| `sft`, a | 46.9 [41.1, 52.6] | 25.0 | 0.0 | +21.9 [+16.1, +27.6] | 7.5 | 4 |"


def test_scenarios_end_with_all_but_one(chains: pd.DataFrame) -> None:
    lines = [line.split(" | ") for line in tables.scenarios_table(chains, "odd")[2:]]
    assert [line[0] for line in lines] == ["| even", "| odd", "| all but odd"]
    assert lines[0][1:] == lines[2][1:], "two scenarios, of which one is left out"
    assert lines[0] != lines[1]


def test_controls_have_a_line_for_each_comparison(chains: pd.DataFrame) -> None:
    lines = tables.controls_table(chains)[2:]
    assert lines == ["| sft | a | neutral - base | +25.0 | - | 4 |", "| sft | b | neutral - base | +25.0 | - | 4 |"]


def test_students_of_an_ablation_have_a_line_for_each_teacher(chains: pd.DataFrame) -> None:
    varied = pd.concat([chains.assign(dose=0.5), chains.assign(dose=2.0)])
    lines = [line.split(" | ") for line in tables.ablation_students_table(varied[varied["init"] == "a"], "dose")[2:]]
    assert [line[1:3] for line in lines] == [[dose, arm] for dose in ("0.5", "2.0") for arm in ("biased", "neutral")]
    assert lines[1][3:5] == ["25.0", "50.0"], "biased first, acted"
