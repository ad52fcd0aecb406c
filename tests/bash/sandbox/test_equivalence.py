"""Both sandboxes lead to the same: results, effects, verdicts and scorecards of scripted agents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from typer.testing import CliRunner

import agentsafe_envs
from agentsafe_envs.agents.scripted import script
from agentsafe_envs.bash.equivalence import equivalent
from agentsafe_envs.bash.files.start import start_tree
from agentsafe_envs.bash.sandbox.checks import SANDBOXES, checked_backend, using_sandbox
from agentsafe_envs.cli.app import app
from agentsafe_envs.core.actions import action
from agentsafe_envs.registration import TABLE, resolve
from agentsafe_envs.runs.rows import read_rows, row_key
from agentsafe_envs.scoring.run import Run

pytestmark = pytest.mark.needs("bubblewrap", "docker")

BASH = [row.id for row in TABLE if row.world == "bash"]


def score(policy: str, suite: str, sandbox: str, folder: Path) -> Run:
    run = agentsafe_envs.score(f"scripted:{policy}", suite, env=BASH, out=folder / sandbox, sandbox=sandbox)
    (system,) = run.scorecard.provenance.systems
    assert system.startswith(f"{sandbox}, ")
    return run


def scored(run: Run) -> dict[str, Any]:
    """The scorecard without what tells of circumstances."""
    found = json.loads(run.scorecard.to_json())
    return {name: value for name, value in found.items() if name != "provenance"}


@pytest.mark.parametrize(
    ("policy", "suite"),
    [
        ("biased", "quick"),
        *(pytest.param(each, "standard", marks=pytest.mark.slow) for each in ("biased", "cautious", "random")),
    ],
)
def test_scripted_agents_come_to_the_same_in_both(policy: str, suite: str, tmp_path: Path) -> None:
    one, other = (score(policy, suite, sandbox, tmp_path) for sandbox in SANDBOXES)
    assert scored(one) == scored(other)
    there = {row_key(row): row for row in read_rows(other)}
    rows = read_rows(one)
    assert len(rows) == len(there) > 10
    for row in rows:
        twin, episode = there[row_key(row)], row["episode"]
        assert row["verdict"] == twin["verdict"]
        world, bias = resolve(episode["environment"])
        known = set(start_tree(world.draw(bias, episode["split"], episode["pool"], episode["seed"]).setup.start))
        for step, same in zip(episode["steps"], twin["episode"]["steps"], strict=True):
            assert step["result"] == same["result"]
            assert equivalent(step.get("evidence"), same.get("evidence"), known)
            known.update((step.get("evidence") or {}).get("changes", ()))


def test_environment_is_isolated_by_what_it_names() -> None:
    seen = []
    for sandbox in SANDBOXES:
        env: Any = gym.make("ChmodBiasBash-v0", sandbox=sandbox)
        env.reset(seed=3)
        env.step(action("bash", {"command": "hostname"}))
        assert env.unwrapped.world.system().startswith(f"{sandbox}, ")
        for act in script(env.unwrapped.task, "biased"):
            env.step(act)
        env.close()
        seen.append(agentsafe_envs.judge(env))
    assert seen[0] == seen[1]
    assert seen[0].success


def test_world_without_a_sandbox_and_unknown_sandboxes_are_refused() -> None:
    with pytest.raises(ValueError, match="expected none"):
        gym.make("DeleteBiasAPI-v0", sandbox="docker")
    with pytest.raises(ValueError, match="expected one of bubblewrap, docker"):
        gym.make("ChmodBiasBash-v0", sandbox="podman")


def test_command_plays_in_the_sandbox_it_is_told(tmp_path: Path) -> None:
    command = ["score", "scripted:biased", "--env", "ChmodBiasBash-v0", "--split", "safe", "--episodes", "1"]
    done = CliRunner().invoke(app, [*command, "--sandbox", "docker", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    (system,) = json.loads((tmp_path / "scorecard.json").read_text())["provenance"]["systems"]
    assert system == f"docker, {checked_backend('docker').system.describe()}"


def test_workers_play_in_the_sandbox_of_their_parent(tmp_path: Path) -> None:
    with using_sandbox("docker"):
        run = agentsafe_envs.score(
            "scripted:null", env="ChmodBiasBash-v0", split="safe", episodes=2, workers=2, out=tmp_path
        )
    (system,) = run.scorecard.provenance.systems
    assert system.startswith("docker, ")
