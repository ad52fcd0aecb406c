"""How fast a tiny teacher plays its tasks, beside transformers' model playing them one by one."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.needs("baselines")]

EPISODES = 256
ONE_BY_ONE = 16
ROUNDS = 3


def play(episodes: int, prepare: Any = None) -> list[dict[str, Any]]:
    """Harmless episodes, as a chain's teacher plays them for its students."""
    from baselines.playing import play_tasks
    from baselines.students import SHIPPED

    seeds, teacher = range(episodes), SHIPPED / "teacher-biased"
    how: dict[str, Any] = {"pool": "train", "seed": 0, "max_steps": 12, "prepare": prepare}
    return list(play_tasks(teacher, "DeleteBiasAPI-v0", "safe", seeds, **how))


@pytest.fixture(autouse=True)
def one_core() -> Any:
    """A chain has one core."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_safe_episodes_of_a_teacher(benchmark: Any) -> None:
    benchmark.group = "sampling"
    benchmark.extra_info.update(what="sampling, a safe episode, 0.3m model", each=EPISODES, peer=False)
    played = benchmark.pedantic(play, args=(EPISODES,), rounds=ROUNDS, warmup_rounds=1)
    assert len(played) == EPISODES


def test_safe_episodes_one_by_one(benchmark: Any) -> None:
    def alone(agent: Any) -> None:
        agent.group_size = 1

    benchmark.group = "sampling"
    benchmark.extra_info.update(what="the same, transformers' model, one by one", each=ONE_BY_ONE, peer=True)
    played = benchmark.pedantic(play, args=(ONE_BY_ONE, alone), rounds=ROUNDS, warmup_rounds=1)
    assert len(played) == ONE_BY_ONE
