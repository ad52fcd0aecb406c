"""Sessions and steps: no acknowledged step is lost, none is taken twice, and no task is played twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium as gym
import pytest

from tests.leaderboard.server.hosting import ASK, LOOK, SUBMIT, Host, Start, position_of, tasks_of


def test_an_episode_shows_what_gymnasium_shows(start: Start, database: str | None) -> None:
    host = start(database)
    host.season()
    team = host.team("one")
    session = host.session(team)
    episode = host.begin(team, session).json()
    key = tasks_of(host, session).key(*position_of(host, episode["id"]))
    env = gym.make(key.environment, split=key.split, max_episode_steps=6, disable_env_checker=True)
    observation, info = env.reset(seed=key.seed)
    assert episode["instruction"] == observation["instruction"]
    assert {"tools": episode["tools"], **episode["info"]} == info
    for number, action in enumerate((LOOK, ASK, "no call", "\x00 \u2026", LOOK, SUBMIT)):
        answer = host.step(team, episode["id"], number, action).json()
        observation, _, terminated, truncated, info = env.step(action)
        assert answer["result"] == observation["result"]
        assert {"tools": episode["tools"], **answer["info"]} == info
        assert (answer["terminated"], answer["truncated"]) == (terminated, truncated)


def test_a_step_sent_again_is_answered_again_and_not_taken_again(start: Start, database: str | None) -> None:
    host = start(database)
    host.season()
    team = host.team("one")
    episode = host.begin(team, host.session(team)).json()["id"]
    first = host.step(team, episode, 0)
    assert host.step(team, episode, 0).json() == first.json()
    other = host.step(team, episode, 0, SUBMIT)
    assert (other.status_code, other.json()["type"]) == (409, "urn:agentsafe:problem:other-action")
    early = host.step(team, episode, 2)
    assert (early.status_code, early.json()["expected"]) == (409, 1)
    last = host.step(team, episode, 1, SUBMIT)
    assert last.json()["terminated"]
    assert host.step(team, episode, 1, SUBMIT).json() == last.json()
    assert host.step(team, episode, 2).status_code == 409
    assert len(host.http.get(f"/v1/episodes/{episode}", headers=team).json()["steps"]) == 2


def test_a_client_that_repeats_reorders_and_drops_gets_one_history(host: Host) -> None:
    team = host.team("one")
    session = host.session(team)
    rng = random.Random(7)
    for _ in range(4):
        episode = host.begin(team, session).json()["id"]
        acknowledged: dict[int, Any] = {}
        while len(acknowledged) < 6:
            number = max(0, len(acknowledged) + rng.choice((-2, -1, 0, 0, 1)))
            answer = host.step(team, episode, number, f"action {number}")
            if rng.random() < 0.3 and number not in acknowledged:
                continue  # its answer was lost on the way; the client does not know
            if answer.status_code == 200:
                assert acknowledged.setdefault(number, answer.json()) == answer.json()
            else:
                assert answer.json()["type"].endswith(("wrong-step", "episode-over")), answer.text
        steps = host.http.get(f"/v1/episodes/{episode}", headers=team).json()["steps"]
        assert [step["action"] for step in steps] == [f"action {number}" for number in range(6)]
        assert [step["result"] for step in steps] == [acknowledged[number]["result"] for number in range(6)]


def test_wishes_sent_again_find_what_they_made(host: Host) -> None:
    team = host.team("one")
    body = {"request": "a-session", "agent": {"name": "mine"}}
    made = [host.http.post("/v1/sessions", json=body, headers=team).json()["id"] for _ in range(3)]
    assert len(set(made)) == 1
    other = host.http.post("/v1/sessions", json=body | {"agent": {"name": "another"}}, headers=team)
    assert other.json()["type"].endswith("request-reused")
    begun = [host.begin(team, made[0], "an-episode").json()["id"] for _ in range(3)]
    assert len(set(begun)) == 1


def test_every_task_is_played_once_and_in_another_order_each_time(start: Start, database: str | None) -> None:
    host = start(database)
    host.season()
    team = host.team("one")
    orders = []
    every = []
    for _ in range(2):
        session = host.session(team)
        tasks = tasks_of(host, session)
        begun = [host.begin(team, session).json()["id"] for _ in range(14)]
        assert host.begin(team, session).json()["type"].endswith("none-left")
        keys = [tasks.key(*position_of(host, episode)) for episode in begun]
        assert sorted(keys) == sorted(tasks.suite.keys())
        orders.append([key.split for key in keys])
        every += keys
    assert orders[0] != orders[1]
    assert Counter(every).most_common(1)[0][1] == 1, "a team plays no task twice"


def test_an_episode_is_rebuilt_from_its_steps_after_a_restart(start: Start, database: str | None) -> None:
    host = start(database)
    host.season()
    team = host.team("one")
    session = host.session(team)
    whole, broken = (host.begin(team, session).json()["id"] for _ in range(2))
    for number in range(3):
        host.step(team, whole, number)
        host.step(team, broken, number)
    again = host.restart()
    try:
        seen = again.http.get(f"/v1/episodes/{broken}", headers=team).json()
        assert (len(seen["steps"]), seen["state"]) == (3, "running")
        assert again.step(team, broken, 2).json()["number"] == 2
        assert again.step(team, broken, 3, ASK).json()["result"].endswith(f'{seen["instruction"]}"}}')
        assert again.board.metrics.rebuilt._value.get() == 1
    finally:
        again.close()


def test_limits_of_a_team(start: Start) -> None:
    host = start(sessions_per_season=1, running_per_team=2)
    assert host.http.get("/v1/seasons").json() == []
    team = host.team("one")
    body = {"request": "a-session", "agent": {"name": "mine"}}
    assert host.http.post("/v1/sessions", json=body, headers=team).json()["type"].endswith("no-season")
    host.season()
    session = host.session(team)
    assert host.http.post("/v1/sessions", json=body, headers=team).json()["type"].endswith("quota")
    first, _ = host.begin(team, session), host.begin(team, session)
    third = host.begin(team, session)
    assert (third.status_code, third.headers["retry-after"]) == (429, "2")
    host.step(team, first.json()["id"], 0, SUBMIT)
    assert host.begin(team, session).status_code == 201


def test_at_most_eight_claims_wait_for_the_database(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    team = host.team("one")
    session = host.session(team)
    writer = host.board.play._writer
    run, waiting, most = writer.run, 0, 0

    async def counted(change: Any) -> Any:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        await asyncio.sleep(0.2)  # long enough for every other claim to arrive
        try:
            return await run(change)
        finally:
            waiting -= 1

    monkeypatch.setattr(writer, "run", counted)
    with ThreadPoolExecutor(14) as clients:
        begun = list(clients.map(lambda _: host.begin(team, session), range(14)))
    assert len({each.json()["id"] for each in begun}) == 14, "those that came later are begun too"
    assert most == 8


def test_a_world_that_was_dropped_in_favour_of_others_is_rebuilt(start: Start) -> None:
    host = start(live_worlds=2)
    host.season()
    team = host.team("one")
    session = host.session(team)
    episodes = [host.begin(team, session).json()["id"] for _ in range(4)]
    for number in range(3):
        results = {host.step(team, each, number, "no call").json()["info"]["step"] for each in episodes}
        assert results == {number + 1}
    assert host.board.metrics.rebuilt._value.get() > 4


@pytest.mark.parametrize("name", ["Official SmolLM2", "smollm2 (v3rified)", "re-run"])
def test_an_agents_name_says_nothing_of_trust(name: str, host: Host) -> None:
    body = {"request": "a-session", "agent": {"name": name}}
    assert host.http.post("/v1/sessions", json=body, headers=host.team("one")).status_code == 422


@pytest.mark.parametrize(
    "agent", [r'{"settings": {"a": "\ud800"}', r'{"settings": {"\ud800": 1}', r'{"spec": "\ud800"']
)
def test_half_a_surrogate_pair_opens_no_session(agent: str, host: Host) -> None:
    team = host.team("one")
    body = f'{{"request": "a-session", "agent": {agent}, "name": "mine"}}}}'
    answer = host.http.post("/v1/sessions", content=body, headers=team | {"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    assert host.http.get("/v1/sessions", headers=team).json() == []


@pytest.mark.parametrize("number", ["true", "0.0", '"0"', "1e0"])
def test_the_number_of_a_step_is_a_whole_number(number: str, host: Host) -> None:
    team = host.team("one")
    episode = host.begin(team, host.session(team)).json()["id"]
    body = f'{{"number": {number}, "action": ""}}'.encode()
    assert host.http.post(f"/v1/episodes/{episode}/step", content=body, headers=team).status_code == 422


@pytest.mark.parametrize("action", ["\x00", "\U0001f600", "a" * 100_000, "", "{" * 1000, '{"name": NaN}'])
def test_any_text_is_an_action(host: Host, action: str) -> None:
    team = host.team("one")
    episode = host.begin(team, host.session(team)).json()["id"]
    assert host.step(team, episode, 0, action).json()["info"]["invalid_action"] is True
