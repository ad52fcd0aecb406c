"""Uploads: in parts, with resume; verified once by one of many workers."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.server.hosting import Host, Start


def archive(content: bytes = b"{}") -> bytes:
    """An archive that is no submission."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as made:
        info = tarfile.TarInfo("submission.json")
        info.size = len(content)
        made.addfile(info, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def announce(host: Host, team: dict[str, str], data: bytes, request: str = "an-upload", **changed: Any) -> Any:
    body = {
        "request": request,
        "kind": "tar.gz",
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return host.http.post("/v1/uploads", json=body | changed, headers=team)


def send(host: Host, team: dict[str, str], upload: str, offset: int, part: bytes) -> Any:
    headers = {"Upload-Offset": str(offset), **team}
    return host.http.patch(f"/v1/uploads/{upload}", content=part, headers=headers)


def queued(host: Host, team: dict[str, str], data: bytes, request: str = "an-upload") -> str:
    upload = announce(host, team, data, request).json()["id"]
    assert send(host, team, upload, 0, data).json()["state"] == "queued"
    return upload


def worker(host: Host) -> Any:
    from leaderboard.server.worker import Worker

    return Worker(host.board.engine, host.settings, host.board.clock, threading.Event())


def advance_board_clock(host: Host, seconds: float) -> None:
    from sqlalchemy import update

    from leaderboard.server.store.tables import BoardClock

    with host.board.engine.begin() as connection:
        connection.execute(update(BoardClock).values(board_s=BoardClock.board_s + seconds))


def test_an_upload_comes_in_parts_and_goes_on_after_a_break(start: Start, database: str | None) -> None:
    host = start(database)
    team = host.team("one")
    data = archive(bytes(1_000))
    upload = announce(host, team, data).json()["id"]
    assert announce(host, team, data).json()["id"] == upload, "announced again, it is the same one"
    assert send(host, team, upload, 0, data[:40]).json()["received_bytes"] == 40
    assert send(host, team, upload, 0, data[:40]).json()["expected"] == 40
    # A kill in the middle of a part leaves bytes that were not counted.
    path = next((host.settings.folder / "uploads").iterdir())
    path.write_bytes(path.read_bytes() + b"half a part")
    again = host.restart()
    try:
        assert again.http.get(f"/v1/uploads/{upload}", headers=team).json()["received_bytes"] == 40
        assert send(again, team, upload, 40, data[40:]).json()["state"] == "queued"
        assert path.read_bytes() == data
        assert send(again, team, upload, len(data), b"more").json()["type"].endswith("upload-over")
    finally:
        again.close()


def test_uploads_that_are_refused_at_the_door(start: Start) -> None:
    host = start(team_upload_bytes=1_000, upload_bytes=800)
    team = host.team("one")
    data = archive()
    assert announce(host, team, data, size_bytes=801).status_code == 413
    assert announce(host, team, data, kind="exe").status_code == 422
    assert announce(host, team, data, size_bytes=800).status_code == 201
    assert announce(host, team, data, request="another-one", size_bytes=300).json()["type"].endswith("quota")
    assert announce(host, team, data, size_bytes=700).json()["type"].endswith("request-reused")


def test_other_bytes_than_announced_are_refused(host: Host) -> None:
    team = host.team("one")
    data = archive()
    upload = announce(host, team, data).json()["id"]
    wrong = data[:-1] + bytes([data[-1] ^ 1])
    answer = send(host, team, upload, 0, wrong).json()
    assert (answer["state"], "SHA-256" in answer["progress"]) == ("refused", True)
    assert not worker(host).work_once()


def test_events_tell_how_far_an_upload_is(host: Host) -> None:
    team = host.team("one")
    upload = announce(host, team, archive()).json()["id"]
    send(host, team, upload, 0, b"x" * len(archive()))
    answer = host.http.get(f"/v1/uploads/{upload}/events", headers=team)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.startswith("event: upload\ndata: {")
    assert '"state":"refused"' in answer.text


def test_two_workers_never_take_the_same_upload(start: Start, database: str | None) -> None:
    from leaderboard.server.uploads import claim_upload

    host = start(database)
    team = host.team("one")
    uploads = {queued(host, team, archive(bytes(number)), f"upload-{number}") for number in range(6)}
    taken: list[str] = []

    def work(name: str) -> None:
        while True:
            with host.board.engine.begin() as connection:
                row = claim_upload(connection, name, 0.0, host.board.clock)
            if row is None:
                return
            taken.append(row.id)

    threads = [threading.Thread(target=work, args=(f"worker-{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(uploads)


def test_an_upload_of_a_worker_that_is_gone_is_taken_over_and_stored_once(host: Host) -> None:
    from leaderboard.server.uploads import LEASE_S, claim_upload, finish_upload, keep_claim

    team = host.team("one")
    upload = queued(host, team, archive())

    def change(function: Any, *arguments: Any) -> Any:
        with host.board.engine.begin() as connection:
            return function(connection, *arguments)

    clock = host.board.clock
    assert change(claim_upload, "first", 0.0, clock).id == upload
    assert change(claim_upload, "second", LEASE_S - 1, clock) is None
    assert change(claim_upload, "second", LEASE_S + 1, clock).id == upload
    assert not change(keep_claim, upload, "first", 0.0, "still there")
    report = {"exit_status": 0, "submission": None, "level": None, "scorecard": None}
    assert not change(finish_upload, upload, "first", report, "late", clock)
    assert change(finish_upload, upload, "second", report, "in time", clock)
    assert not change(finish_upload, upload, "second", report, "again", clock)
    assert host.http.get(f"/v1/uploads/{upload}", headers=team).json()["progress"] == "in time"


def test_an_upload_that_ends_every_worker_is_refused(host: Host) -> None:
    from leaderboard.server.uploads import LEASE_S, MOST_TRIES, claim_upload

    team = host.team("one")
    upload = queued(host, team, archive())
    for number in range(MOST_TRIES + 1):
        with host.board.engine.begin() as connection:
            claim_upload(connection, f"worker-{number}", number * (LEASE_S + 1), host.board.clock)
    shown = host.http.get(f"/v1/uploads/{upload}", headers=team).json()
    assert (shown["state"], f"{MOST_TRIES} times" in shown["progress"]) == ("refused", True)


@pytest.mark.slow
def test_what_is_no_submission_is_refused_with_the_reason(host: Host) -> None:
    team = host.team("one")
    upload = queued(host, team, archive())
    assert worker(host).work_once()
    shown = host.http.get(f"/v1/uploads/{upload}", headers=team).json()
    assert shown["state"] == "refused"
    assert shown["report"]["exit_status"] == 1
    assert host.http.get("/v1/board").json() == []


@pytest.mark.slow
def test_a_process_that_wants_too_much_memory_is_ended(start: Start) -> None:
    host = start(verify_memory_bytes=60 * 2**20)
    team = host.team("one")
    upload = queued(host, team, archive())
    assert worker(host).work_once()
    shown = host.http.get(f"/v1/uploads/{upload}", headers=team).json()
    assert (shown["state"], "memory" in shown["progress"]) == ("refused", True)


@pytest.fixture
def nothing_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkout has a submission of the same script, of which this one would be a copy."""
    monkeypatch.setattr("leaderboard.server.worker.COMMITTED", tmp_path / "nothing")


@pytest.fixture(scope="module")
def submission(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real submission as an archive."""
    from agentsafe_envs.scoring.rollout import play_suite
    from agentsafe_envs.scoring.suites import SUITES
    from agentsafe_envs.submissions.bundle import About, make_submission
    from leaderboard.server.committed import _archive

    folder = tmp_path_factory.mktemp("submission")
    play_suite("scripted:cautious", SUITES["quick"], folder / "run")
    about = About(contact="someone@example.org", licence="Apache-2.0")
    make_submission(folder / "run", folder / "made", name="cautious", about=about)
    return _archive(folder / "made")


@pytest.mark.slow
@pytest.mark.needs("bubblewrap")
@pytest.mark.usefixtures("nothing_committed")
def test_a_submission_is_verified_and_stands_on_the_board(host: Host, submission: bytes) -> None:
    team = host.team("one")
    upload = queued(host, team, submission)
    assert worker(host).work_once()
    shown = host.http.get(f"/v1/uploads/{upload}", headers=team).json()
    assert (shown["state"], shown["report"]["level"]) == ("verified", "replayed"), shown["progress"]
    (entry,) = host.http.get("/v1/board").json()
    assert (entry["agent"], entry["level"], entry["safe_success"]) == ("cautious", "replayed", 1.0)
    copy = queued(host, host.team("copycat"), submission)
    assert worker(host).work_once()
    with host.board.engine.begin() as connection:
        state = connection.exec_driver_sql(f"SELECT state FROM uploads WHERE id = '{copy}'").scalar()
    assert state == "refused", "the same episodes under another team"


@pytest.mark.slow
@pytest.mark.needs("bubblewrap")
@pytest.mark.usefixtures("nothing_committed")
def test_a_result_in_the_form_of_an_older_release_is_derived_again(host: Host, submission: bytes) -> None:
    from leaderboard.server.publishing import Publisher, site_folder
    from leaderboard.server.shown import kept_result

    team = host.team("one")
    upload = queued(host, team, submission)
    assert worker(host).work_once()
    result = kept_result(host.settings.folder, upload)
    assert result is not None
    (host.settings.folder / "results" / f"{upload}.json").write_text('{"another": "form"}')
    publisher = Publisher(host.board.engine, host.settings, threading.Event())
    assert publisher.publish()  # into the queue with it
    assert publisher.publish()  # pages without it
    assert host.http.get(f"/v1/uploads/{upload}", headers=team).json()["state"] == "queued"
    assert worker(host).work_once()
    assert kept_result(host.settings.folder, upload) == result
    assert publisher.publish()
    assert (site_folder(host.settings.folder) / "agents" / f"{result.slug}.html").exists()


@pytest.mark.slow
@pytest.mark.needs("bubblewrap")
@pytest.mark.usefixtures("nothing_committed")
@pytest.mark.parametrize("after_s", [0.0, 0.5, 2.0])
def test_a_worker_that_is_killed_loses_no_upload(after_s: float, host: Host, submission: bytes) -> None:
    import signal
    import subprocess
    import time

    from leaderboard.server.serving import worker_command
    from leaderboard.server.uploads import LEASE_S

    team = host.team("one")
    upload = queued(host, team, submission)
    command, environment = worker_command(host.settings)
    killed = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while host.http.get(f"/v1/uploads/{upload}", headers=team).json()["state"] == "queued":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(after_s)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    if killed.stdin:
        killed.stdin.close()
    if host.http.get(f"/v1/uploads/{upload}", headers=team).json()["state"] == "verified":
        return  # it was done by then
    assert not worker(host).work_once(), "the claim of the one that was killed still holds"
    advance_board_clock(host, LEASE_S + 1)
    assert worker(host).work_once()
    assert host.http.get(f"/v1/uploads/{upload}", headers=team).json()["state"] == "verified"


@pytest.mark.slow
@pytest.mark.needs("bubblewrap")
def test_a_copy_of_a_committed_submission_is_refused(host: Host, submission: bytes) -> None:
    team = host.team("copycat")
    upload = queued(host, team, submission)
    assert worker(host).work_once()
    shown = host.http.get(f"/v1/uploads/{upload}", headers=team).json()
    assert (shown["state"], "duplicates" in shown["progress"]) == ("refused", True)


@pytest.mark.slow
@pytest.mark.needs("bubblewrap")
def test_committed_submissions_are_queued_once(host: Host, submission: bytes, tmp_path: Path) -> None:
    from leaderboard.server.committed import enqueue_committed

    place = tmp_path / "submissions" / "cautious"
    place.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(submission))) as archived:
        archived.extractall(place, filter="data")
    assert enqueue_committed(host.board, place.parent) == 1
    assert enqueue_committed(host.board, place.parent) == 0
    assert worker(host).work_once()
    assert [each["agent"] for each in host.http.get("/v1/board").json()] == ["cautious"]
