"""A full disk: what is not stored is not acknowledged, and the board goes on once there is space."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import event

from tests.leaderboard.server.hosting import Host, Start


def test_a_step_that_cannot_be_stored_is_not_acknowledged_and_not_taken(host: Host) -> None:
    team = host.team("one")
    episode = host.begin(team, host.session(team)).json()["id"]
    assert host.step(team, episode, 0, "first").status_code == 200
    with host.board.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    most = pages

    def fill(connection: Any, *_: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={most}")

    event.listen(host.board.engine, "checkout", fill)
    acknowledged = 1
    for number in range(1, 6):
        answer = host.step(team, episode, number, str(number) * 50_000)
        if answer.status_code != 200:
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:agentsafe:problem:storage")
            assert int(answer.headers["retry-after"]) > 0
            break
        acknowledged += 1
    else:
        raise AssertionError("the disk never became full")
    assert host.http.get("/healthz").status_code == 200
    assert len(host.http.get(f"/v1/episodes/{episode}", headers=team).json()["steps"]) == acknowledged
    most = 2**30
    assert host.step(team, episode, acknowledged, str(acknowledged) * 50_000).status_code == 200
    steps = host.http.get(f"/v1/episodes/{episode}", headers=team).json()["steps"]
    assert [len(step["action"]) for step in steps[1:]] == [50_000] * acknowledged


def test_uploads_leave_space_free(start: Start) -> None:
    host = start(free_disk_bytes=2**60)
    body = {"request": "an-upload", "kind": "zip", "size_bytes": 10, "sha256": hashlib.sha256(b"").hexdigest()}
    answer = host.http.post("/v1/uploads", json=body, headers=host.team("one"))
    assert (answer.status_code, answer.json()["type"]) == (507, "urn:agentsafe:problem:disk")


def test_a_part_that_cannot_be_written_does_not_count(host: Host, monkeypatch: Any) -> None:
    import errno

    team = host.team("one")
    sha256 = hashlib.sha256(b"abcd").hexdigest()
    body = {"request": "an-upload", "kind": "zip", "size_bytes": 4, "sha256": sha256}
    upload = host.http.post("/v1/uploads", json=body, headers=team).json()["id"]

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("leaderboard.server.uploads.os.fsync", full)
    part = {"Upload-Offset": "0", **team}
    assert host.http.patch(f"/v1/uploads/{upload}", content=b"ab", headers=part).status_code == 503
    monkeypatch.undo()
    assert host.http.get(f"/v1/uploads/{upload}", headers=team).json()["received_bytes"] == 0
    assert host.http.patch(f"/v1/uploads/{upload}", content=b"abcd", headers=part).json()["state"] == "queued"
