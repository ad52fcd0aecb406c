from __future__ import annotations

import re
from typing import Any

import pytest

from agentsafe_envs.agents.scripted import policies, script
from agentsafe_envs.cli.app import scoring as commands
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.registration import MAX_EPISODE_STEPS, NAMESPACE, TABLE, draw_task, resolve
from agentsafe_envs.scoring.suites import HEADLINE, SUITES, Suite, choose

IDS = tuple(row.id for row in TABLE)
each_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES.keys())


@each_suite
def test_suite_plays_every_split_of_its_environments_on_public_tasks(suite: Suite) -> None:
    keys = suite.keys()
    assert {key[:2] for key in keys} == {(env_id, split) for env_id in suite.environments for split in SPLITS}
    assert (suite.pool, suite.first_seed) == ("public", 0)


def test_quick_suite_plays_the_headline_environments_and_the_others_all() -> None:
    assert {name: suite.environments for name, suite in SUITES.items()} == {
        "quick": HEADLINE,
        "standard": IDS,
        "full": IDS,
    }
    assert set(HEADLINE) <= set(IDS)


@each_suite
def test_keys_are_unique_and_count_tasks_and_trials(suite: Suite) -> None:
    keys = suite.keys()
    assert len(set(keys)) == len(keys) == len(suite.environments) * suite.trials * sum(suite.tasks.values())


@each_suite
def test_every_script_fits_into_the_steps(suite: Suite) -> None:
    assert suite.max_steps <= MAX_EPISODE_STEPS
    scripted = [policy for policy in policies() if policy != "random"]
    every = suite._replace(environments=IDS).keys()
    for key in {key._replace(trial=0) for key in every}:
        task = draw_task(key.environment, key.split, key.seed)
        assert max(len(script(task, policy)) for policy in scripted) <= suite.max_steps


@pytest.mark.parametrize("name", ["standard", "full"])
@pytest.mark.parametrize("env_id", IDS)
def test_larger_suites_visit_24_ambiguous_templates(name: str, env_id: str) -> None:
    keys = SUITES[name].keys()
    seeds = [key.seed for key in keys if (key.environment, key.split) == (env_id, "ambiguous")]
    templates = {draw_task(env_id, "ambiguous", seed).template for seed in seeds}
    assert len(templates) >= min(24, len(resolve(env_id)[1].templates("public")))


def test_help_counts_the_episodes_of_each_suite() -> None:
    text = str(commands.score.__annotations__["suite"])
    said = {name: int(number) for name, number in re.findall(r"(quick|standard|full) \((\d+)", text)}
    assert said == {name: sum(suite.tasks.values()) for name, suite in SUITES.items()}
    assert SUITES["full"].trials == 3, "the help says `three times`"


CHANGES: list[dict[str, Any]] = [
    {"name": "other"},
    {"tasks": {"ambiguous": 9}},
    {"trials": 2},
    {"max_steps": 7},
    {"environments": ("DeleteBiasAPI-v0", "agentsafe/DeleteBiasAPI-v0")},
    {"pool": "dev"},
    {"first_seed": 1},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_digest_changes_with_everything_that_decides_the_tasks(change: dict[str, Any]) -> None:
    suite = SUITES["quick"]
    other, record = suite._replace(**change).record(), suite.record()
    assert other.digest != record.digest
    assert (set(other.environments.values()) == set(record.environments.values())) == ("name" in change)
    assert {next(iter(each)) for each in CHANGES} == set(Suite._fields)


def test_digest_of_an_environment_does_not_depend_on_the_others() -> None:
    alone, among = choose("quick", environments=[IDS[0]]).record(), choose("quick", environments=IDS).record()
    assert alone.environments == {IDS[0]: among.environments[IDS[0]]}
    assert tuple(among.environments) == IDS


def test_record_is_the_same_for_equal_suites() -> None:
    assert choose("quick").record() == SUITES["quick"].record()
    assert choose("quick").record().name == "quick"


def test_narrowing_keeps_only_what_was_asked_for() -> None:
    suite = choose("standard", environments=[IDS[0]], split="safe", episodes=3, first_seed=5, pool="dev")
    assert suite.keys() == [(IDS[0], "safe", seed, 0) for seed in (5, 6, 7)]
    assert suite.pool == "dev"


def test_number_of_episodes_holds_for_each_split() -> None:
    assert choose("quick", episodes=4).tasks == dict.fromkeys(SUITES["quick"].tasks, 4)


def test_environment_named_twice_is_played_once() -> None:
    once = choose("quick", environments=[IDS[0]])
    assert choose("quick", environments=[IDS[0], f"{NAMESPACE}/{IDS[0]}", IDS[0]]) == once


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"name": "huge"}, "no suite 'huge', expected one of quick, standard, full"),
        ({"environments": ["X-v0"]}, f"no environment 'X-v0', expected one of .*{IDS[0]}"),
        ({"split": "x"}, "no split 'x', expected one of safe, ambiguous, required, forbidden"),
        ({"episodes": 0}, "episodes is 0, expected 1 or more"),
        ({"first_seed": -1}, "seed is -1, expected 0 or more"),
    ],
)
def test_wrong_wish_is_refused_with_what_there_is(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        choose(**{"name": "quick", **arguments})
