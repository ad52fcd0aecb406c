from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from agentsafe_envs.cli.tables import comparison_tables, terminal_tables
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.runs.rows import AgentRecord, SuiteRecord
from agentsafe_envs.scoring.comparison import Comparison, PairedCell, PairedRate
from agentsafe_envs.scoring.measures import COMPARED, MEASURES
from agentsafe_envs.scoring.scorecard import Scorecard, build_scorecard
from agentsafe_envs.scoring.table import markdown_table, verdict_line

VERDICT = {
    "first": "biased",
    "unsafe": True,
    "asked": False,
    "success": True,
    "override": False,
    "invalid_actions": 0,
    "biased_calls": 2,
    "steps": 4,
    "tampered": False,
}


def card(*, unscored: int = 0, environments: tuple[str, ...] = ("A-v0", "B-v0"), agent: str = "mine") -> Scorecard:
    keys = [EpisodeKey(env_id, split, seed) for env_id in environments for split in SPLITS for seed in range(4)]
    rows: list[dict[str, Any]] = [
        {"key": key._asdict(), "template": f"t/{key.seed}", "verdict": VERDICT} for key in keys[unscored:]
    ]
    suite, name = SuiteRecord(name="quick", digest="d" * 64), AgentRecord(name=agent, settings={})
    return build_scorecard(rows, suite, name, planned=keys)


def printed(scorecard: Scorecard, width: int = 80, *, brief: bool = False) -> str:
    out = io.StringIO()
    tables = terminal_tables(scorecard, brief=brief)
    Console(file=out, width=width).print(*tables, verdict_line(scorecard, brief=brief), sep="\n")
    return out.getvalue()


def test_terminal_table_fits_into_80_columns_whole() -> None:
    text = printed(card())
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert text.count("[") == printed(card(), width=200).count("[") > 0


def test_every_measure_has_a_line() -> None:
    lines = [line.strip() for line in printed(card(), width=120).splitlines()]
    for heading in ("episodes", *(measure.heading for measure in MEASURES if not measure.only_where_seen)):
        assert sum(line.startswith(f"{heading}  ") for line in lines) == 2, heading


def test_terminal_has_a_table_an_environment_with_splits_in_order() -> None:
    text = printed(card())
    assert [line.split()[-1] for line in text.splitlines() if "mine on" in line] == ["A-v0", "B-v0"]
    heads = [line.split() for line in text.splitlines() if line.strip().startswith("percent")]
    assert heads == [["percent", *SPLITS]] * 2


def test_intervals_survive_the_markup_of_the_terminal() -> None:
    assert "100 [" in printed(card())


def test_invalid_scorecard_says_so_and_shows_the_unscored() -> None:
    text = printed(card(unscored=1), width=120)
    assert "NOT VALID: 1 of 32 episodes are unscored" in text
    assert ["unscored", "1", "0", "0", "0"] in [line.split() for line in text.splitlines()]


def test_valid_scorecard_has_no_row_for_unscored() -> None:
    assert "unscored" not in printed(card())


def test_terminal_and_markdown_show_the_same_cells() -> None:
    scorecard = card(environments=("A-v0",))
    cells = [cell.strip() for cell in markdown_table(scorecard).split("|") if "[" in cell]
    text = printed(scorecard)
    assert cells
    assert all(cell in text for cell in cells)


@pytest.mark.parametrize("agent", ["hf:[bold]models[/bold]", "hf:/tmp/[x]/"])
def test_agent_name_is_printed_as_it_is(agent: str) -> None:
    assert f"{agent} on A-v0" in printed(card(agent=agent))


def test_comparison_has_a_table_an_environment_and_fits_into_80_columns() -> None:
    widest = {
        each.name: PairedRate(first=1.0, second=0.5, difference=-1.0, low=-1.0, high=-0.68, method="bootstrap")
        for each in COMPARED
    }
    cells = [
        PairedCell(id=env_id, split=split, pairs=20, unpaired=env_id == "B-v0", rates=widest)
        for env_id in ("A-v0", "B-v0")
        for split in SPLITS
    ]
    first, second = (AgentRecord(name=name, settings={}) for name in ("[a]", "b"))
    suite = SuiteRecord(name="quick", digest="d")
    out = io.StringIO()
    tables = comparison_tables(Comparison(suite=suite, first=first, second=second, cells=cells))
    Console(file=out, width=80).print(*tables, sep="\n")
    text = out.getvalue()
    assert [line.strip() for line in text.splitlines() if "minus" in line] == [
        "b minus [a] on A-v0",
        "b minus [a] on B-v0",
    ]
    assert text.count("-100 [-100, -68]") == 2 * len(SPLITS) * len(COMPARED)
    assert text.count("unpaired") == 1
    lines = text.splitlines()
    for measure in COMPARED:
        start = " ".join(measure.heading.split()[:2])  # the longest goes on in the next line
        assert sum(line.startswith(f"{start} ") for line in lines) == 2


def test_brief_table_has_the_main_measures_alone() -> None:
    lines = [line.split("  ")[0].strip() for line in printed(card(environments=("A-v0",)), brief=True).splitlines()]
    shown = [line for line in lines if line in {"episodes", *(measure.heading for measure in MEASURES)}]
    assert shown == ["episodes", "biased first", "unsafe", "success", "broke the rule"]


@pytest.mark.parametrize("brief", [True, False])
def test_headline_stands_above_the_table_without_colours_in_a_file(brief: bool) -> None:
    lines = printed(card(environments=("DeleteBiasAPI-v0",)), brief=brief, width=200).splitlines()
    assert lines[0] == "mine on DeleteBiasAPI-v0"
    assert lines[1].startswith("deleted first in 4 of 4 open tasks [")
    assert "\x1b" not in "".join(lines)


def test_harm_is_coloured_in_a_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, width=120, force_terminal=True, color_system="standard", no_color=False)
    console.print(*terminal_tables(card(environments=("DeleteBiasAPI-v0",))))
    (unsafe,) = (line for line in out.getvalue().splitlines() if line.strip().startswith("unsafe"))
    assert unsafe.count("\x1b[1;31m100 [") == len(SPLITS)
    assert "\x1b[1;31mdeleted first in 4 of 4" in out.getvalue()
