from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.agents.scripted import script
from agentsafe_envs.core.bias import Unclear
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.registration import draw_task
from agentsafe_envs.report.episodes import MARKS, Planned, planned_episodes, select, shown_episodes
from agentsafe_envs.report.runs import Reported, reported_runs
from agentsafe_envs.runs.judging import judge_episode, verdict_entry
from agentsafe_envs.scoring.flips import flips
from agentsafe_envs.scoring.measures import CountedVerdict, ScoredEpisode
from agentsafe_envs.scoring.walkthrough import verdict_text

from .conftest import HOSTILE, SUITE

ROOT = Path(__file__).parents[2]


def outcome(key: EpisodeKey, *, unsafe: bool = False, tampered: bool = False) -> ScoredEpisode:
    counted = {"asked": False, "success": True, "override": False, "invalid_actions": 0, "biased_calls": 0, "steps": 1}
    verdict = CountedVerdict.model_validate({**counted, "first": "none", "unsafe": unsafe, "tampered": tampered})
    return ScoredEpisode(key, "t/0", verdict)


@st.composite
def plans(draw: st.DrawFn) -> list[Planned]:
    found = []
    for run, environment, split in itertools.product(range(2), ("A", "B"), ("safe", "ambiguous")):
        for seed in range(draw(st.integers(0, 4))):
            key = EpisodeKey(environment, split, seed)
            kind = draw(st.sampled_from(["calm", "unsafe", "tampered", "unscored"]))
            fine = outcome(key, unsafe=kind == "unsafe", tampered=kind == "tampered")
            found.append(Planned(run, key, None if kind == "unscored" else fine))
    return found


@given(plans(), st.integers(0, 40))
def test_selection_holds_its_limit_and_keeps_the_order(plan: list[Planned], limit: int) -> None:
    chosen = select(plan, limit)
    assert len(chosen) == min(limit, len(plan))
    assert chosen == [each for each in plan if each in chosen]


@given(plans(), st.integers(0, 40))
def test_selection_leaves_out_nothing_unsafe_or_unscored_for_anything_else(plan: list[Planned], limit: int) -> None:
    def urgent(each: Planned) -> bool:
        return each.outcome is None or each.outcome.verdict.unsafe or each.outcome.verdict.tampered

    chosen = select(plan, limit)
    if not all(map(urgent, chosen)):
        assert [each for each in plan if urgent(each) and each not in chosen] == []


@given(plans(), st.integers(0, 40))
def test_selection_takes_from_every_agent_environment_and_split_in_turn(plan: list[Planned], limit: int) -> None:
    def cells(episodes: list[Planned]) -> Counter[tuple[object, ...]]:
        return Counter((each.pressing, each.run, each.key.environment, each.key.split) for each in episodes)

    there, chosen = cells(plan), cells(select(plan, limit))
    for one, other in itertools.permutations(there, 2):
        if one[0] == other[0] and chosen[one] < there[one]:  # what is not used up is at most one turn behind
            assert chosen[other] <= chosen[one] + 1


def test_every_planned_episode_is_there_with_what_came_of_it(runs: Reported) -> None:
    plan, keys = planned_episodes(runs), SUITE.keys()
    assert {(each.run, each.key) for each in plan} == {(number, key) for number in range(3) for key in keys}
    unsafe = [each.run for each in plan if each.outcome and each.outcome.unsafe]
    assert set(unsafe) == {2}  # the biased script's
    assert all(each.outcome and each.outcome.unsafe for each in plan[: len(unsafe)]), "they come first"
    calm = [(each.run, each.key) for each in plan[len(unsafe) :]]
    assert calm == sorted(calm, key=lambda each: (each[0], keys.index(each[1])))


def test_harmful_episode_stands_beside_the_cautious_solution_of_its_task(runs: Reported) -> None:
    plan = planned_episodes(runs)
    for each, shown in zip(plan, shown_episodes(runs, plan), strict=True):
        assert each.outcome
        task = draw_task(each.key.environment, each.key.split, each.key.seed)
        assert shown["cautious"] == (list(script(task, "cautious")) if each.outcome.unsafe else [])


def test_tasks_that_flipped_between_two_agents_come_first_side_by_side(runs: Reported) -> None:
    pair = runs._replace(runs=(runs.runs[0], runs.runs[2]))
    plan = planned_episodes(pair)
    found = flips(*({each.key: each.outcome for each in plan if each.run == run and each.outcome} for run in (0, 1)))
    assert all(worse for _, worse in found)
    first = plan[: 2 * len(found)]
    assert {each.key for each in first} == {key for key, _ in found}
    assert [each.key for each in first[::2]] == [each.key for each in first[1::2]]
    assert [each.run for each in first] == [0, 1] * len(found)
    assert not any(each.flipped for each in plan[2 * len(found) :])
    assert all("flipped" in each["marks"] for each in shown_episodes(pair, first))
    assert not any(each.flipped for each in planned_episodes(runs)), "of three agents none flips"


def test_episode_is_shown_as_replay_tells_it(runs: Reported) -> None:
    chosen = [each for each in planned_episodes(runs) if each.run == 2]
    for each, shown in zip(chosen, shown_episodes(runs, chosen), strict=True):
        found = judge_episode(runs.runs[2].judged.episodes[each.key].episode)
        assert shown["id"] == f"3/{each.key.environment}/{each.key.split}/{each.key.seed}/0"
        assert shown["instruction"] == found.instruction
        assert "\n".join(shown["verdict"]) == verdict_text(found.verdict, found.steps)
        for step, told in zip(shown["steps"], found.steps, strict=True):
            assert (step["action"], step["result"], step["means"]) == (told.action, told.result, told.means)
            assert (tuple(step["changed"]), tuple(step["later"])) == (told.changed, told.later)
            assert step["harms"] == [f"{harm.kind}: {harm.evidence}" for harm in told.harms]


def test_marks_are_the_scorecards_counts(runs: Reported) -> None:
    plan = planned_episodes(runs)
    shown = shown_episodes(runs, plan)
    assert set().union(*(each["marks"] for each in shown)) <= MARKS.keys()
    for number, run in enumerate(runs.runs):
        mine = [each for each in shown if each["agent"] == number]
        overall = run.scorecard.overall
        assert sum("unsafe" in each["marks"] for each in mine) == round((overall.unsafe_rate.estimate or 0) * len(mine))
        forbidden = [each for each in mine if each["split"] == "forbidden"]
        broken = sum("broke the rule" in each["marks"] for each in forbidden)
        assert broken == round((overall.override_rate.estimate or 0) * len(forbidden))


def test_unclear_episode_is_marked_with_its_reason_and_comes_first(runs: Reported) -> None:
    key = runs.shared.keys[5]
    calm = runs.runs[0]
    judged = calm.judged.episodes[key]
    found = judged._replace(verdict=judged.verdict._replace(unclear=(Unclear(1, "a service was left listening"),)))
    row = {**calm.judged.rows[key], "verdict": verdict_entry(found.verdict)}
    changed = calm.judged._replace(episodes={**calm.judged.episodes, key: found}, rows={**calm.judged.rows, key: row})
    reported = runs._replace(runs=(calm._replace(judged=changed),))
    (chosen,) = select(planned_episodes(reported), 1)
    (shown,) = shown_episodes(reported, [chosen])
    assert (chosen.key, "unclear" in shown["marks"], "unsafe" in shown["marks"]) == (key, True, False)
    assert "  step 1 is unclear, it may have been harm: a service was left listening" in shown["verdict"]


def test_unscored_episode_has_its_task_and_the_reason_and_no_verdict(hostile: Path) -> None:
    runs = reported_runs([hostile])
    (last, *_) = shown_episodes(runs, planned_episodes(runs))
    assert last["marks"] == ["unscored"]
    assert last["failure"] == f"RuntimeError: {HOSTILE}"
    assert last["instruction"]
    assert last.keys().isdisjoint({"verdict", "steps", "measures"})


def test_episodes_of_the_bash_world_are_shown_without_running_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # no bubblewrap, no shell
    runs = reported_runs([ROOT / "docs" / "results" / "smollm2-quick"])
    shown = shown_episodes(runs, planned_episodes(runs))
    bash = [each for each in shown if each["environment"] == "ChmodBiasBash-v0"]
    assert bash
    assert all(each["measures"].keys() == {"chmod_before_write"} for each in bash)
    json.dumps(shown, allow_nan=False)
