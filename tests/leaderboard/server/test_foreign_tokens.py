"""Every endpoint with every kind of foreign token: nothing is read, and nothing is changed."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest

from tests.leaderboard.server.hosting import LOOK, Host, SetClock

PUBLIC = {
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/upload"),
    ("GET", "/v1/board"),
    ("GET", "/v1/seasons"),
    ("GET", "/v1/seasons/{name}"),
    ("GET", "/v1/seasons/{name}/results"),
    ("GET", "/v1/seasons/{name}/secret"),
}
"""What needs no token."""

OWN = {
    ("GET", "/v1/me"),
    ("POST", "/v1/sessions"),
    ("GET", "/v1/sessions"),
    ("POST", "/v1/uploads"),
    ("GET", "/v1/uploads"),
}
"""What shows or makes the caller's own things, whoever it is."""

BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/sessions"): {"json": {"request": "a-new-session", "agent": {"name": "x"}}},
    ("POST", "/v1/sessions/{session_id}/episodes"): {"json": {"request": "a-new-episode"}},
    ("POST", "/v1/episodes/{episode_id}/step"): {"json": {"number": 1, "action": LOOK}},
    ("POST", "/v1/uploads"): {
        "json": {
            "request": "a-new-upload",
            "kind": "zip",
            "size_bytes": 4,
            "sha256": hashlib.sha256(b"abcd").hexdigest(),
        }
    },
    ("PATCH", "/v1/uploads/{upload_id}"): {"content": b"cd", "headers": {"Upload-Offset": "2"}},
}


def routes(host: Host) -> list[tuple[str, str]]:
    """Every method and path that the application answers."""
    found = {("GET", "/"), ("GET", "/docs"), ("GET", "/openapi.json"), ("GET", "/upload")}
    for path, methods in host.app.openapi()["paths"].items():
        found |= {(method.upper(), path) for method in methods}
    return sorted(found)


class Property:
    """What one team owns: a session with a running episode, an upload half way, a course."""

    def __init__(self, host: Host) -> None:
        from leaderboard.server.admin import add_course

        self.team = host.team("owner")
        teacher = host.team("teacher", "teach")
        with host.board.engine.begin() as connection:
            add_course(connection, host.board.clock, "course", title="A course", teacher="teacher", students=["ann"])
        self.teacher = teacher
        session = host.session(self.team)
        episode = host.begin(self.team, session).json()["id"]
        host.step(self.team, episode, 0, LOOK)
        announced = host.http.post("/v1/uploads", **BODIES["POST", "/v1/uploads"], headers=self.team).json()["id"]
        part = {"Upload-Offset": "0", **self.team}
        assert host.http.patch(f"/v1/uploads/{announced}", content=b"ab", headers=part).status_code == 200
        self.ids = {
            "{session_id}": session,
            "{episode_id}": episode,
            "{upload_id}": announced,
            "{course_id}": "course",
            "{name}": "s1",
        }

    def path(self, template: str) -> str:
        for name, value in self.ids.items():
            template = template.replace(name, value)
        return template

    def state(self, host: Host) -> list[Any]:
        """All that could change."""
        paths = (
            f"/v1/sessions/{self.ids['{session_id}']}",
            f"/v1/episodes/{self.ids['{episode_id}']}",
            f"/v1/uploads/{self.ids['{upload_id}']}",
        )
        found = [host.http.get(path, headers=self.team).json() for path in paths]
        return [*found, host.http.get("/v1/courses/course", headers=self.teacher).json()]


def call(host: Host, owner: Property, route: tuple[str, str], token: dict[str, str]) -> Any:
    method, path = route
    body = dict(BODIES.get(route, {}))
    headers = {**body.pop("headers", {}), **token}
    return host.http.request(method, owner.path(path), headers=headers, **body)


@pytest.fixture
def strangers(host: Host, clock: SetClock) -> dict[str, dict[str, str]]:
    """A header of each kind that is not the owner's."""
    from leaderboard.server.admin import add_token, list_tokens, revoke_token

    host_clock = host.board.clock
    every = ("play", "upload", "teach")
    tokens = {"another team": host.team("another", *every)["Authorization"].partition(" ")[2]}
    with host.board.engine.begin() as connection:
        tokens["expired"] = add_token(
            connection, host_clock, "another", every, expires_at=host_clock.now() - timedelta(seconds=1)
        )
        tokens["revoked"] = add_token(connection, host_clock, "another", every, label="revoked")
        lost = next(each["id"] for each in list_tokens(connection) if each["label"] == "revoked")
        revoke_token(connection, host_clock, lost)
    tokens |= {"unknown": "agentsafe_" + "x" * 43, "empty": "", "not ASCII": "\u00e9" * 20}
    headers = {name: {"Authorization": f"Bearer {token}".encode("latin-1")} for name, token in tokens.items()}
    headers["none"] = {}
    headers["another scheme"] = {"Authorization": f"Basic {tokens['another team']}".encode()}
    return headers  # type: ignore[return-value]


def test_nothing_is_read_or_changed_with_a_foreign_token(host: Host, strangers: dict[str, dict[str, str]]) -> None:
    owner = Property(host)
    before = owner.state(host)
    tried = 0
    for route in routes(host):
        if route in PUBLIC:
            assert call(host, owner, route, {}).status_code in (200, 404), route
            continue
        for name, token in strangers.items():
            answer = call(host, owner, route, token)
            tried += 1
            if name != "another team":
                assert answer.status_code in (401, 429), (route, name, answer.status_code)
                assert answer.headers["content-type"] == "application/problem+json"
            elif route in OWN:
                assert answer.status_code in (200, 201), (route, answer.text)
            else:
                assert answer.status_code == 404, (route, answer.text)
            for owned in owner.ids.values():
                assert owned in ("s1", "course") or owned not in answer.text, (route, name)
    assert tried >= 7 * len(OWN)
    assert owner.state(host) == before


@pytest.mark.parametrize("scopes", [("upload",), ("teach",), ("play",)])
def test_a_token_does_only_what_it_is_for(host: Host, scopes: tuple[str, ...]) -> None:
    from leaderboard.server.admin import add_token

    owner = Property(host)
    with host.board.engine.begin() as connection:
        token = add_token(connection, host.board.clock, "owner", scopes)
    header = {"Authorization": f"Bearer {token}"}
    needed = {"sessions": "play", "episodes": "play", "uploads": "upload", "grades.csv": "teach"}
    for route in routes(host):
        scope = next((scope for part, scope in needed.items() if part in route[1]), None)
        if route not in PUBLIC and scope is not None and scope not in scopes:
            assert call(host, owner, route, header).status_code == 403, route


def test_a_revoked_token_is_forgotten_within_a_second(host: Host, clock: SetClock) -> None:
    from leaderboard.server.admin import list_tokens, revoke_token
    from leaderboard.server.auth import KNOWN_S

    team = host.team("one")
    assert host.http.get("/v1/me", headers=team).status_code == 200
    with host.board.engine.begin() as connection:
        revoke_token(connection, host.board.clock, list_tokens(connection)[0]["id"])
    clock.passed_s += KNOWN_S
    assert host.http.get("/v1/me", headers=team).status_code == 401


def test_tokens_are_kept_as_hashes_only(host: Host) -> None:
    token = host.team("one")["Authorization"].partition(" ")[2]
    host.http.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
    files = [path.read_bytes() for path in host.settings.folder.rglob("*") if path.is_file()]
    assert files
    assert not any(token.encode() in content for content in files)
