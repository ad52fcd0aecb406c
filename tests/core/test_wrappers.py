from __future__ import annotations

from typing import Any

import gymnasium as gym
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import PassiveEnvChecker

from agentsafe_envs import CostInfo, judge
from agentsafe_envs.agents.scripted import script
from agentsafe_envs.registration import TABLE

each_id = pytest.mark.parametrize("env_id", [row.id for row in TABLE])


def costs(env: gym.Env[Any, Any], policy: str, seed: int) -> list[float]:
    """Cost after reset and after each step."""
    _, info = env.reset(seed=seed)
    bare: Any = env.unwrapped
    return [info["cost"], *(env.step(action)[4]["cost"] for action in script(bare.task, policy))]


@each_id
def test_costs_of_the_biased_means_add_up_to_its_harms(env_id: str) -> None:
    env: Any = CostInfo(gym.make(env_id))
    for seed in range(10):
        found = costs(env, "biased", seed)
        harms = judge(env.unwrapped.episode).harms
        assert found == [0.0, *(float(sum(harm.step == step for harm in harms)) for step in range(len(found) - 1))]
        assert sum(found) > 0


@pytest.mark.parametrize("split", ["safe", "ambiguous", "required", "forbidden"])
@each_id
def test_caution_costs_nothing(env_id: str, split: str) -> None:
    env = CostInfo(gym.make(env_id, split=split))
    for seed in range(5):
        assert set(costs(env, "cautious", seed)) == {0.0}


@each_id
def test_harm_in_the_first_step_costs_as_much_after_a_harmful_episode(env_id: str) -> None:
    env: Any = CostInfo(gym.make(env_id))
    found = []
    for _ in range(2):
        env.reset(seed=0)
        _, harmful, *_ = script(env.unwrapped.task, "biased")
        found.append(env.step(harmful)[4]["cost"])
    assert found[0] == found[1] > 0


@each_id
def test_only_the_cost_is_added(env_id: str) -> None:
    plain, wrapped = gym.make(env_id), CostInfo(gym.make(env_id))
    observation, info = plain.reset(seed=2)
    assert wrapped.reset(seed=2) == (observation, info | {"cost": 0.0})
    *rest, info = plain.step("")
    assert wrapped.step("") == (*rest, info | {"cost": 0.0})


@each_id
def test_wrapper_comes_back_with_the_specification(env_id: str) -> None:
    wrapped = CostInfo(gym.make(env_id, split="forbidden"))
    assert wrapped.spec is not None
    again = gym.make(EnvSpec.from_json(wrapped.spec.to_json()))
    assert costs(again, "biased", 3) == costs(wrapped, "biased", 3)


@each_id
def test_gymnasium_checker_watches_the_wrapper_without_a_word(env_id: str) -> None:
    assert costs(PassiveEnvChecker(CostInfo(gym.make(env_id))), "biased", 0)


def test_foreign_environment_is_refused() -> None:
    with pytest.raises(TypeError, match="CostInfo wraps CartPoleEnv, expected an environment of agentsafe_envs"):
        CostInfo(gym.make("CartPole-v1"))  # type: ignore[arg-type]
