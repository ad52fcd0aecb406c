"""From submissions to pages: what is shown, what is refused, and that nothing that was submitted becomes markup."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from agentsafe_envs.scoring.rollout import play_suite
from agentsafe_envs.submissions.bundle import About, make_submission
from leaderboard.cli import app
from leaderboard.site import collecting
from leaderboard.site.build import MARK, build_site, write_site
from leaderboard.site.collecting import Collected, added_on, collect, slug_of
from leaderboard.site.results import Result

from .conftest import BASE, HOSTILE, MADE, SMALL, STUDENT, HalfPairs, Intruder, Page, Written, distilled, generated

pytestmark = pytest.mark.needs("submit", "site")


@pytest.fixture(scope="module")
def keep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keep")


@pytest.fixture(scope="module")
def collected(submissions: Path, keep: Path) -> Collected:
    return collect(submissions, keep=keep, suites=SMALL, dates={STUDENT: "2026-11-27"})


@pytest.fixture(scope="module")
def site(collected: Collected, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "board"
    results = [distilled(each) if each.slug == STUDENT else each for each in collected.results]
    write_site(results, out, made=MADE)
    return out


def by_slug(found: Collected) -> dict[str, Result]:
    return {each.slug: each for each in found.results}


def test_every_number_is_derived_from_the_episodes(collected: Collected) -> None:
    found = by_slug(collected)
    assert collected.refused == []
    assert {slug: each.level for slug, each in found.items()} == dict.fromkeys((BASE, "cautious", STUDENT), "replayed")
    assert found["cautious"].scorecard.overall.safe_success_rate.estimate == 1.0
    assert found[STUDENT].scorecard.overall.unsafe_rate.estimate == pytest.approx(10 / 14, abs=1e-6)
    assert found[STUDENT].done.estimate == 1.0
    assert [each.unsafe for each in found[STUDENT].shown] == [True] * 10 + [False] * 4
    assert found[STUDENT].date == "2026-11-27"
    assert found["cautious"].date is None


def test_second_build_replays_nothing_and_finds_the_same(
    submissions: Path, keep: Path, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("it was verified again")

    monkeypatch.setattr(collecting, "verify_submission", fail)
    known: list[bool] = []
    again = collect(
        submissions,
        keep=keep,
        suites=SMALL,
        dates={STUDENT: "2026-11-27"},
        on_submission=lambda _, each: known.append(each),
    )
    assert again == collected
    assert known == [True] * 3


@pytest.mark.parametrize("how", ["edited", "another machine's", "of another submission", "torn"])
def test_kept_result_that_this_machine_did_not_write_is_worth_nothing(
    submissions: Path, keep: Path, collected: Collected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    assert collected.results, "what is kept of others"
    one = tmp_path / "one"
    shutil.copytree(submissions / "cautious", one / "cautious")
    mine = tmp_path / "keep"
    collect(one, keep=mine, suites=SMALL, dates={})
    (entry,) = mine.iterdir()
    data = entry.read_bytes()
    if how == "edited":
        entry.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif how == "torn":
        entry.write_bytes(data[:40])
    elif how == "of another submission":
        entry.write_bytes(next(each for each in sorted(keep.iterdir()) if each.name != entry.name).read_bytes())
    else:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    known: list[bool] = []
    found = collect(one, keep=mine, suites=SMALL, dates={}, on_submission=lambda _, each: known.append(each))
    assert known == [False]
    assert found.results[0].scorecard.overall.safe_success_rate.estimate == 1.0


def test_copies_and_forgeries_are_refused_and_named(submissions: Path, keep: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(submissions, tmp_path / "all"))
    shutil.copytree(folder / "cautious", folder / "copy")
    forged = folder / BASE / "submission.json"
    forged.write_text(forged.read_text().replace('"kind"', '"level": "re-run", "kind"', 1))
    found = collect(folder, keep=keep, suites=SMALL, dates={})
    assert list(by_slug(found)) == [STUDENT]
    reasons = {each.name: each.reason for each in found.refused}
    assert reasons.keys() == {BASE, "cautious", "copy"}
    assert reasons[BASE].startswith("schema: ")
    assert reasons["copy"].startswith("names: ")


def test_board_has_a_page_for_everything_and_every_link_leads_somewhere(site: Path) -> None:
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    assert pages == [
        *(f"agents/{name}.html" for name in (BASE, "cautious", STUDENT)),
        "compare.html",
        "downloads.html",
        "environments/DeleteBiasAPI-v0.html",
        "environments/GrantBiasAPI-v0.html",
        "index.html",
        "methods.html",
    ]
    for page in pages:
        read = Page(site / page)
        names = {attributes.get("id") for _, attributes in read.tags}
        for address in read.addresses():
            parts = urlsplit(address)
            assert parts.scheme == parts.netloc == "", f"{page} leads outside: {address}"
            target = (site / page).parent / parts.path if parts.path else site / page
            assert target.is_file(), f"{page}: {address}"
            if parts.fragment and not parts.path:
                assert parts.fragment in names


def test_pages_allow_nothing_but_their_own_style_and_script(site: Path) -> None:
    for path in site.rglob("*.html"):
        page = path.read_text("ascii")
        (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
        assert policy.startswith("default-src 'none'; style-src 'sha256-".replace("'", "&#39;"))
        assert "unsafe" not in policy
        assert not re.search(r"<(link|img|iframe|object|embed|base)\b|\sstyle=|\son[a-z]+=", page)


def test_student_stands_next_to_its_base(site: Path) -> None:
    page = Page(site / "agents" / f"{STUDENT}.html")
    assert "Next to it stands base, which its submitter names as its base." in " ".join(page.text.split())
    assert f"../compare.html#{STUDENT},{BASE}" in page.addresses()
    assert "Distilled" not in Page(site / "agents" / f"{BASE}.html").text


def test_harmful_episode_can_be_read_step_by_step(site: Path, collected: Collected) -> None:
    text = Page(site / "agents" / f"{STUDENT}.html").text
    episode = by_slug(collected)[STUDENT].shown[0]
    assert episode.instruction in text
    for step in episode.steps:
        assert step.action in text
        assert step.result in text
    assert any(step.harms for step in episode.steps)
    assert all(line in text for step in episode.steps for line in step.harms)
    assert all(action in text for action in episode.cautious)


def test_agents_page_says_how_to_derive_it(site: Path) -> None:
    text = Page(site / "agents" / "cautious.html").text
    assert "agentsafe verify leaderboard/submissions/cautious" in text
    assert "agentsafe score scripted:cautious --suite small --out run" in text


def test_environment_page_has_the_hardest_templates_first(site: Path, collected: Collected) -> None:
    page = (site / "environments" / "DeleteBiasAPI-v0.html").read_text()
    rows = re.findall(r'<tr><th scope="row">([^<]+)</th><td>(\d+)</td><td>(\d+)</td>', page)
    shares = [int(done) / int(episodes) for _, episodes, done in rows]
    assert shares == sorted(shares)
    lines = [line for each in collected.results for line in each.episodes if line.environment == "DeleteBiasAPI-v0"]
    for template, episodes, done in rows:
        mine = [line for line in lines if line.template == template]
        assert (len(mine), sum(line.safe_success for line in mine)) == (int(episodes), int(done))


def test_hostile_text_stays_text(tmp_path: Path, written: Written) -> None:
    play_suite(Intruder(), SMALL["small"], tmp_path / "run")
    about = About(contact="me@example.org", licence="MIT", model="intruder")
    make_submission(tmp_path / "run", tmp_path / "all" / "intruder", name="intruder", about=about, suites=SMALL)
    found = collect(tmp_path / "all", suites=SMALL, dates={})
    out = written(found.results)
    page = Page(out / "agents" / "intruder.html")
    assert HOSTILE in page.text
    assert "img" not in {tag for tag, _ in page.tags}
    assert [tag for tag, _ in page.tags].count("script") == 1


def test_agent_that_never_acted_has_no_rate_of_harm_on_any_page(silent: Result, written: Written) -> None:
    out = written([silent])
    front, agent, environment = (
        Page(out / name) for name in ("index.html", "agents/silent.html", "environments/DeleteBiasAPI-v0.html")
    )
    (row,) = (attributes for tag, attributes in front.tags if tag == "tr" and "data-slug" in attributes)
    assert [row[f"data-{name}"] for name in ("biased", "unsafe", "override")] == ["None"] * 3
    assert front.text.count("no conclusion") >= 2
    assert "Without a mark, since they never acted: silent." in " ".join(front.text.split())
    marks = [attributes["href"] for tag, attributes in front.tags if tag == "a" and attributes.get("tabindex") == "-1"]
    assert marks == []
    assert agent.text.count("no conclusion") >= 3 + 2 * 3
    assert "try --prompt-style json" in agent.text
    assert environment.text.count("no conclusion") == 3
    (exported,) = json.loads((out / "board.json").read_text())["agents"]
    assert {exported[name]["estimate"] for name in ("biased_first_rate", "unsafe_rate", "override_rate")} == {None}


def test_advice_keeps_the_letters_of_environments(silent: Result, written: Written) -> None:
    page = (written([silent]) / "agents" / "silent.html").read_text()
    advice = re.search(r'id="advice">([^<]*)<', page)
    assert advice
    assert advice[1].startswith("No conclusion about the habit in DeleteBiasAPI-v0, GrantBiasAPI-v0: ")


def test_half_a_surrogate_pair_in_an_action_is_shown_as_an_escape(tmp_path: Path, written: Written) -> None:
    play_suite(HalfPairs(), SMALL["small"], tmp_path / "run")
    about = About(contact="me@example.org", licence="MIT", model="half-pairs")
    make_submission(tmp_path / "run", tmp_path / "all" / "half", name="half", about=about, suites=SMALL)
    found = collect(tmp_path / "all", keep=tmp_path / "keep", suites=SMALL, dates={})
    assert r"half a pair: \ud800" in Page(written(found.results) / "agents" / "half.html").text


def test_names_become_plain_page_names() -> None:
    assert slug_of(Path("my-agent.tar.gz")) == "my-agent"
    assert slug_of(Path("../Ünder <b>.zip")) == "nder-b"
    assert slug_of(Path("...")) == "unnamed"


def test_day_is_that_on_which_git_first_saw_a_submission() -> None:
    folder = Path(__file__).parents[3] / "leaderboard" / "submissions"
    assert re.fullmatch(r"20\d\d-\d\d-\d\d", added_on(folder)["scripted-biased"])


def test_day_is_unknown_outside_a_repository(tmp_path: Path) -> None:
    assert added_on(tmp_path) == {}


def test_older_board_is_replaced_and_nothing_else_ever_is(tmp_path: Path) -> None:
    results = generated(2)
    write_site(results, tmp_path / "board", made=MADE)
    (tmp_path / "board" / "agents" / "old.html").touch()
    write_site(results[:1], tmp_path / "board", made=MADE)
    assert [each.name for each in (tmp_path / "board" / "agents").iterdir()] == ["agent-000.html"]
    assert [each.name for each in tmp_path.iterdir()] == ["board"]
    (tmp_path / "board" / MARK).unlink()
    with pytest.raises(FileExistsError, match="is there and is no board"):
        write_site(results, tmp_path / "board", made=MADE)


def test_two_results_with_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="two submissions are called 'agent-000'"):
        write_site(generated(1) * 2, tmp_path / "board", made=MADE)


def test_reported_submission_has_no_rank(written: Written) -> None:
    one, other = generated(2)
    out = written([one, other.model_copy(update={"level": "reported"})])
    found = json.loads((out / "board.json").read_text())["agents"]
    assert [(each["level"] == "reported", each["rank_low"]) for each in found] == [(False, 1), (True, None)]
    assert "Not ranked." in Page(out / "agents" / "agent-001.html").text


def test_empty_folder_makes_an_empty_board(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    found = build_site(tmp_path / "none", tmp_path / "board")
    assert found == Collected([], [])
    assert "No submission yet." in Page(tmp_path / "board" / "index.html").text


def test_further_results_are_shown_too(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    build_site(tmp_path / "none", tmp_path / "board", extra_results=generated(1))
    assert "agent 000" in Page(tmp_path / "board" / "index.html").text


def test_command_names_what_was_refused(tmp_path: Path) -> None:
    broken = tmp_path / "all" / "broken"
    broken.mkdir(parents=True)
    (broken / "submission.json").write_text("{}")
    command = ["build", "--submissions", str(tmp_path / "all"), "--out", str(tmp_path / "board")]
    done = CliRunner().invoke(app, [*command, "--keep", str(tmp_path / "keep")])
    assert done.exit_code == 1
    assert "refused broken: files: " in done.output
    assert "shows 0 agents" in done.output


def test_csv_says_the_same_as_json(written: Written) -> None:
    out = written(generated(3))
    agents = json.loads((out / "board.json").read_text())["agents"]
    rows = list(csv.DictReader((out / "board.csv").read_text().splitlines()))
    assert [row["agent"] for row in rows] == [each["agent"] for each in agents]
    for row, agent in zip(rows, agents, strict=True):
        assert float(row["unsafe_rate_low"]) == agent["unsafe_rate"]["low"]
        assert row["rank_low"] == str(agent["rank_low"])
