import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsafe_envs.stats.intervals import rate
from agentsafe_envs.stats.paired import Difference, difference, tango

TEMPLATE_NAMES = [f"template/{number}" for number in range(6)]

patiently = settings(deadline=None)  # a machine under load is no failure

PAIRS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from(TEMPLATE_NAMES), st.integers(0, 4)),
    min_size=1,
    max_size=40,
)
SHARES = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 50)).filter(lambda t: t[0] + t[1] <= t[2])


def design(templates: int, tasks: int) -> tuple[list[str], list[int]]:
    """Names of a balanced design, one episode a task."""
    names = [f"template/{index:03}" for index in range(templates) for _ in range(tasks)]
    return names, list(range(templates * tasks))


def ends(found: Difference) -> tuple[float, float, float]:
    assert found.estimate is not None
    assert found.low is not None
    assert found.high is not None
    return found.low, found.estimate, found.high


def score_statistic(gained: float, lost: float, n: int, limit: float) -> float:
    """The score statistic at a difference of ``limit``, its likeliest share of losses found by brute force."""
    candidates = np.linspace(max(0.0, -limit), (1 - limit) / 2, 200_001)[1:-1]
    neither = 1 - gained - lost
    likelihood = (
        gained * np.log(candidates + limit) + lost * np.log(candidates) + neither * np.log1p(-2 * candidates - limit)
    )
    share = candidates[np.argmax(likelihood)]
    return n * (gained - lost - limit) ** 2 / (2 * share + limit * (1 - limit))


@pytest.mark.parametrize(("gained", "lost", "n"), [(12, 2, 50), (3, 1, 10), (5, 5, 24), (9, 14, 100)])
def test_tango_limits_solve_the_score_equation(gained: int, lost: int, n: int) -> None:
    for limit in tango(gained / n, lost / n, n):
        assert score_statistic(gained / n, lost / n, n, limit) == pytest.approx(1.959963984540054**2, rel=1e-3)


@pytest.mark.parametrize("n", [1, 8, 24, 400])
def test_tango_of_pairs_that_all_agree_leaves_room_on_both_sides(n: int) -> None:
    room = 1.959963984540054**2 / (n + 1.959963984540054**2)
    assert tango(0.0, 0.0, n) == pytest.approx((-room, room))


@patiently
@given(SHARES)
def test_tango_holds_the_estimate_and_is_turned_round_with_the_pair(shares: tuple[int, int, int]) -> None:
    gained, lost, n = shares
    low, high = tango(gained / n, lost / n, n)
    assert -1 <= low <= gained / n - lost / n <= high <= 1
    assert high > low
    assert tango(lost / n, gained / n, n) == pytest.approx((-high, -low), abs=1e-9)


def test_tango_covers_the_true_difference_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    hits = 0
    for _ in range(2_000):
        gained, lost, _ = random.multinomial(40, [0.25, 0.1, 0.65])
        low, high = tango(gained / 40, lost / 40, 40)
        hits += low <= 0.15 <= high
    assert 0.93 <= hits / 2_000 <= 0.97


@patiently
@given(PAIRS)
def test_difference_lies_in_its_interval_which_has_a_width(pairs: list[tuple[int, int, str, int]]) -> None:
    first, second, templates, tasks = map(list, zip(*pairs, strict=True))
    low, estimate, high = ends(difference(first, second, templates, tasks))
    assert estimate == pytest.approx((sum(second) - sum(first)) / len(first))
    assert -1 <= low <= estimate <= high <= 1
    assert high > low


@patiently
@given(PAIRS)
def test_difference_changes_sign_with_the_order_of_the_two(pairs: list[tuple[int, int, str, int]]) -> None:
    first, second, templates, tasks = map(list, zip(*pairs, strict=True))
    low, estimate, high = ends(difference(first, second, templates, tasks))
    assert ends(difference(second, first, templates, tasks)) == pytest.approx((-high, -estimate, -low), abs=1e-9)


def test_difference_names_the_method() -> None:
    names, keys = design(6, 4)
    half = [index % 2 for index in range(24)]
    assert difference([0] * 24, half, names, keys).method == "bootstrap"
    assert difference(half, half, names, keys).method == "tango-templates"
    assert difference([0] * 24, [1] * 24, names, keys).method == "tango-templates"
    assert difference(half, [0] * 24, ["one"] * 24, keys).method == "tango-templates"
    assert difference([0] * 24, half, [str(key) for key in keys], keys).method == "tango-iid"
    assert difference([], [], [], []) == Difference(None, None, None, 0, "none")


def test_pairing_takes_out_what_both_have_in_common() -> None:
    names, keys = design(12, 4)
    hard = [int(index // 4 % 2 == 0) for index in range(48)]  # half of the templates are hard for both
    better = [value if index % 8 else 1 - value for index, value in enumerate(hard)]
    low, _, high = ends(difference(hard, better, names, keys))
    apart = rate(hard, names, keys)
    assert apart.low is not None
    assert apart.high is not None
    assert high - low < (apart.high - apart.low) / 2


def test_repeating_a_task_makes_no_difference_more_certain() -> None:
    names, keys = design(6, 2)
    values = [0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0]
    once = difference([0] * 12, values, names, keys)
    often = difference([0] * 108, values * 9, names * 9, keys * 9)
    assert (once.method, often.method) == ("bootstrap", "bootstrap")
    assert ends(often) == ends(once)


@pytest.mark.parametrize(("first", "second"), [([2], [0]), ([0], [2]), ([-1], [0]), ([0, 1], [0])])
def test_difference_refuses_what_is_no_pair_of_events(first: list[int], second: list[int]) -> None:
    with pytest.raises(ValueError, match="expected"):
        difference(first, second, ["a"], [0])
