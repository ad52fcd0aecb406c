"""Anybody derives a closed season's numbers again; whatever was changed is found, with the reason."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.server.hosting import LOOK, SUBMIT, Host, SetClock

Edit = Callable[[Path, dict[str, Any]], None]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What everybody gets of a season on private templates, in which two sessions were played."""
    from agentsafe_envs.cloud import biases
    from leaderboard.server.settings import Settings

    folder = tmp_path_factory.mktemp("season")
    private = folder / "private"
    private.mkdir()
    text = (Path(biases.__path__[0]) / "delete.toml").read_text()
    (private / "delete.toml").write_text(re.sub(r'^  "', '  "zebra: ', text, flags=re.M))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTSAFE_TEMPLATES", "")  # the server sets it; so it is set back afterwards
        host = Host(Settings.of(folder / "board"), SetClock())  # type: ignore[arg-type]
        try:
            host.season(templates=private, episodes=1)
            team = host.team("one")
            for _ in range(2):
                session = host.session(team, spec="scripted:random")
                idle = host.begin(team, session).json()["id"]
                host.step(team, idle, 0, LOOK)
                while (begun := host.begin(team, session)).status_code == 201:
                    host.step(team, begun.json()["id"], 0, LOOK)
                    host.step(team, begun.json()["id"], 1, SUBMIT)
            host.begin(team, host.session(team))  # a third session, which is not complete
            host.close_season()
            yield reveal(host)
        finally:
            host.close()


def reveal(host: Host) -> Path:
    from sqlalchemy import select

    from leaderboard.server.revealing import write_season
    from leaderboard.server.shown import shown_sessions, team_sessions
    from leaderboard.server.store.tables import Season

    with host.board.engine.begin() as connection:
        season = connection.execute(select(Season)).one()
        shown = shown_sessions(connection), team_sessions(connection)
        return write_season(host.settings.folder, season, *shown)[-1].parent


def verify(place: str | Path, *options: str) -> tuple[int, str]:
    """Exit status and everything that was printed."""
    from typer.testing import CliRunner

    from leaderboard.cli import app

    done = CliRunner().invoke(app, ["verify-season", str(place), *options])
    return done.exit_code, done.output


def test_an_untouched_season_has_the_same_numbers(closed: Path) -> None:
    season = json.loads((closed / "season.json").read_text())
    status, told = verify(closed, "--seed-sha256", season["seed_sha256"])
    assert status == 0, told
    assert told.count("every number is the same") == 2
    assert season["teams"] == [{"team": "one", "opened": 3, "complete": 2}]
    assert "team one: 3 sessions opened, 2 complete" in told
    files = {path.name for path in closed.iterdir() if path.is_file()}
    assert files == {"season.json", *(f"{each['id']}.jsonl.gz" for each in season["sessions"])}
    lines = gzip.decompress((closed / f"{season['sessions'][0]['id']}.jsonl.gz").read_bytes()).splitlines()
    assert {"key", "episode"} == set(json.loads(lines[0])), "no verdict is part of what is verified"


def rows_of(folder: Path, season: dict[str, Any]) -> list[Any]:
    path = folder / f"{season['sessions'][0]['id']}.jsonl.gz"
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def put_rows(folder: Path, season: dict[str, Any], rows: list[Any]) -> None:
    """With the hash that fits: a forger would do no less."""
    data = gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    (folder / f"{season['sessions'][0]['id']}.jsonl.gz").write_bytes(data)
    season["sessions"][0]["episodes_sha256"] = hashlib.sha256(data).hexdigest()


def number(folder: Path, season: dict[str, Any]) -> None:
    season["sessions"][1]["scorecard"]["overall"]["unsafe_rate"]["estimate"] = 0.01


def scorecard_without_a_number(folder: Path, season: dict[str, Any]) -> None:
    del season["sessions"][0]["scorecard"]["overall"]["unsafe_rate"]


def action(folder: Path, season: dict[str, Any]) -> None:
    rows = rows_of(folder, season)
    rows[3]["episode"]["steps"][0]["action"] = SUBMIT
    put_rows(folder, season, rows)


def action_with_a_new_chain(folder: Path, season: dict[str, Any]) -> None:
    from agentsafe_envs.core.episode import Episode

    rows = rows_of(folder, season)
    episode = Episode.from_dict(rows[3]["episode"])
    other = episode.steps[0]._replace(action=LOOK.replace("volume", "database"))
    rows[3]["episode"] = episode._replace(steps=(other, *episode.steps[1:])).to_dict()
    put_rows(folder, season, rows)


def bytes_of_the_episodes(folder: Path, season: dict[str, Any]) -> None:
    before = season["sessions"][0]["episodes_sha256"]
    put_rows(folder, season, rows_of(folder, season)[:-1])
    season["sessions"][0]["episodes_sha256"] = before


def dropped_episode(folder: Path, season: dict[str, Any]) -> None:
    put_rows(folder, season, rows_of(folder, season)[:-1])


def episode_twice(folder: Path, season: dict[str, Any]) -> None:
    rows = rows_of(folder, season)
    put_rows(folder, season, [rows[0], *rows[:-1]])


def easier_task(folder: Path, season: dict[str, Any]) -> None:
    rows = rows_of(folder, season)
    rows[0]["key"]["seed"] += 1
    put_rows(folder, season, rows)


def session_of_other_tasks(folder: Path, season: dict[str, Any]) -> None:
    season["sessions"][0]["number"] = 2


def seed(folder: Path, season: dict[str, Any]) -> None:
    season["seed"] = "0" * 64


def seed_and_its_promise(folder: Path, season: dict[str, Any]) -> None:
    from leaderboard.server.seasons import templates_digest

    season["seed"] = "0" * 64
    season["seed_sha256"] = hashlib.sha256(bytes(32)).hexdigest()
    season["templates_sha256"] = templates_digest(bytes(32), season["templates"])


def template(folder: Path, season: dict[str, Any]) -> None:
    season["templates"]["delete.toml"] = season["templates"]["delete.toml"].replace("zebra", "horse", 1)


def template_elsewhere(folder: Path, season: dict[str, Any]) -> None:
    season["templates"]["../../delete.toml"] = ""


def session_left_out(folder: Path, season: dict[str, Any]) -> None:
    del season["sessions"][0]


def team_left_out(folder: Path, season: dict[str, Any]) -> None:
    season["teams"] = []


def fewer_sessions_opened(folder: Path, season: dict[str, Any]) -> None:
    season["teams"][0]["opened"] = 1


def field_too_many(folder: Path, season: dict[str, Any]) -> None:
    season["level"] = "re-run"


EDITS: dict[Edit, str] = {
    number: "numbers refused: scorecard.overall.unsafe_rate.estimate is",
    scorecard_without_a_number: "numbers refused",
    action: "chains refused",
    action_with_a_new_chain: "replay refused",
    bytes_of_the_episodes: "file refused",
    dropped_episode: "tasks refused",
    episode_twice: "tasks refused",
    easier_task: "tasks refused",
    session_of_other_tasks: "tasks refused",
    seed: "the SHA-256 of the seed is",
    seed_and_its_promise: "tasks refused",
    template: "the digest of the templates is",
    template_elsewhere: "season.json: templates",
    session_left_out: "completed 2; listed are those with the numbers [2]",
    team_left_out: "team one has a session, and no count",
    fewer_sessions_opened: "is said to have opened 1 sessions",
    field_too_many: "season.json: level",
}
"""Every change of a season, and what is said of it."""


@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_a_changed_season_is_refused_with_the_reason(closed: Path, tmp_path: Path, edit: Edit) -> None:
    folder = tmp_path / "season"
    shutil.copytree(closed, folder)
    season = json.loads((folder / "season.json").read_text())
    edit(folder, season)
    (folder / "season.json").write_text(json.dumps(season))
    status, told = verify(folder)
    assert (status, EDITS[edit] in told) == (1, True), told


def test_another_machine_finds_the_same_numbers(closed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "season"
    shutil.copytree(closed, folder)
    season = json.loads((folder / "season.json").read_text())
    for session in season["sessions"]:
        session["scorecard"]["provenance"] |= {"git_commit": "0" * 40, "python": "3.99.0"}
    (folder / "season.json").write_text(json.dumps(season))
    status, told = verify(folder)
    assert status == 0, told


def test_a_season_that_closed_before_sessions_were_counted_is_still_read(closed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "season"
    shutil.copytree(closed, folder)
    season = json.loads((folder / "season.json").read_text())
    del season["teams"]
    (folder / "season.json").write_text(json.dumps(season))
    status, told = verify(folder)
    assert status == 0, told


def test_a_promise_that_was_written_down_is_held_against_the_season(closed: Path) -> None:
    status, told = verify(closed, "--seed-sha256", "0" * 64)
    assert (status, "you were promised" in told) == (1, True), told
    status, told = verify(closed, "--templates-sha256", "0" * 64)
    assert (status, "you were promised" in told) == (1, True), told


def test_a_folder_without_a_season_is_refused(tmp_path: Path) -> None:
    status, told = verify(tmp_path)
    assert (status, "season.json" in told) == (1, True)


def test_a_season_is_verified_by_its_address(closed: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(closed))) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            assert verify(f"{address}/")[0] == 0
            status, told = verify(f"{address}/nowhere")
            assert (status, "404" in told) == (1, True), told
        finally:
            server.shutdown()
            serving.join()


def test_files_of_a_season_that_has_just_closed_are_waited_for(closed: Path, tmp_path: Path) -> None:
    (tmp_path / "v1" / "seasons").mkdir(parents=True)
    (tmp_path / "v1" / "seasons" / "s1").write_text('{"state": "closed"}')
    (tmp_path / "seasons").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever).start()
        written = threading.Timer(1.5, lambda: (tmp_path / "seasons" / "s1").symlink_to(closed))
        written.start()
        try:
            status, told = verify(f"http://127.0.0.1:{server.server_port}/seasons/s1")
            assert (status, told.count("every number is the same")) == (0, 2), told
        finally:
            written.join()
            server.shutdown()


def test_an_address_that_is_none_is_refused_in_words() -> None:
    status, told = verify("http://127.0.0.1:9/seasons/spring 2027")
    assert (status, "refused: URL can't contain control characters" in told) == (1, True), told
