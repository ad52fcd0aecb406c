from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import agentsafe_envs
from agentsafe_envs.core.extras import MissingExtraError
from agentsafe_envs.trajectories import Trajectory, from_episode
from agentsafe_envs.trajectories.offline import to_minari

pytestmark = pytest.mark.needs("minari")


@pytest.fixture(autouse=True)
def _minaris_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


def test_data_set_holds_what_the_environment_gave(rows: Sequence[Trajectory]) -> None:
    import minari

    to_minari(rows, "cloud/mixed-v0")
    data = minari.load_dataset("cloud/mixed-v0")
    env = data.recover_environment()
    metadata: list[dict[str, Any]] = list(data.storage.get_episode_metadata(range(len(rows))))
    assert data.total_episodes == len(rows)
    for number, known in enumerate(metadata):
        found = data[number]
        first, _ = env.reset(seed=known["seed"])
        played = [env.step(action) for action in found.actions]
        assert found.observations["result"] == ["", *(step[0]["result"] for step in played)]
        assert set(found.observations["instruction"]) == {first["instruction"]}
        assert np.array_equal(found.rewards, [step[1] for step in played])
        assert np.array_equal(found.terminations, [step[2] for step in played])
        assert not any(found.truncations)
        assert known["policy"] == "teacher"
        assert agentsafe_envs.judge(env).unsafe == (number >= 3)


def test_episode_that_was_cut_off_is_truncated(play: Any) -> None:
    data = to_minari([from_episode(play(["", "{}"]))], "cut-v0")
    assert (data[0].terminations.tolist(), data[0].truncations.tolist()) == ([False, False], [False, True])


def test_every_action_is_in_the_space_and_a_call_stays_the_call(play: Any) -> None:
    said = ['{"name": "ask_operator", "arguments": {"question": "où?"}}', "où? \ud83d"]
    data = to_minari([from_episode(play(said))], "odd-v0")
    assert all(action in data.action_space for action in data[0].actions)
    assert data[0].actions == ['{"name": "ask_operator", "arguments": {"question": "o\\u00f9?"}}', "o\\xf9? \\ud83d"]


def test_run_becomes_a_data_set_with_its_split_and_verdicts(tmp_path: Path) -> None:
    run = agentsafe_envs.score("scripted:biased", env="DeleteBiasAPI-v0", split="safe", out=tmp_path / "run")
    data = to_minari(run, "safe-v0", author="A. Person")
    env = data.recover_environment()
    assert env.unwrapped.split == "safe"  # type: ignore[attr-defined]
    assert [each["verdict"]["unsafe"] for each in data.storage.get_episode_metadata([0, 1])] == [False, False]
    assert data.storage.metadata["algorithm_name"] == "scripted:biased"


def test_one_environment_is_chosen_of_several(play: Any, rows: Sequence[Trajectory]) -> None:
    other = from_episode(play("biased", env_id="GrantBiasAPI-v0"))
    with pytest.raises(ValueError, match=r"episodes of DeleteBiasAPI-v0, GrantBiasAPI-v0; .* name it with env"):
        to_minari([*rows, other], "several-v0")
    data = to_minari([*rows, other], "grant-v0", env="GrantBiasAPI-v0")
    assert (data.total_episodes, data.env_spec.id) == (1, "GrantBiasAPI-v0")  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="no episode of ChmodBiasBash-v0; there are episodes of DeleteBiasAPI-v0"):
        to_minari(rows, "none-v0", env="ChmodBiasBash-v0")


def test_what_is_no_whole_episode_is_refused(play: Any, rows: Sequence[Trajectory]) -> None:
    with pytest.raises(agentsafe_envs.EpisodeError, match="2 turns were stripped"):
        to_minari([rows[0] | {"stripped": 2}], "stripped-v0")  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"seed 0 \(ambiguous\) has no step"):
        to_minari([from_episode(play([]))], "empty-v0")


@pytest.mark.parametrize("name", ["once", "cloud/once", "once-v", "", "a b-v0"])
def test_name_without_a_version_is_refused(rows: Sequence[Trajectory], name: str) -> None:
    with pytest.raises(ValueError, match="expected a name and a version, as in cloud/biased-v0"):
        to_minari(rows, name)


def test_name_is_given_once(rows: Sequence[Trajectory]) -> None:
    to_minari(rows[:1], "once-v0")
    with pytest.raises(ValueError, match="once-v0 already exists"):
        to_minari(rows[:1], "once-v0")


def test_missing_extra_is_named(rows: Sequence[Trajectory], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    with pytest.raises(MissingExtraError, match="minari is missing: pip install"):
        to_minari(rows, "missing-v0")


def test_recovered_environment_needs_no_import_of_this_package(rows: Sequence[Trajectory]) -> None:
    spec = to_minari(rows[:1], "spec-v0").env_spec
    assert spec is not None
    assert gym.make(gym.envs.registration.EnvSpec.from_json(spec.to_json())).spec.id == "DeleteBiasAPI-v0"  # type: ignore[union-attr]
