"""Limits on bodies, rates and addresses; errors as RFC 9457 says; security headers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.leaderboard.server.hosting import Host, SetClock, Start


def test_errors_are_problem_documents_with_security_headers(host: Host) -> None:
    team = host.team("one")
    answers = {
        404: host.http.get("/nowhere"),
        405: host.http.put("/v1/sessions"),
        401: host.http.get("/v1/sessions"),
        422: host.http.post("/v1/sessions", json={"request": "x"}, headers=team),
        413: host.http.post("/v1/sessions", content=b" " * 300_000, headers=team),
    }
    for status, answer in answers.items():
        problem = answer.json()
        assert (answer.status_code, problem["status"]) == (status, status), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem.keys() >= {"type", "title", "detail"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
    assert answers[401].headers["www-authenticate"] == "Bearer"


def test_what_was_sent_is_not_repeated(host: Host) -> None:
    team = host.team("one")
    for path in ("/v1/sessions", "/v1/episodes/abc/step"):
        answer = host.http.post(
            path, json={"request": "hunter2", "agent": "hunter2", "number": "hunter2"}, headers=team
        )
        assert answer.status_code == 422
        assert "hunter2" not in answer.text


def test_a_defect_is_told_without_its_text(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    team = host.team("one")
    episode = host.begin(team, host.session(team)).json()["id"]

    def fail(*arguments: Any) -> None:
        raise RuntimeError("split ambiguous")

    monkeypatch.setattr("leaderboard.server.live.LiveEpisode.act", fail)
    answer = host.step(team, episode, 0)
    assert answer.status_code == 500
    assert "ambiguous" not in answer.text
    monkeypatch.undo()
    assert host.step(team, episode, 0).status_code == 200, "the episode goes on as it was stored"


def test_a_token_that_sends_too_much_is_slowed_down(start: Start, clock: SetClock) -> None:
    host = start(requests_per_s=1.0, requests_burst=5)
    one, other = host.team("one"), host.team("other")
    statuses = [host.http.get("/v1/me", headers=one).status_code for _ in range(8)]
    assert statuses[:5] == [200] * 5
    assert statuses[-1] == 429
    assert host.http.get("/v1/me", headers=other).status_code == 200
    clock.passed_s += 3
    assert host.http.get("/v1/me", headers=one).status_code == 200


def test_an_address_that_guesses_tokens_is_slowed_down(start: Start) -> None:
    host = start(refused_tokens_burst=3, refused_tokens_per_s=0.01)
    statuses = [
        host.http.get("/v1/me", headers={"Authorization": f"Bearer guess{number}"}).status_code for number in range(6)
    ]
    assert statuses == [401, 401, 401, 429, 429, 429]
    assert host.http.get("/v1/me", headers=host.team("one")).status_code == 200


def asgi(host: Host, parts: list[bytes], *, declared: int | None = None, wait_s: float = 0.0) -> tuple[int, Any]:
    """Send a step's body in parts, past the client's own checks."""
    team = host.team("one")
    headers = [(name.lower().encode(), value.encode()) for name, value in team.items()]
    if declared is not None:
        headers.append((b"content-length", str(declared).encode()))
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/episodes/abc/step",
        "raw_path": b"/v1/episodes/abc/step",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "http_version": "1.1",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("board", 80),
    }
    left = list(parts)
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(wait_s)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(host.app(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_a_body_that_is_longer_than_declared_is_cut_off(host: Host) -> None:
    status, problem = asgi(host, [b"x" * 100_000] * 10)
    assert (status, problem["type"]) == (413, "urn:agentsafe:problem:too-large")


def test_a_body_that_declares_too_much_is_not_read(host: Host) -> None:
    status, _ = asgi(host, [], declared=10**9)
    assert status == 413


def test_a_body_that_comes_too_slowly_is_given_up(start: Start) -> None:
    host = start(body_s=0.05)
    status, problem = asgi(host, [b"x"] * 10, wait_s=0.03)
    assert (status, problem["type"]) == (408, "urn:agentsafe:problem:too-slow")


def test_a_board_tells_whether_it_is_well(host: Host) -> None:
    assert host.http.get("/healthz").json() == {"status": "ok"}
    text = host.http.get("/metrics").text
    assert 'board_requests_total{method="GET",route="/healthz",status="200"} 1.0' in text
    for number in range(20):
        host.http.get(f"/nowhere/{number}")
    assert host.http.get("/metrics").text.count('route="none"') < 20, "strangers cannot make labels"
    page = host.http.get("/docs").text
    assert "/v1/episodes/{episode_id}/step" in page
    assert "<script" not in page


def test_the_step_is_the_same_through_the_router_and_past_it(host: Host) -> None:
    """What stands before the router calls the endpoint that the router would."""
    from leaderboard.server.door import STEP_ROUTE
    from leaderboard.server.routes import play

    route = next(each for each in play.router.routes if getattr(each, "path", "") == STEP_ROUTE.path)
    assert route.endpoint is play.take_step  # type: ignore[attr-defined]
