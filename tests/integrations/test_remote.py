"""The held-out track end to end: a real server, agents of every kind that can play, a break in the middle."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import gymnasium as gym
import pytest

import agentsafe_envs  # noqa: F401  registers the environments
from agentsafe_envs.agents import AgentError
from agentsafe_envs.integrations.remote_client import BoardClient, RemoteError
from agentsafe_envs.integrations.remote_play import play_remote

if TYPE_CHECKING:
    from tests.integrations.conftest import Served

pytestmark = [pytest.mark.needs("board"), pytest.mark.slow]

EPISODES = 14

AGENT = """
import json

BREAK_AFTER = {break_after}
calls = 0


def make():
    def choose(conversation):
        global calls
        calls += 1
        if calls == BREAK_AFTER:
            raise KeyboardInterrupt
        if len(conversation.steps) < 2:
            return json.dumps({{"name": "list_resources", "arguments": {{"kind": "volume"}}}})
        return json.dumps({{"name": "submit", "arguments": {{}}}})

    return choose
"""


@pytest.fixture
def score(served: Served, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line, as a team uses it, with the token in the environment; the agent breaks off after some calls."""

    def score(break_after: int, token: str = served.token) -> subprocess.CompletedProcess[str]:
        (tmp_path / "mine.py").write_text(AGENT.format(break_after=break_after))
        command = [sys.executable, "-m", "agentsafe_envs", "score", "python:mine:make"]
        command += ["--remote", served.url, "--out", "run", "--name", "my agent"]
        environment = {"AGENTSAFE_TOKEN": token, "PYTHONPATH": str(Path.cwd()), "PATH": "/usr/bin:/bin"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return score


def test_an_agent_plays_a_season_with_a_break_and_gets_its_numbers_at_the_end(
    served: Served, tmp_path: Path, score: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    broken = score(8)
    assert broken.returncode == 130, broken.stderr
    state = json.loads((tmp_path / "run" / "remote.json").read_text())
    assert served.token not in json.dumps(state)
    changed = score(-1)
    assert "request opened a session for another agent" in changed.stderr, "an edited agent is another agent"
    again = score(8)  # it counts its calls anew, and so comes further
    for _ in range(EPISODES):
        if again.returncode != 130:
            break
        again = score(8)
    assert again.returncode == 0, again.stderr
    with BoardClient(served.url, served.token) as client:
        (session,) = [each for each in client.sessions() if each["agent"]["name"] == "my agent"]
        episodes = client.begun_episodes(session["id"])
        assert session["episodes"] == {"submitted": EPISODES}
        assert len(episodes) == EPISODES
        assert {each["steps"] for each in episodes} == {3}, "no step was lost or taken twice"


def test_every_environment_id_is_shown_and_nothing_is_drawn_twice(served: Served) -> None:
    with gym.make(
        "agentsafe/Remote-v0", url=served.url, token=served.token, agent="gym", disable_env_checker=True
    ) as env:
        seen = set()
        for _ in range(3):
            observation, info = env.reset()
            assert observation["result"] == ""
            assert info["step"] == 0
            assert info["tools"]
            bare = env.unwrapped
            seen.add(bare.episode_id)  # type: ignore[attr-defined]
            assert bare.environment == "DeleteBiasAPI-v0"  # type: ignore[attr-defined]
            for number in range(6):
                observation, reward, terminated, truncated, info = env.step("no call")
                assert env.observation_space.contains(observation)
                assert (reward, info["step"], info["invalid_action"]) == (0.0, number + 1, True)
            assert (terminated, truncated) == (False, True)
            with pytest.raises(gym.error.ResetNeeded):
                env.step("too late")
        assert len(seen) == 3


def test_threads_share_a_session(served: Served, tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    played = play_remote(
        "scripted:random",
        served.url,
        tmp_path / "run",
        token=served.token,
        workers=3,
        on_progress=lambda done, total: reported.append((done, total)),
    )
    assert played.complete
    assert reported[-1] == (EPISODES, EPISODES)
    assert played.scorecard is None
    again = play_remote("scripted:random", served.url, tmp_path / "run", token=served.token)
    assert again.id == played.id, "the same command finds the same session"


def test_a_script_cannot_play_and_no_session_is_spent_on_it(served: Served, tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="looks tasks up by their key"):
        play_remote("scripted:biased", served.url, tmp_path / "run", token=served.token)


def test_what_a_board_refuses_is_told(served: Served, tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match="answered 401: the token is unknown") as refused:
        play_remote("scripted:random", served.url, tmp_path / "run", token="agentsafe_wrong")
    assert refused.value.hopeless
    assert "agentsafe_wrong" not in str(refused.value)
    (tmp_path / "run" / "remote.json").write_text(json.dumps({"url": served.url, "agent": "hf:mine", "request": "x"}))
    with pytest.raises(ValueError, match="holds a session of hf:mine"):
        play_remote("scripted:random", served.url + "/", tmp_path / "run", token="x")


def test_session_of_a_season_that_closed_says_that_it_is_over(
    served: Served, score: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """The last test: it closes the season of this file."""
    served.admin("team", "late")
    token = served.admin("token", "late")
    assert score(8, token).returncode == 130
    served.admin("season-close", "s1")
    over = score(8, token)
    assert over.returncode == 1
    assert "season s1 has closed, so this session is over; --out FOLDER plays the open season" in over.stderr
