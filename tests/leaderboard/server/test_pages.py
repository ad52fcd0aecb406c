"""The pages that the server serves: what is on them, when, and that nothing else of the board's folder is read."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.leaderboard.server.hosting import SUBMIT, Host


def publish(host: Host) -> None:
    """Let a worker write the pages, as far as they are not."""
    writer = publisher(host)
    while writer.publish():
        pass


def publisher(host: Host) -> Any:
    from leaderboard.server.publishing import Publisher

    return Publisher(host.board.engine, host.settings, threading.Event())


def test_before_the_first_writing_the_front_says_so(host: Host) -> None:
    answer = host.http.get("/")
    assert (answer.status_code, "is being written" in answer.text) == (200, True)
    assert host.http.get("/methods.html").status_code == 404


def test_pages_come_with_their_own_policy_and_the_headers_of_every_answer(host: Host) -> None:
    publish(host)
    for path in ("/", "/index.html", "/methods.html", "/compare.html", "/upload", "/seasons"):
        answer = host.http.get(path)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "style-src 'sha256-" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert ("connect-src 'self'" in policy) == (path == "/upload")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers.get_list("content-security-policy") == [policy]
    assert host.http.get("/board.json").headers["content-type"] == "application/json"
    assert host.http.get("/board.csv").headers["content-type"] == "text/csv; charset=utf-8"
    for path in ("/", "/healthz", "/docs", "/upload", "/seasons"):
        answer = host.http.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path
    assert host.http.post("/").status_code == 405


def test_nothing_but_the_pages_is_read(host: Host) -> None:
    publish(host)
    secret = host.settings.folder / "secret.json"
    secret.write_text("{}")
    (host.settings.folder / "site" / "link.json").symlink_to(secret)
    (host.settings.folder / "site" / ".hidden.json").write_text("{}")
    for path in (
        "/%2e%2e/secret.json",
        "/..%2fsecret.json",
        "/agents/%2e%2e/%2e%2e/secret.json",
        "/%2fetc/passwd",
        f"/{secret}",
        "/link.json",
        "/.hidden.json",
        "/board.sqlite",
        "/agentsafe-board.txt",
        "/agents",
        "/a%00.json",
        f"/{'a' * 5_000}.json",
    ):
        answer = host.http.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["content-type"] == "application/problem+json"


def test_seasons_are_listed_with_their_promise_and_nothing_of_their_secret(host: Host) -> None:
    shown, (season,) = host.http.get("/seasons").text, host.http.get("/v1/seasons").json()
    assert f'title="{season["seed_sha256"]}"' in shown
    assert all(each in shown for each in season["environments"])
    (secret,) = (path.read_text() for path in host.settings.secrets.glob("*/seed"))
    assert secret.strip() not in shown


@pytest.mark.slow
def test_held_out_sessions_appear_when_their_season_has_closed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    team = host.team("one")
    session = host.session(team, name="a secret agent", settings={"weights": {"a": {"b": {"c": 1}}}})
    host.play_out(team, session, SUBMIT)
    for each in (team, host.team("two")):  # incomplete sessions have no numbers, and are counted
        host.begin(each, host.session(each))
    publish(host)
    written = "".join(path.read_text() for path in (host.settings.folder / "site").rglob("*.*"))
    assert "a secret agent" not in written
    assert session not in written
    assert not (host.settings.folder / "seasons").exists()
    host.close_season()
    publish(host)
    front = host.http.get("/").text
    assert "a secret agent" in front
    assert "level-held-out" in front
    (entry,) = host.http.get("/board.json").json()["agents"]
    (shown,) = host.http.get("/v1/seasons/s1/results").json()
    assert entry["level"] == "held-out"
    assert entry["suite"] == "held-out-s1"
    overall = shown["scorecard"]["overall"]["safe_success_rate"]
    assert entry["safe_success_rate"]["estimate"] == overall["estimate"]
    page = host.http.get(f"/agents/{entry['slug']}.html").text
    assert "verify-season" in page
    assert "Team one" in page, "another team may call its agent the same"
    revealed = host.http.get("/seasons/s1/season.json")
    assert json.loads(revealed.text)["sessions"][0]["id"] == session
    assert json.loads(revealed.text)["teams"] == [
        {"team": "one", "opened": 2, "complete": 1},
        {"team": "two", "opened": 1, "complete": 0},
    ]
    assert "Team one opened 2 sessions in season s1, of which 1 ran to the end." in page
    episodes = host.http.get(f"/seasons/s1/{session}.jsonl.gz")
    assert episodes.headers["content-type"] == "application/gzip"

    def never(*arguments: Any) -> None:
        raise AssertionError("it was played again")

    monkeypatch.setattr("leaderboard.server.publishing.confined", never)
    (host.settings.folder / "site" / "index.html").unlink()
    publish(host)
    assert host.http.get("/").text == front


def test_students_of_a_course_are_not_on_the_pages(host: Host) -> None:
    from leaderboard.server.admin import add_course

    host.team("prof", "teach")
    with host.board.engine.begin() as connection:
        tokens = add_course(connection, host.board.clock, "course", title="A course", teacher="prof", students=["ann"])
    ann = {"Authorization": f"Bearer {tokens['ann']}"}
    host.play_out(ann, host.session(ann, name="anns agent"))
    host.close_season()
    publish(host)
    assert "anns agent" not in host.http.get("/").text
    assert host.http.get("/v1/seasons/s1/results").json() == []
    assert host.http.get("/seasons/s1/season.json").json()["sessions"] == []
    assert host.http.get("/seasons/s1/season.json").json()["teams"] == []


def test_a_season_that_cannot_be_written_holds_up_no_other(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    from sqlalchemy import update

    from leaderboard.server.store.tables import Season

    host.close_season()
    with host.board.engine.begin() as connection:  # as a board of an earlier release may have it
        connection.execute(update(Season).values(name="spring 2027"))
    host.season("s2")
    host.close_season("s2")
    publish(host)
    assert host.http.get("/seasons/s2/season.json").json()["name"] == "s2"
    assert host.http.get("/").status_code == 200
    assert capsys.readouterr().err.count("season spring 2027 is not shown: ValidationError") == 1


def test_one_worker_writes_at_a_time_and_a_killed_one_leaves_nothing(host: Host) -> None:
    from leaderboard.server.publishing import _alone

    left = host.settings.folder / ".site-killed"
    left.mkdir()
    writer = publisher(host)
    with _alone(host.settings.folder / "site.lock") as alone:
        assert alone
        assert not writer.publish()
    assert left.exists()
    assert writer.publish()
    assert not left.exists()
    assert not writer.publish(), "there is nothing new"


def test_a_session_that_does_not_replay_is_not_shown(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> Any:
        yield {"refused": "numbers: another"}

    team = host.team("one")
    host.play_out(team, host.session(team, name="an odd agent"))
    host.close_season()
    monkeypatch.setattr("leaderboard.server.publishing.confined", refused)
    publish(host)
    assert "an odd agent" not in host.http.get("/").text


def test_the_disk_is_full_and_the_old_pages_stay(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(host)
    before = host.http.get("/").text

    def full(*arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("leaderboard.server.publishing.write_site", full)
    publish(host)
    assert host.http.get("/").text == before
