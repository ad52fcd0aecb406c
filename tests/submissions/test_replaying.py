from __future__ import annotations

import json
from typing import Any

import gymnasium as gym
import pytest

from agentsafe_envs.bash.sandbox.base import SandboxError
from agentsafe_envs.core.episode import Episode
from agentsafe_envs.submissions import replaying
from agentsafe_envs.submissions.replaying import masked_step, replay_episode

SUBMIT = json.dumps({"name": "submit", "arguments": {}})


def bash(command: str) -> str:
    return json.dumps({"name": "bash", "arguments": {"command": command}})


def played(*actions: str, environment: str = "ChmodBiasBash-v0") -> Episode:
    env: Any = gym.make(environment, max_episode_steps=len(actions))
    env.reset(seed=3)
    for action in actions:
        env.step(action)
    env.close()
    return env.unwrapped.episode


def edited(episode: Episode, number: int, **fields: Any) -> Episode:
    steps = list(episode.steps)
    steps[number] = steps[number]._replace(**fields)
    return episode._replace(steps=tuple(steps))


@pytest.mark.needs("bubblewrap")
class TestBash:
    @pytest.fixture(scope="class")
    @staticmethod
    def ordinary() -> Episode:
        return played(bash("ls -l /srv; touch /srv/new; chmod 600 /srv/new"), SUBMIT)

    def test_ordinary_commands_replay_to_the_letter(self, ordinary: Episode) -> None:
        found = replay_episode(ordinary)
        assert (found.difference, found.masked, found.unchecked) == ("", "", "")
        assert found.judged is not None

    def test_cut_off_episode_replays_with_what_came_later(self) -> None:
        assert replay_episode(played(bash("sleep 30 & touch /srv/new"))).difference == ""

    def test_clock_chance_and_process_numbers_are_masked(self) -> None:
        found = replay_episode(played(bash("echo $RANDOM $$; date +%N > /srv/now; mktemp /srv/XXXXXXXX"), SUBMIT))
        assert (found.difference, found.masked) == ("", "content of files that it made and text")

    def test_forged_observation_is_shown(self, ordinary: Episode) -> None:
        assert replay_episode(edited(ordinary, 0, result="permission denied")).masked == "text"

    def test_forged_right_is_refused(self, ordinary: Episode) -> None:
        evidence = json.loads(json.dumps(ordinary.steps[0].evidence))
        evidence["changes"]["/srv/new"][1][1] = 0o777
        assert "another effect" in replay_episode(edited(ordinary, 0, evidence=evidence)).difference

    def test_hidden_effect_is_refused(self, ordinary: Episode) -> None:
        evidence = {**ordinary.steps[0].evidence, "changes": {}, "calls": []}
        assert "another effect" in replay_episode(edited(ordinary, 0, evidence=evidence)).difference

    def test_forged_success_is_refused(self, ordinary: Episode) -> None:
        assert "another end" in replay_episode(ordinary._replace(success=True)).difference

    def test_evidence_of_no_sandbox_is_refused(self, ordinary: Episode) -> None:
        assert replay_episode(edited(ordinary, 0, evidence={"changes": 3, "calls": []})).difference

    def test_changed_command_is_refused(self, ordinary: Episode) -> None:
        assert "another effect" in replay_episode(edited(ordinary, 0, action=bash("rm -rf /srv"))).difference

    def test_hidden_loss_is_refused_by_the_verdict(self) -> None:
        """The masks cover content that the agent made, and so a content that it says it kept; the verdict does not."""
        episode = played(bash("d=$(find /srv -type f | head -1); date +%N > $d"), SUBMIT)
        evidence = json.loads(json.dumps(episode.steps[0].evidence))
        path, nodes = next(iter(evidence["changes"].items()))
        evidence["changes"]["/srv/kept"] = [None, [*nodes[0]]]
        assert replay_episode(edited(episode, 0, evidence=evidence)).difference, path

    def test_machine_without_sandbox_checks_nothing(self, ordinary: Episode, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(episode: Episode) -> None:
            raise SandboxError("bwrap is missing")

        monkeypatch.setattr(replaying.registration, "replay", refuse)
        assert replay_episode(ordinary).unchecked == "bwrap is missing"


def test_masked_step_keeps_rights_owner_and_place() -> None:
    node = ["file", 0o600, 0, 0, 3, "ab", "", None, [], 1]
    other = ["file", 0o600, 0, 0, 9, "cd", "", None, [], 1]
    known = {"/srv/old"}

    def step(path: str, after: Any) -> Any:
        return masked_step({"changes": {path: [None, after]}, "calls": []}, known)

    assert step("/srv/tmp.a", node) == step("/srv/tmp.b", other)
    assert step("/srv/tmp.a", node) != step("/etc/tmp.a", node)
    assert step("/srv/tmp.a", node) != step("/srv/old", node)
    assert step("/srv/tmp.a", node) != step("/srv/tmp.a", [*node[:1], 0o666, *node[2:]])
    assert step("/srv/tmp.a", node) != step("/srv/tmp.a", None)


def test_episode_that_no_detector_can_read_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(episode: Episode) -> None:
        raise KeyError("mode")

    monkeypatch.setattr(replaying, "judge_episode", fail)
    episode = played(SUBMIT, environment="DeleteBiasAPI-v0")
    assert replay_episode(episode).difference == "it cannot be judged: KeyError: 'mode'"
