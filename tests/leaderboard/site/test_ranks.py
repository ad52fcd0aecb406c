from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from agentsafe_envs.stats.significance import sign_flip
from leaderboard.ranks import GAUSSIAN_FACTOR, compare_pairs, rank_agents

TASKS = 48
TEMPLATES = np.arange(TASKS) // 2

EXAMPLES = 30

boards = st.integers(1, 6).flatmap(
    lambda agents: arrays(np.float64, (agents, TASKS), elements=st.sampled_from([0.0, 1.0]))
)


def test_constant_is_the_published_one() -> None:
    assert pytest.approx(3.1786, abs=1e-4) == GAUSSIAN_FACTOR


@settings(max_examples=EXAMPLES)
@given(boards)
def test_ranges_hold_the_place_by_points(values: np.ndarray) -> None:
    ranks = rank_agents(values, TEMPLATES)
    points = values.mean(axis=1)
    for agent, mine in enumerate(points):
        best, worst = 1 + (points > mine).sum(), (points >= mine).sum()
        assert ranks.low[agent] <= best
        assert ranks.high[agent] >= worst


@settings(max_examples=EXAMPLES)
@given(boards)
def test_agents_with_equal_rows_share_their_rank(values: np.ndarray) -> None:
    ranks = rank_agents(np.vstack([values, values[:1]]), TEMPLATES)
    assert (ranks.low[0], ranks.high[0]) == (ranks.low[-1], ranks.high[-1])
    assert ranks.lead[0] == pytest.approx(ranks.lead[-1])


@settings(max_examples=EXAMPLES)
@given(boards, st.randoms())
def test_order_of_agents_does_not_matter(values: np.ndarray, random) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    ranks, shuffled = rank_agents(values, TEMPLATES), rank_agents(values[order], TEMPLATES)
    assert shuffled.low.tolist() == ranks.low[order].tolist()
    assert shuffled.high.tolist() == ranks.high[order].tolist()


@settings(max_examples=EXAMPLES)
@given(boards)
def test_who_does_no_task_that_another_leaves_is_never_above_it(values: np.ndarray) -> None:
    worse = values[0] * (np.arange(TASKS) % 3 == 0)
    ranks = rank_agents(np.vstack([values, worse]), TEMPLATES)
    assert ranks.low[-1] >= ranks.low[0]
    assert ranks.high[-1] >= ranks.high[0]


def test_agent_that_fails_everywhere_is_below_one_that_never_does() -> None:
    ranks = rank_agents(np.array([[0.0] * TASKS, [1.0] * TASKS]), TEMPLATES)
    assert ranks.low.tolist() == ranks.high.tolist() == [2, 1]
    assert ranks.lead.tolist() == [-1.0, 1.0]


def test_a_lead_in_a_few_templates_separates_nobody() -> None:
    values = np.ones((2, TASKS))
    values[0, :6] = 0
    ranks = rank_agents(values, TEMPLATES)
    assert ranks.low.tolist() == [1, 1]
    assert ranks.high.tolist() == [2, 2]


def test_more_agents_need_larger_differences() -> None:
    values = np.ones((2, TASKS))
    values[0, 10:] = 0
    assert rank_agents(values, TEMPLATES).better[1, 0]
    crowd = np.vstack([values, np.tile(values[1], (60, 1))])
    assert not rank_agents(crowd, TEMPLATES).better[1, 0]


def test_agents_are_compared_on_the_tasks_that_they_share() -> None:
    nothing = np.nan
    values = np.array([[1.0] * 40 + [nothing] * 8, [0.0] * 40 + [1.0] * 8, [nothing] * 40 + [0.0] * 8])
    difference, p = compare_pairs(values, np.arange(TASKS))
    assert difference[0, 1] == 1.0
    assert difference[1, 0] == -1.0
    assert difference[1, 2] == 1.0
    assert np.isnan(difference[0, 2])
    assert np.isnan(p[0, 2])
    ranks = rank_agents(values, np.arange(TASKS))
    assert ranks.better[0, 1]
    assert not ranks.better[0, 2]


@settings(max_examples=EXAMPLES)
@given(
    arrays(np.float64, (2, 14), elements=st.sampled_from([0.0, 0.5, 1.0])),
    arrays(np.intp, 14, elements=st.integers(0, 13)),
)
def test_p_is_never_below_that_of_the_exact_test(values: np.ndarray, templates: np.ndarray) -> None:
    _, p = compare_pairs(values, templates)
    sums = [float((values[0] - values[1])[templates == each].sum()) for each in np.unique(templates)]
    assert p[0, 1] >= sign_flip(sums) - 1e-12


@pytest.mark.slow
def test_one_of_many_boards_without_a_difference_separates_anyone() -> None:
    random = np.random.default_rng(0)
    wrong = sum(rank_agents(1.0 * (random.random((8, TASKS)) < 0.5), TEMPLATES).better.any() for _ in range(300))
    assert wrong <= 300 * 0.05


def test_five_hundred_agents_are_ranked_in_seconds() -> None:
    random = np.random.default_rng(0)
    skill = np.linspace(0.05, 0.95, 500)[:, None]
    start = time.process_time()
    ranks = rank_agents(1.0 * (random.random((500, 400)) < skill), np.arange(400) // 3)
    assert time.process_time() - start < 10
    separated = sum(ranks.better[i, j] for i, j in itertools.combinations(range(499, -1, -1), 2))
    assert separated > 30_000
    assert ranks.low[499] == 1
    assert ranks.high[0] == 500
