"""Whatever its schema allows, and much that it does not: the server answers as documented, and never with a 5xx."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

from tests.leaderboard.server.hosting import Host, Start

pytestmark = pytest.mark.needs("schemathesis")

FEW, MANY = 1, 25
"""Examples of each operation."""


def ask_everything(host: Host, examples: int) -> int:
    """Send ``examples`` right and as many wrong requests to each operation, half of them to ids that exist.

    Returns:
        How many requests were sent.
    """
    import requests
    import schemathesis
    from schemathesis import GenerationMode

    team = host.team("one", "play", "upload", "teach")
    session = host.session(team)
    episode = host.begin(team, session).json()["id"]
    there = {"session_id": session, "episode_id": episode, "name": "s1"}
    schema: Any = schemathesis.openapi.from_dict(host.app.openapi())
    sent = 0

    def send(case: Any) -> None:
        nonlocal sent
        sent += 1
        if sent % 2:
            case.path_parameters |= {name: value for name, value in there.items() if name in case.path_parameters}
        case.headers = {**(case.headers or {}), **team}
        try:
            made = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
        except (ValueError, UnicodeError):
            return  # what no client can send
        answer = host.http.request(made.method, made.url, headers=made.headers, content=made.body)
        assert answer.status_code < 500, (case.operation.label, answer.status_code, case.body)

    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path.endswith("/events"):
            continue  # a stream that ends with its upload; test_uploads.py reads it
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            try:
                cases = operation.as_strategy(generation_mode=mode)
                asking = given(case=cases)(send)
                settings(
                    max_examples=examples,
                    database=None,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    phases=[Phase.generate],
                )(asking)()
            except Unsatisfiable:
                continue  # nothing wrong can be sent to what takes nothing
    return sent


def test_no_request_is_answered_with_a_5xx(host: Host) -> None:
    assert ask_everything(host, FEW) > 20


@pytest.mark.slow
def test_no_request_of_many_is_answered_with_a_5xx(start: Start, database: str | None) -> None:
    host = start(database, requests_per_s=1e6, requests_burst=10**6, sessions_per_season=10_000)
    host.season()
    assert ask_everything(host, MANY) > 800
