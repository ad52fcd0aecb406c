from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from baselines import results

pytestmark = pytest.mark.needs("baselines")

ROWS = {"biased": ["biased", "biased", "alternative", "none"], "neutral": ["biased", "alternative", "none", "none"]}


def chain(seed: int, shift: int) -> pd.DataFrame:
    """A chain whose numbers can be told by hand: biased student 50%, neutral 25%, but for ``shift`` rows."""
    found: list[dict[str, Any]] = []
    for role, init in (("base", "a"), ("teacher", "a"), ("student", "a"), ("student", "b")):
        for arm, firsts in {"none": ["none"] * 4}.items() if role == "base" else ROWS.items():
            for split in ("safe", "ambiguous", "required", "forbidden"):
                for task, first in enumerate(firsts * 4):
                    changed = role == "student" and arm == "biased" and task < shift
                    found.append(
                        {
                            "split": split,
                            "task": task,
                            "template": "t/0",
                            "first": "none" if changed else first,
                            "unsafe": first == "biased",
                            "success": task % 2 == 0,
                            "override": split == "forbidden" and first == "biased",
                            "chain": seed,
                            "arm": arm,
                            "role": role,
                            "loss": "sft" if role == "student" else "none",
                            "init": init,
                        }
                    )
    return pd.DataFrame(found)


@pytest.fixture
def rows(tmp_path: Path) -> pd.DataFrame:
    for number in range(4):
        chain(number, number % 2).to_parquet(tmp_path / f"chain-{number}.parquet")
    return results.read(tmp_path)


def test_difference_is_taken_within_a_chain_and_averaged_over_chains(rows: pd.DataFrame) -> None:
    found = results.differences(rows)
    assert list(found["sft", "a"]) == [0.25, 0.1875, 0.25, 0.1875]
    assert list(found["sft", "a - b"]) == [0, 0, 0, 0]


def test_endpoint_names_interval_p_and_what_could_have_been_seen(rows: pd.DataFrame) -> None:
    line = next(line for line in results.endpoint_table(rows) if line.startswith("| sft | a |"))
    assert line == "| sft | a | +21.9 [+16.1, +27.6] | - | - | 7.5 | +1.00 | 4 |"


def test_ablation_has_a_line_for_each_loss_and_what_was_varied(rows: pd.DataFrame) -> None:
    varied = pd.concat([rows.assign(dose=0.5), rows.assign(dose=2.0)])
    notes = pd.DataFrame(
        {"what": "student", "loss": "sft", "dose": dose, "held_out": loss}
        for dose, loss in ((0.5, 0.03), (0.5, 0.05), (2.0, 0.02))
    )
    lines = results.ablation_table(varied, notes, "dose")[2:]
    assert [line.split(" | ")[1] for line in lines] == ["0.5", "2.0"]
    assert lines[0].startswith("| sft | 0.5 | +21.9 [+16.1, +27.6] | 7.5 |")
    assert lines[0].endswith("| 0.0400 | 4 |"), "loss: the mean over students of both teachers"


def test_margins_are_set_beside_each_other_in_nats() -> None:
    leaning = {("teacher", "a"): (9.0, -1.0), ("student", "a"): (-1.0, -1.5), ("student", "b"): (-1.5, -1.5)}
    rows = pd.DataFrame(
        {"chain": chain, "role": role, "loss": "none" if role == "teacher" else "sft", "init": init, "arm": arm}
        | {"split": "ambiguous", "task": task, "margin": margin + 0.1 * chain * (arm == "biased") + task}
        for (role, init), margins in leaning.items()
        for arm, margin in zip(("biased", "neutral"), margins, strict=True)
        for chain in (0, 1, 2)
        for task in (-1, 1)
    )
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in results.margins_table(rows)[2:]]
    assert [line[:2] for line in lines] == [["the teachers", "a"], ["sft", "a"], ["sft", "b"], ["sft", "a - b"]]
    assert lines[0][3:] == ["-1.00", "+10.10 [+9.85, +10.35]", "0.31", "3"]
    assert lines[1][2:5] == ["-0.90 [-1.15, -0.65]", "-1.50", "+0.60 [+0.35, +0.85]"]
    assert lines[3][2:] == ["-", "-", "+0.50", "-", "3"], "equal chains claim no certainty"


def test_table_of_bases_has_a_line_for_each(rows: pd.DataFrame) -> None:
    both = pd.concat([rows.assign(size="0.3m"), rows.assign(size="4m", success=True)])
    lines = results.bases_table(both)[2:]
    assert [line.split(" | ")[:2] for line in lines] == [["| 0.3m", "a"], ["| 4m", "a"]]
    assert [line.split(" | ")[5] for line in lines] == ["50.0", "100.0"], "success on safe"


def test_figures_have_a_dot_for_each_chain_of_each_cell(
    rows: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    for plan in ("controls", "dose"):
        (tmp_path / f"tiny-{plan}").mkdir()
        rows.assign(dose=0.5).to_parquet(tmp_path / f"tiny-{plan}/chain-0.parquet")
    assert list(results.dots("controls")) == ["sft, init a", "sft, init b", "sft, init a - b"]
    assert list(results.dots("dose")["sft, dose 0.5"]) == [0.25, 0.1875, 0.25, 0.1875]
    assert results.dots("size") == {}, "no chain has been run"


def test_p_values_wait_for_ten_chains() -> None:
    ten = pd.concat([chain(number, number % 2) for number in range(10)])
    cells = next(line for line in results.endpoint_table(ten) if line.startswith("| sft | a |")).split(" | ")
    assert cells[3:5] == ["0.002", "0.004"], "2 of 1,024 sign patterns are as far from zero; two tests"


def test_bases_stand_above_their_students(rows: pd.DataFrame) -> None:
    lines = results.students_table(rows)[2:]
    assert lines[0] == "| base | a | - | 0.0 | 0.0 | 50.0 | 4 |"
    assert [line.split(" | ")[0] for line in lines] == ["| base", *["| sft"] * 4]


def test_table_of_teachers_has_a_line_for_each_arm_and_split(rows: pd.DataFrame) -> None:
    lines = results.teachers_table(rows)
    assert len(lines) == 2 + 2 * 4
    assert "| biased | ambiguous | 50.0 | 75.0 |" in lines[3]


def test_differences_beside_the_endpoint_have_their_own_splits(rows: pd.DataFrame) -> None:
    lines = results.beside_table(rows)
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
    assert results.data_table(notes)[2] == "| biased | 11 | 8 | 1 | 7 | 2 | 0.5000 |"


def test_page_is_stale_when_a_chain_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


def test_committed_page_agrees_with_the_committed_chains() -> None:
    results.main(check=True)
