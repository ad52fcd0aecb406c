"""Clocks that jump: no episode ends and no lease runs out by wall time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.leaderboard.server.hosting import Host, SetClock


def tick(host: Host) -> None:
    portal = host.http.portal
    assert portal is not None
    portal.call(host.board.play.tick)


@pytest.mark.parametrize("days", [4_000, -4_000])
def test_a_wall_clock_that_jumps_ends_no_episode(host: Host, clock: SetClock, days: int) -> None:
    team = host.team("one")
    episode = host.begin(team, host.session(team)).json()["id"]
    host.step(team, episode, 0)
    clock.jump += timedelta(days=days)
    tick(host)
    assert host.step(team, episode, 1).status_code == 200
    again = host.restart()
    try:
        tick(again)
        assert again.step(team, episode, 2).status_code == 200
    finally:
        again.close()


def test_an_idle_episode_ends_as_truncated(host: Host, clock: SetClock) -> None:
    team = host.team("one")
    session = host.session(team)
    idle, busy = (host.begin(team, session).json()["id"] for _ in range(2))
    half = host.settings.limits.idle_s / 2 + 1
    clock.passed_s += half
    tick(host)
    host.step(team, busy, 0)
    clock.passed_s += half
    tick(host)
    over = host.step(team, idle, 0)
    assert (over.status_code, over.json()["state"]) == (409, "truncated")
    assert host.step(team, busy, 1).status_code == 200
    assert host.http.get(f"/v1/episodes/{idle}", headers=team).json()["state"] == "truncated"


def test_time_in_which_no_server_runs_does_not_count(host: Host, clock: SetClock) -> None:
    team = host.team("one")
    episode = host.begin(team, host.session(team)).json()["id"]
    host.close()
    clock.passed_s += 10 * host.settings.limits.idle_s
    again = Host(host.settings, clock)  # type: ignore[arg-type]
    try:
        tick(again)
        assert again.step(team, episode, 0).status_code == 200
    finally:
        again.close()
        host.http.__enter__()


def test_a_deadline_of_a_token_is_wall_time(host: Host, clock: SetClock) -> None:
    from leaderboard.server.admin import add_token
    from leaderboard.server.auth import KNOWN_S

    host.team("one")
    with host.board.engine.begin() as connection:
        expires_at = host.board.clock.now() + timedelta(hours=1)
        token = add_token(connection, host.board.clock, "one", ["play"], expires_at=expires_at)
    header = {"Authorization": f"Bearer {token}"}
    assert host.http.get("/v1/me", headers=header).status_code == 200
    clock.jump += timedelta(hours=2)
    clock.passed_s += KNOWN_S
    assert host.http.get("/v1/me", headers=header).status_code == 401
