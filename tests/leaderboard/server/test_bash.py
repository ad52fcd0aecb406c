"""Bash episodes: a sandbox that is gone makes an episode void; another task takes its place, and it never counts."""

from __future__ import annotations

import json

import pytest

from tests.leaderboard.server.hosting import SUBMIT, Host, SetClock, Start, position_of, tasks_of

pytestmark = [pytest.mark.needs("board", "bubblewrap"), pytest.mark.slow]

BASH = "ChmodBiasBash-v0"


def run(command: str) -> str:
    return json.dumps({"name": "bash", "arguments": {"command": command}})


@pytest.fixture
def bash(start: Start) -> Host:
    host = start(sandboxes=2)
    host.season(environments=[BASH], episodes=1)
    return host


def test_an_episode_in_a_sandbox_is_played_and_judged(bash: Host) -> None:
    team = bash.team("one")
    session = bash.session(team)
    for _ in range(4):
        episode = bash.begin(team, session).json()["id"]
        assert bash.step(team, episode, 0, run("cd /srv; echo hello")).json()["result"] == "hello\n"
        assert bash.step(team, episode, 1, run("pwd")).json()["result"] == "/srv\n", "the shell stays"
        assert bash.step(team, episode, 1, run("pwd")).json()["result"] == "/srv\n", "and nothing is run twice"
        assert bash.step(team, episode, 2, SUBMIT).json()["terminated"]
    assert bash.close_season() == 1
    scorecard = bash.http.get(f"/v1/sessions/{session}", headers=team).json()["scorecard"]
    assert scorecard["overall"]["unscored"] == 0


def test_after_a_restart_a_sandbox_is_gone_and_another_task_takes_its_place(bash: Host) -> None:
    team = bash.team("one")
    session = bash.session(team)
    lost = bash.begin(team, session).json()["id"]
    bash.step(team, lost, 0, run("chmod -R 777 /srv"))
    again = bash.restart()
    try:
        void = again.step(team, lost, 1, SUBMIT)
        assert (void.status_code, void.json()["type"]) == (410, "urn:agentsafe:problem:void")
        assert again.http.get(f"/v1/episodes/{lost}", headers=team).status_code == 410
        # A step that was acknowledged before is still answered as it was.
        assert again.step(team, lost, 0, run("chmod -R 777 /srv")).status_code == 200
        replacement = again.begin(team, session).json()["id"]
        tasks = tasks_of(again, session)
        before, after = (tasks.key(*position_of(again, each)) for each in (lost, replacement))
        assert before.seed != after.seed
        assert before._replace(seed=0) == after._replace(seed=0)
        again.step(team, replacement, 0, SUBMIT)
        again.play_out(team, session)
        assert again.close_season() == 1
        shown = again.http.get(f"/v1/sessions/{session}", headers=team).json()
        assert shown["episodes"] == {"submitted": 4, "void": 1}
        assert shown["scorecard"]["overall"]["unsafe_rate"]["estimate"] is None, "only the void episode acted"
    finally:
        again.close()


def test_a_step_that_could_not_be_stored_makes_an_episode_void(bash: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    team = bash.team("one")
    episode = bash.begin(team, bash.session(team)).json()["id"]

    async def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bash.board.writer, "append", full)
    assert bash.step(team, episode, 0, run("touch /srv/x")).status_code == 503
    monkeypatch.undo()
    assert bash.step(team, episode, 0, run("touch /srv/x")).status_code == 410, "a command is never run again"


def test_a_task_waits_where_no_sandbox_can_be_started(bash: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentsafe_envs.bash.sandbox.base import SandboxError
    from leaderboard.server import loading

    def none(*_: object) -> None:
        raise SandboxError("no user namespace can be made")

    team = bash.team("one")
    session = bash.session(team)
    with monkeypatch.context() as patch:
        patch.setattr(loading, "start_world", none)
        refused = [bash.begin(team, session, "the-same-wish") for _ in range(3)]
    for answer in refused:
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:agentsafe:problem:no-sandbox")
        assert answer.headers["retry-after"] == "5"
        assert "namespace" not in answer.text
    states = bash.http.get(f"/v1/sessions/{session}", headers=team).json()["episodes"]
    assert states == {"pending": 4}, "none was used up"
    assert bash.http.get(f"/v1/sessions/{session}/episodes", headers=team).json() == []
    begun = bash.begin(team, session, "the-same-wish")
    assert position_of(bash, begun.json()["id"]) == (0, 0)
    assert bash.step(team, begun.json()["id"], 0, SUBMIT).json()["terminated"]


def test_there_are_no_more_sandboxes_than_allowed(bash: Host, clock: SetClock) -> None:
    team = bash.team("one")
    session = bash.session(team)
    episodes = [bash.begin(team, session).json()["id"] for _ in range(2)]
    third = bash.begin(team, session)
    assert (third.status_code, third.json()["type"]) == (503, "urn:agentsafe:problem:no-sandbox")
    bash.step(team, episodes[0], 0, SUBMIT)
    assert bash.begin(team, session).status_code == 201
    clock.passed_s += bash.settings.limits.idle_s + 1
    portal = bash.http.portal
    assert portal is not None
    portal.call(bash.board.play.tick)
    assert bash.board.play.live.bash_ids() == []
    states = bash.http.get(f"/v1/sessions/{session}", headers=team).json()["episodes"]
    assert states == {"submitted": 1, "truncated": 2, "pending": 1}
