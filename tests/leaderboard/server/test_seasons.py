"""Seasons: what is promised when one opens holds when it closes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.cloud import biases
from tests.leaderboard.server.hosting import LOOK, SUBMIT, Host, Start, position_of, tasks_of

MARK = "zebra"
"""A word of the private templates that stands in no public one."""


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of private templates for DeleteBiasAPI-v0."""
    monkeypatch.setenv("AGENTSAFE_TEMPLATES", "")  # the server sets it; so it is set back afterwards
    folder = tmp_path / "private"
    folder.mkdir()
    text = (Path(biases.__path__[0]) / "delete.toml").read_text()
    (folder / "delete.toml").write_text(re.sub(r'^  "', f'  "{MARK}: ', text, flags=re.M))
    return folder


def play_mixed(host: Host, team: dict[str, str], session: str) -> None:
    """Some episodes are submitted at once, some after a look, and one is left idle to the end."""
    idle = host.begin(team, session).json()["id"]
    host.step(team, idle, 0, LOOK)
    while (begun := host.begin(team, session)).status_code == 201:
        episode = begun.json()["id"]
        host.step(team, episode, 0, LOOK)
        host.step(team, episode, 1, SUBMIT)


def test_private_templates_are_played_and_revealed_at_the_end(start: Start, private: Path) -> None:
    from leaderboard.server.seasons import templates_digest

    host = start()
    secret = host.season(templates=private)
    opened = host.http.get("/v1/seasons/s1").json()
    assert opened["seed_sha256"] == hashlib.sha256(secret.seed).hexdigest()
    assert host.http.get("/v1/seasons/s1/secret").status_code == 404
    team = host.team("one")
    session = host.session(team)
    (private / "delete.toml").write_text("changed after the season opened")
    # Questions of the safe split are shared by all biases and not among these wordings; the order is random.
    begun = [host.begin(team, session).json()["instruction"] for _ in range(6)]
    assert any(MARK in instruction for instruction in begun)
    play_mixed(host, team, session)
    host.close_season()
    revealed = host.http.get("/v1/seasons/s1/secret").json()
    seed = bytes.fromhex(revealed["seed"])
    assert hashlib.sha256(seed).hexdigest() == opened["seed_sha256"]
    assert templates_digest(seed, revealed["templates"]) == opened["templates_sha256"]


def test_numbers_of_a_closed_season_can_be_derived_by_anybody(start: Start, database: str | None) -> None:
    from agentsafe_envs.runs.rows import read_run
    from agentsafe_envs.scoring.rollout import rescore
    from agentsafe_envs.scoring.suites import Suite

    host = start(database)
    host.season()
    team = host.team("one")
    session = host.session(team, spec="scripted:random", settings={"policy": "random"})
    play_mixed(host, team, session)
    assert host.http.get(f"/v1/sessions/{session}", headers=team).json()["scorecard"] is None
    assert host.close_season() == 1
    run = host.settings.folder / "seasons" / "s1" / session
    record = read_run(run)
    derived = rescore(run, Suite.from_record(record), record.agent)
    shown = host.http.get(f"/v1/sessions/{session}", headers=team).json()
    assert shown["scorecard"] == derived.model_dump(mode="json")
    assert derived.overall.unscored == 0
    assert host.http.get("/v1/seasons/s1/results").json()[0]["scorecard"] == shown["scorecard"]
    board = host.http.get("/v1/board").json()
    assert [(each["agent"], each["level"]) for each in board] == [("an agent", "held-out")]


def test_an_episode_of_the_held_out_track_is_judged_as_one_that_was_played_here(host: Host) -> None:
    from agentsafe_envs.agents.scripted import script
    from agentsafe_envs.registration import draw_task

    team = host.team("one")
    session = host.session(team)
    tasks = tasks_of(host, session)
    while (begun := host.begin(team, session)).status_code == 201:
        episode = begun.json()["id"]
        key = tasks.key(*position_of(host, episode))
        for number, action in enumerate(script(draw_task(key.environment, key.split, key.seed), "cautious")):
            host.step(team, episode, number, action)
    host.close_season()
    overall = host.http.get(f"/v1/sessions/{session}", headers=team).json()["scorecard"]["overall"]
    assert overall["safe_success_rate"]["estimate"] == 1.0
    assert overall["unsafe_rate"]["estimate"] == 0.0


@pytest.mark.slow
def test_a_held_out_session_is_verified_like_a_submission_once_its_season_has_closed(
    start: Start, private: Path, tmp_path: Path
) -> None:
    from agentsafe_envs.runs.rows import read_rows, read_run
    from agentsafe_envs.scoring.suites import Suite
    from agentsafe_envs.submissions.bundle import About, make_submission
    from agentsafe_envs.submissions.checking import Surroundings
    from agentsafe_envs.submissions.verification import verify_submission

    host = start()
    host.season(templates=private)
    team = host.team("one")
    session = host.session(team, name="random", spec="scripted:random", settings={"policy": "random"})
    host.play_out(team, session)
    host.close_season()
    run = host.settings.folder / "seasons" / "s1" / session
    suite = Suite.planned(read_run(run))
    suites = {suite.name: suite}
    about = About(contact="someone@example.org", licence="Apache-2.0")
    made = make_submission(run, tmp_path / "made", name="random", about=about, suites=suites)
    assert made.suite.name == "held-out-s1"
    played_here = {row["episode"]["steps"][-1]["sha256"] for row in read_rows(run)}
    found = verify_submission(tmp_path / "made", Surroundings(suites=suites, played_here=played_here))
    assert [each for each in found.checks if each.status == "refused"] == []
    assert found.level == "held-out"
    assert found.scorecard is not None
    shown = host.http.get(f"/v1/sessions/{session}", headers=team).json()["scorecard"]
    assert found.scorecard.model_dump(mode="json")["overall"] == shown["overall"]
    elsewhere = verify_submission(tmp_path / "made", Surroundings(suites=suites))
    assert elsewhere.level == "replayed", "only the server knows what was played there"


def test_teams_get_equal_tasks_in_other_orders(host: Host) -> None:
    sessions = [host.session(host.team(name)) for name in ("one", "two")]
    first, second = (tasks_of(host, session) for session in sessions)
    assert first.suite == second.suite
    orders = [[tasks.key(position) for position in range(len(tasks))] for tasks in (first, second)]
    assert sorted(orders[0]) == sorted(orders[1])
    assert orders[0] != orders[1]


def test_after_the_end_nothing_is_played_and_incomplete_sessions_have_no_numbers(host: Host) -> None:
    team = host.team("one")
    session = host.session(team)
    episode = host.begin(team, session).json()["id"]
    host.step(team, episode, 0)
    assert host.close_season() == 0
    assert host.step(team, episode, 1).status_code == 409
    assert host.begin(team, session).json()["type"].endswith("season-over")
    shown = host.http.get(f"/v1/sessions/{session}", headers=team).json()
    assert shown["scorecard"] is None
    assert shown["episodes"] == {"truncated": 1, "unplayed": 13}
    with pytest.raises(ValueError, match="season s1 is closed"):
        host.close_season()


def test_closing_goes_on_where_it_was_stopped(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from leaderboard.server import closing

    team = host.team("one")
    for _ in range(2):
        host.play_out(team, host.session(team))
    judged: list[Any] = []
    original = closing.judge_session

    def once(*arguments: Any) -> Any:
        if judged:
            raise KeyboardInterrupt
        judged.append(arguments)
        return original(*arguments)

    monkeypatch.setattr(closing, "judge_session", once)
    with pytest.raises(KeyboardInterrupt):
        host.close_season()
    assert host.http.get("/v1/seasons/s1/secret").status_code == 404, "nothing is revealed before all is judged"
    monkeypatch.setattr(closing, "judge_session", original)
    assert host.close_season() == 2


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("s1", {}, "there has been a season s1"),
        ("s2", {}, "season s1 is open"),
        ("spring 2027", {}, "part of addresses"),
        ("a.b", {}, "part of addresses"),
        ("../evil", {}, "part of addresses"),
        ("frühling", {}, "part of addresses"),
        ("s" * 41, {}, "part of addresses"),
    ],
)
def test_seasons_that_cannot_be_opened(host: Host, name: str, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        host.season(name, **options)


def test_a_template_that_cannot_be_filled_shows_before_anybody_plays(start: Start, private: Path) -> None:
    host = start()
    text = (private / "delete.toml").read_text()
    (private / "delete.toml").write_text(text.replace("{project}", "{nothing}", 1))
    with pytest.raises(ValueError, match="nothing"):
        host.season(templates=private)
    assert host.http.get("/v1/seasons").json() == []
    (private / "delete.toml").write_text(text)
    host.season(templates=private)
    assert [each["name"] for each in host.http.get("/v1/seasons").json()] == ["s1"], "the name was not used up"
