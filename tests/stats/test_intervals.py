import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsafe_envs.stats.intervals import (
    NO_DATA,
    Estimate,
    mean,
    poisson_score,
    rate,
    ratio,
    wilson,
    worst_case,
)

TEMPLATE_NAMES = [f"template/{number}" for number in range(6)]
EPISODES = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from(TEMPLATE_NAMES), st.integers(0, 4)), min_size=1, max_size=40
)
COUNTED = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(TEMPLATE_NAMES), st.integers(0, 4)), min_size=1, max_size=40
)

patiently = settings(deadline=None)  # a machine under load is no failure


def design(templates: int, tasks: int) -> tuple[list[str], list[int]]:
    """Names of a balanced design, one episode a task."""
    names = [f"template/{index:03}" for index in range(templates) for _ in range(tasks)]
    return names, list(range(templates * tasks))


def coverage(templates: int, tasks: int, probability: float, correlation: float, rounds: int = 400) -> float:
    """Share of beta-binomial data sets whose interval holds the true rate."""
    random = np.random.default_rng(templates * tasks)
    spread = (1 - correlation) / correlation
    names, keys = design(templates, tasks)
    hits = 0
    for _ in range(rounds):
        each = random.beta(probability * spread, (1 - probability) * spread, size=templates)
        estimate = rate(random.random(templates * tasks) < np.repeat(each, tasks), names, keys)
        assert estimate.low is not None
        assert estimate.high is not None
        hits += estimate.low <= probability <= estimate.high
    return hits / rounds


def width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


# Newcombe (1998), Statistics in Medicine 17:857, table I, method 3; 0/10 and 5/10 by hand.
@pytest.mark.parametrize(
    ("events", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
    ],
)
def test_wilson_gives_published_limits(events: int, n: int, low: float, high: float) -> None:
    assert wilson(events / n, n) == pytest.approx((low, high), abs=5e-5)


@patiently
@given(st.integers(1, 500), st.integers(0, 500))
def test_wilson_limits_solve_the_score_equation(n: int, events: int) -> None:
    share = min(events, n) / n
    for limit in wilson(share, n):
        z_squared = 1.959963984540054**2
        assert n * (share - limit) ** 2 == pytest.approx(z_squared * limit * (1 - limit), abs=1e-9)


def test_poisson_score_limits_solve_the_score_equation() -> None:
    for limit in poisson_score(2.5, 8):
        assert 8 * (2.5 - limit) ** 2 == pytest.approx(1.959963984540054**2 * limit)


@pytest.mark.parametrize("templates", range(1, 60))
def test_poisson_score_of_no_events_starts_at_exactly_zero(templates: int) -> None:
    assert poisson_score(0.0, templates)[0] == 0.0


def test_poisson_score_of_no_events_leaves_room_above_zero() -> None:
    assert poisson_score(0.0, 24) == pytest.approx((0.0, 0.16006), abs=1e-5)


@patiently
@given(EPISODES)
def test_rate_lies_in_its_interval_and_counts_every_episode(episodes: list[tuple[int, str, int]]) -> None:
    values, templates, tasks = map(list, zip(*episodes, strict=True))
    result = rate(values, templates, tasks)
    assert result.estimate == pytest.approx(sum(values) / len(values))
    assert result.n == len(values)
    assert result.low is not None
    assert result.high is not None
    assert 0 <= result.low <= result.estimate <= result.high <= 1


@patiently
@given(EPISODES)
def test_interval_of_a_rate_never_has_zero_width(episodes: list[tuple[int, str, int]]) -> None:
    values, templates, tasks = map(list, zip(*episodes, strict=True))
    assert width(rate(values, templates, tasks)) > 0


@patiently
@given(st.data(), EPISODES)
def test_order_of_rows_does_not_matter(data: st.DataObject, episodes: list[tuple[int, str, int]]) -> None:
    shuffled = data.draw(st.permutations(episodes))
    assert rate(*zip(*shuffled, strict=True)) == rate(*zip(*episodes, strict=True))


@patiently
@given(EPISODES)
def test_rate_of_the_opposite_event_mirrors_the_interval(episodes: list[tuple[int, str, int]]) -> None:
    values, templates, tasks = map(list, zip(*episodes, strict=True))
    result = rate(values, templates, tasks)
    opposite = rate([1 - value for value in values], templates, tasks)
    assert result.low is not None
    assert result.high is not None
    assert opposite.method == result.method
    assert (opposite.low, opposite.high) == pytest.approx((1 - result.high, 1 - result.low))


@patiently
@given(COUNTED)
def test_mean_count_lies_in_its_interval(episodes: list[tuple[int, str, int]]) -> None:
    values, templates, tasks = map(list, zip(*episodes, strict=True))
    result = mean(values, templates, tasks)
    assert result.estimate == pytest.approx(sum(values) / len(values))
    assert result.n == len(values)
    assert result.low is not None
    assert result.high is not None
    assert 0 <= result.low <= result.estimate <= result.high
    assert result.low < result.high


@patiently
@given(COUNTED)
def test_ratio_is_the_share_of_the_sums(episodes: list[tuple[int, str, int]]) -> None:
    below, templates, tasks = map(list, zip(*episodes, strict=True))
    above = [count // 2 for count in below]
    result = ratio(above, below, templates, tasks)
    assert result.n == sum(count > 0 for count in below)
    if sum(below) == 0:
        assert result == NO_DATA
    else:
        assert result.estimate == pytest.approx(sum(above) / sum(below))
        assert result.low is not None
        assert result.high is not None
        assert 0 <= result.low <= result.estimate <= result.high <= 1


@patiently
@given(EPISODES)
def test_twice_as_many_templates_do_not_widen_the_interval_much(episodes: list[tuple[int, str, int]]) -> None:
    values, templates, tasks = map(list, zip(*episodes, strict=True))
    copies = [*templates, *(f"copy of {name}" for name in templates)]
    once = rate(values, templates, tasks)
    twice = rate(values * 2, copies, tasks * 2)
    if once.method == twice.method:
        assert width(twice) <= 1.05 * width(once)


@pytest.mark.parametrize(
    ("probability", "correlation"), [(0.05, 0.2), (0.1, 0.5), (0.3, 0.05), (0.3, 0.2), (0.5, 0.5), (0.9, 0.2)]
)
def test_bootstrap_of_24_templates_covers_the_true_rate(probability: float, correlation: float) -> None:
    assert coverage(24, 4, probability, correlation) >= 0.88


def test_bootstrap_of_12_templates_still_covers_at_moderate_correlation() -> None:
    assert coverage(12, 8, 0.3, 0.2) >= 0.88


def test_bootstrap_agrees_with_resampling_written_as_loops() -> None:
    names, keys = design(templates=8, tasks=3)
    random = np.random.default_rng(3)
    values = random.random(24) < np.repeat(random.random(8), 3)
    table = values.reshape(8, 3)
    naive = [
        np.mean([random.choice(table[template], 3) for template in random.integers(8, size=8)]) for _ in range(4_000)
    ]
    result = rate(values, names, keys)
    assert result.method == "bootstrap"
    assert (result.low, result.high) == pytest.approx(np.quantile(naive, [0.025, 0.975]), abs=0.045)


def test_interval_widens_when_outcomes_cluster_by_template() -> None:
    names, keys = design(templates=12, tasks=4)
    mixed = rate([0, 1, 0, 1] * 12, names, keys)
    clustered = rate(([0] * 4 + [1] * 4) * 6, names, keys)
    assert width(clustered) > 1.5 * width(mixed)


def test_repeating_every_trial_does_not_narrow_the_interval() -> None:
    names, keys = design(templates=6, tasks=4)
    values = [index % 3 == 0 for index in range(24)]
    once = rate(values, names, keys)
    thrice = rate(values * 3, names * 3, keys * 3)
    assert (thrice.low, thrice.high) == (once.low, once.high)
    assert thrice.n == 3 * once.n


def test_templates_seen_once_give_wilson_over_episodes() -> None:
    names, keys = design(templates=10, tasks=1)
    assert rate([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], names, keys) == Estimate(0.3, *wilson(0.3, 10), 10, "wilson-iid")


@pytest.mark.parametrize("outcome", [0, 1])
def test_equal_outcomes_count_templates_instead_of_episodes(outcome: int) -> None:
    names, keys = design(templates=6, tasks=4)
    expected = Estimate(outcome, *wilson(outcome, 6), 24, "wilson-templates")
    assert rate([outcome] * 24, names, keys) == expected


def test_tasks_that_all_split_evenly_do_not_collapse_the_interval() -> None:
    names, keys = design(templates=6, tasks=2)
    result = rate([0] * 12 + [1] * 12, names * 2, keys * 2)
    assert result == Estimate(0.5, *wilson(0.5, 6), 24, "wilson-templates")


def test_a_single_template_counts_as_one_observation() -> None:
    assert rate([1, 0, 1, 0], ["one"] * 4, [0, 1, 2, 3]) == Estimate(0.5, *wilson(0.5, 1), 4, "wilson-templates")


def test_conditional_rate_with_templates_met_once_is_wilson_among_those() -> None:
    names, keys = design(templates=4, tasks=2)
    result = ratio([1, 0, 0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0, 0, 0], names, keys)
    assert result == Estimate(0.5, *wilson(0.5, 2), 2, "wilson-iid")


def test_conditional_rate_without_any_condition_met_has_no_data() -> None:
    assert ratio([0, 0], [0, 0], ["a", "b"], [0, 1]) == NO_DATA


def test_counts_of_templates_seen_once_are_bootstrapped() -> None:
    names, keys = design(templates=6, tasks=1)
    assert mean([0, 1, 2, 3, 4, 5], names, keys).method == "bootstrap"


def test_equal_counts_get_a_poisson_interval_over_templates() -> None:
    names, keys = design(templates=6, tasks=4)
    assert mean([2] * 24, names, keys) == Estimate(2.0, *poisson_score(2.0, 6), 24, "poisson-templates")


def test_no_episodes_give_no_estimate() -> None:
    assert rate([], [], []) == mean([], [], []) == Estimate(None, None, None, 0, "none")


def test_worst_case_counts_unscored_episodes_both_ways() -> None:
    estimate = rate([1, 1, 0, 0, 0, 0, 0, 0], *design(templates=8, tasks=1))
    assert worst_case(estimate, unscored=2) == pytest.approx((0.2, 0.4))


@patiently
@given(EPISODES, st.integers(0, 20))
def test_worst_case_holds_the_estimate(episodes: list[tuple[int, str, int]], unscored: int) -> None:
    estimate = rate(*zip(*episodes, strict=True))
    assert estimate.estimate is not None
    low, high = worst_case(estimate, unscored)
    assert 0 <= low <= estimate.estimate + 1e-12
    assert estimate.estimate - 1e-12 <= high <= 1


def test_worst_case_without_a_scored_episode_is_everything() -> None:
    assert worst_case(NO_DATA, unscored=3) == (0.0, 1.0)


@pytest.mark.parametrize("values", [[2, 0], [-1, 0], [0.5, 0], [float("nan"), 0]])
def test_values_that_are_no_events_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        rate(values, ["a", "b"], [0, 1])


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 values, 1 templates"):
        ratio([1, 0], [1, 1], ["a"], [0])


def test_an_event_outside_the_condition_is_refused() -> None:
    with pytest.raises(ValueError, match="denominator is 0"):
        ratio([1, 0], [0, 1], ["a", "b"], [0, 1])
