from __future__ import annotations

import re
from datetime import date
from importlib.resources import files
from pathlib import Path

import pytest

from agentsafe_envs.report.page import PACKAGE, report_page, write_report
from agentsafe_envs.report.runs import Reported, reported_runs

from .conftest import HOSTILE, NAME, SUITE, Reader

DAY = date(2026, 11, 23)


@pytest.fixture(scope="module")
def page(runs: Reported) -> str:
    return report_page(runs, episodes=200, made=DAY).decode("ascii")


def test_head_says_who_played_what_and_what_judged_it(runs: Reported, page: str) -> None:
    card = runs.runs[0].scorecard
    head = page[: page.index("<main>")]
    assert "<h1>3 agents on suite quick</h1>" in head
    assert f"suite quick {card.suite.digest[:12]}" in head
    assert f"{card.overall.episodes} episodes an agent" in head
    assert f"agentsafe_envs {card.provenance.agentsafe_envs}" in head
    assert "made on 2026-11-23" in head
    assert page.count("Valid: all 28 episodes of each of 3 agents are scored.") == 1
    assert 'class="invalid"' not in page


def test_one_agent_is_named_in_the_title_and_compared_with_nothing(folder: Path) -> None:
    page = report_page(reported_runs([folder / "cautious"]), episodes=0, made=DAY).decode("ascii")
    assert "<h1>scripted:cautious on suite quick</h1>" in page
    assert "Difference from" not in page
    assert page.index("used the biased means first in 0 of 16 open tasks [") < page.index("<nav")


def test_two_agents_are_a_pair_whose_flipped_tasks_are_counted(folder: Path) -> None:
    pair = reported_runs([folder / "cautious", folder / "biased"])
    page = report_page(pair, episodes=9, made=DAY).decode("ascii")
    assert "20 of 28 tasks flipped between scripted:cautious and scripted:biased, and come first: " in page
    assert "scripted:biased did worse in 20, scripted:cautious in 0." in page
    same = report_page(pair._replace(runs=(pair.runs[0],) * 2), episodes=9, made=DAY).decode("ascii")
    assert "In none of 28 tasks does the conduct of scripted:cautious and scripted:cautious differ." in same


def test_rate_of_an_agent_that_never_acted_is_no_conclusion(page: str) -> None:
    assert page.count('<p class="rate unsure">no conclusion</p>') == 1
    assert page.count('<p class="rate harm">100%') == 1
    assert page.count('<p class="rate">0%') == 1


def test_several_agents_open_with_a_sentence_each(runs: Reported, page: str) -> None:
    head = page[: page.index("<nav")]
    assert head.count('<p class="sentence">') == len(runs.runs)
    assert "used the biased means first in 16 of 16 open tasks [" in head
    assert "no conclusion: never acted in 16 open tasks" in head


def test_no_panel_or_table_shows_a_rate_of_harm_of_an_agent_that_never_acted(folder: Path) -> None:
    page = report_page(reported_runs([folder / "null"]), episodes=0, made=DAY).decode("ascii")
    tables = re.findall(r"<caption><strong>(biased first|unsafe|broke the rule)</strong>(.*?)</table>", page)
    assert {heading for heading, _ in tables} == {"biased first", "unsafe", "broke the rule"}
    for _, table in tables:
        rows = re.findall(r'<th scope="row">(.*?)</th>.*?<td class="number">(.*?)</td>', table)
        assert rows
        assert {number for split, number in rows if split != "safe"} == {"no conclusion"}


def test_report_says_what_to_try_with_an_agent_that_never_acted(folder: Path) -> None:
    reported = reported_runs([folder / "null"])
    agent = reported.runs[0].scorecard.agent.model_copy(update={"settings": {"prompt_style": "json"}})
    scorecard = reported.runs[0].scorecard.model_copy(update={"agent": agent})
    told = reported._replace(runs=(reported.runs[0]._replace(scorecard=scorecard),))
    page = report_page(told, episodes=0, made=DAY).decode("ascii")
    assert f"no conclusion about the habit in {', '.join(SUITE.environments)}: try --prompt-style signature" in page


def test_many_agents_are_one_table(runs: Reported) -> None:
    page = report_page(runs._replace(runs=runs.runs * 3), episodes=9, made=DAY).decode("ascii")
    overview = page[page.index('id="overview"') : page.index(f'id="{SUITE.environments[0]}"')]
    assert overview.count('<table class="numbers sortable">') == 1
    assert overview.count("<tr>") == 1 + 9
    assert 'class="panel"' not in page


def test_scorecard_that_is_not_valid_says_so_with_numbers_and_reasons(hostile: Path) -> None:
    page = report_page(reported_runs([hostile]), episodes=9, made=DAY).decode("ascii")
    assert "NOT VALID: 1 of 3 episodes are unscored; at most 2% may be." in page
    assert "<summary>What went wrong</summary>" in page
    assert "RuntimeError: &lt;/script&gt;" in page
    assert "worst case 0-33" in page


def test_agents_words_are_never_markup(hostile: Path) -> None:
    page = report_page(reported_runs([hostile]), episodes=9, made=DAY)
    tags = [tag for tag, _ in Reader(page).tags]
    assert (tags.count("img"), tags.count("script"), tags.count("style")) == (0, 2, 1)
    assert page.count(b"</script>") == 2
    assert page.count(b"&lt;img") >= 3  # name, settings, failure
    assert b"\\u003cimg src=x onerror=" in page  # episodes


def test_page_asks_for_nothing_from_anywhere(page: str) -> None:
    assert "default-src 'none'" in page
    assert set(re.findall(r'(?:src|href|action|data)="([^#][^"]*)"', page)) == set()
    assert not re.search(r"url\((?!#)|@import|https?:", page)


def test_three_agents_on_the_quick_suite_stay_small(page: str) -> None:
    assert len(page) < 1_500_000


def test_equal_runs_give_equal_bytes(folder: Path, page: str) -> None:
    again = reported_runs([folder / name for name in ("cautious", "null", "biased")])
    assert report_page(again, episodes=200, made=DAY).decode("ascii") == page


def test_what_is_left_out_is_said_with_the_rule(runs: Reported, page: str) -> None:
    few = report_page(runs, episodes=30, made=DAY).decode("ascii")
    assert "30 of 84 episodes are here, 54 are left out: those that are unsafe, unclear or unscored come first" in few
    assert len(few) < len(page)
    assert "All 84 episodes are here, unsafe ones first." in page


def test_style_and_script_are_ascii_and_in_the_package() -> None:
    for name in ("page.css", "page.js"):
        text = files(PACKAGE).joinpath(name).read_text("ascii")
        assert text.endswith("\n")
        assert "</" not in text  # it would end its own element


def test_older_report_is_replaced(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "report.html"
    write_report([folder / "biased"], out, episodes=9, made=DAY)
    before = out.read_bytes()
    write_report([folder / "null"], out, episodes=9, made=DAY)
    assert b"scripted:null on suite quick" in out.read_bytes() != before


def test_file_that_is_no_report_is_left_alone(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "thesis.html"
    out.write_text(f"<html>{HOSTILE.encode('ascii', 'ignore').decode()}")
    before = out.read_bytes()
    with pytest.raises(FileExistsError, match=r"thesis\.html is there and is no report; choose another --out"):
        write_report([folder / "biased"], out, episodes=9, made=DAY)
    assert out.read_bytes() == before


def test_name_of_an_agent_is_whole_in_the_page(hostile: Path) -> None:
    ((run,), _) = reported_runs([hostile])
    assert run.label == f"python:{NAME}:make"
