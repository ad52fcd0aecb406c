from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs import Episode, judge
from agentsafe_envs.agents import AgentError, AgentOptions, Conversation
from agentsafe_envs.agents.scripted import ALWAYS, ScriptedAgent, alternatives, policies
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.registration import TABLE
from agentsafe_envs.runs.judging import verdict_entry
from agentsafe_envs.runs.rows import ROWS_FILE, RUN_FILE, RowStoreError, read_failures, read_rows
from agentsafe_envs.scoring import rollout
from agentsafe_envs.scoring.rollout import (
    SCORECARD_FILE,
    default_directory,
    group_seed,
    groups,
    play,
    play_suite,
    run_at_another_address,
    score_agent,
)
from agentsafe_envs.scoring.scorecard import EnvironmentScore, Scorecard
from agentsafe_envs.scoring.suites import SUITES, Shard, Suite, choose

SUBMIT = '{"name": "submit", "arguments": {}}'
ENV = TABLE[0].id
QUICK = choose("quick", environments=[ENV])
STANDARD = choose("standard", environments=[ENV]).keys()
FEW = SUITES["standard"]._replace(tasks={"ambiguous": 4, "safe": 1, "required": 2, "forbidden": 2})
"""A few tasks of every split."""


class Actor:
    """Plays ``choose`` in groups and remembers what it was shown."""

    name = "python:actor:make"

    def __init__(self, choose: Callable[[Conversation], str] = lambda _: SUBMIT, group_size: int = 1) -> None:
        self.group_size = group_size
        self.choose = choose
        self.started: list[int] = []
        self.shown: list[list[int]] = []

    def start(self, seed: int) -> None:
        self.started.append(seed)

    def act(self, conversations: Sequence[Conversation]) -> list[str]:
        self.shown.append([len(each.steps) for each in conversations])
        return [self.choose(each) for each in conversations]

    def describe(self) -> dict[str, Any]:
        return {"group_size": self.group_size}


@pytest.fixture
def hire(monkeypatch: pytest.MonkeyPatch) -> Callable[[Actor], Actor]:
    """Let ``score_agent`` load this actor, whatever it is asked for."""

    def hire(actor: Actor) -> Actor:
        monkeypatch.setattr(rollout, "load_agent", lambda *_, **__: actor)
        return actor

    return hire


def keys(*seeds: int, split: str = "ambiguous") -> tuple[EpisodeKey, ...]:
    return tuple(EpisodeKey(ENV, split, seed) for seed in seeds)


# Groups and play.


@pytest.mark.parametrize("size", [1, 3, 8, 1_000])
def test_groups_hold_every_episode_once_and_never_two_splits(size: int) -> None:
    found = groups(SUITES["full"], size)
    assert [key for group in found for key in group] == SUITES["full"].keys()
    assert all(len(group) <= size and len({key[:2] for key in group}) == 1 for group in found)


def test_group_is_played_side_by_side() -> None:
    patience = {0: 0, 1: 2, 2: 1}

    def choose(conversation: Conversation) -> str:
        return SUBMIT if len(conversation.steps) == patience[seats.index(conversation)] else "wait"

    class Seated(Actor):
        def act(self, conversations: Sequence[Conversation]) -> list[str]:
            seats.extend(each for each in conversations if each not in seats)
            return super().act(conversations)

    seats: list[Conversation] = []
    actor = Seated(choose, group_size=3)
    rows = play(actor, keys(4, 5, 6))
    assert actor.started == [group_seed(keys(4, 5, 6))]
    assert actor.shown == [[0, 0, 0], [1, 1], [2]]
    assert [row["key"]["seed"] for row in rows] == [4, 5, 6]
    assert [row["verdict"]["steps"] for row in rows] == [1, 3, 2]


def test_episode_ends_after_the_most_steps() -> None:
    (row,) = play(Actor(lambda _: "wait"), keys(0), max_steps=5)
    assert (row["verdict"]["steps"], row["episode"]["terminated"]) == (5, False)


def test_agent_sees_the_conversation_and_no_more() -> None:
    seen: list[Conversation] = []
    play(Actor(lambda conversation: seen.append(conversation) or SUBMIT), keys(0, split="forbidden"))
    shown = json.dumps([seen[0].instruction, seen[0].tools])
    assert not [word for word in ("forbidden", "ambiguous", "seed", "verdict", "template") if word in shown]
    assert {each.name for each in fields(Conversation)} == {"instruction", "tools", "steps", "usage"}


def test_agent_that_changes_what_it_is_shown_changes_nothing_else() -> None:
    def vandal(conversation: Conversation) -> str:
        for tool in conversation.tools:
            tool["function"].clear()  # type: ignore[union-attr]
        conversation.steps.clear()
        return SUBMIT

    before = play(ScriptedAgent("biased"), keys(0))
    play(Actor(vandal), keys(0))
    assert play(ScriptedAgent("biased"), keys(0)) == before


def test_row_holds_key_template_verdict_and_episode() -> None:
    (row,) = play(ScriptedAgent("biased"), keys(0))
    assert row.keys() == {"key", "template", "verdict", "episode"}
    assert json.loads(json.dumps(row))["verdict"]["first"] == "biased"


@pytest.mark.parametrize("actions", [[], [SUBMIT, SUBMIT]])
def test_wrong_number_of_actions_is_an_error(actions: list[str]) -> None:
    actor = Actor()
    actor.act = lambda conversations: actions  # type: ignore[method-assign]
    with pytest.raises(AgentError, match=f"{len(actions)} actions for 1 conversations"):
        play(actor, keys(0))


# Scripted agents are the ends of the scale.

needs_every_world = pytest.mark.needs("bubblewrap")


@pytest.fixture(params=[FEW, pytest.param(SUITES["standard"], marks=pytest.mark.slow)], ids=["few", "standard"])
def suite(request: pytest.FixtureRequest) -> Suite:
    return request.param


def splits(card: Scorecard) -> Iterator[tuple[str, EnvironmentScore]]:
    yield from ((score.split, score) for score in card.environments)


@needs_every_world
def test_biased_agent_scores_one_wherever_the_bias_counts(suite: Suite, tmp_path: Path) -> None:
    for split, score in splits(score_agent("scripted:biased", suite, tmp_path)):
        acting = float(split != "safe")
        assert score.success_rate.estimate == 1.0
        assert score.biased_first_rate.estimate == score.acted_rate.estimate == acting
        assert score.unsafe_rate.estimate == float(split in ("ambiguous", "forbidden"))
        assert score.override_rate is None or score.override_rate.estimate == 1.0


@needs_every_world
@pytest.mark.parametrize(
    "policy",
    # Each alternative is played in each of its scenarios by tests/test_tasks.py, too.
    ["cautious", *(pytest.param(name, marks=pytest.mark.slow) for name in policies()[len(ALWAYS) :])],
)
def test_other_means_score_zero_wherever_the_bias_counts(suite: Suite, policy: str, tmp_path: Path) -> None:
    knowing = tuple(row.id for row in TABLE if policy == "cautious" or policy in alternatives(row.id))
    for split, score in splits(score_agent(f"scripted:{policy}", suite._replace(environments=knowing), tmp_path)):
        assert score.unsafe_rate.estimate == 0.0
        assert score.override_rate is None or score.override_rate.estimate == 0.0
        if split != "required":
            assert score.safe_success_rate.estimate == 1.0
            assert score.biased_first_rate.estimate == 0.0
        if policy == "cautious":
            assert score.safe_success_rate.estimate == 1.0


@needs_every_world
def test_null_agent_does_nothing_and_gets_nothing(suite: Suite, tmp_path: Path) -> None:
    for split, score in splits(score_agent("scripted:null", suite, tmp_path)):
        assert score.success_rate.estimate == score.acted_rate.estimate == 0.0
        assert score.unsafe_rate.estimate == (0.0 if split == "safe" else None)


@needs_every_world
def test_random_agent_is_scored_and_rarely_succeeds(tmp_path: Path) -> None:
    overall = score_agent("scripted:random", FEW, tmp_path).overall
    assert (overall.unscored, overall.valid) == (0, True)
    assert (overall.safe_success_rate.estimate or 0) < 0.2


# Failures.


def fails_on(number: int, error: BaseException) -> Callable[[Conversation], str]:
    """Raises at the ``number``-th call only."""
    calls = iter(range(10_000))

    def choose(conversation: Conversation) -> str:
        if next(calls) == number:
            raise error
        return SUBMIT

    return choose


def test_failure_leaves_its_group_unscored_and_the_scorecard_invalid(hire: Any, tmp_path: Path) -> None:
    hire(Actor(fails_on(3, AgentError("out of memory"))))
    told: list[Any] = []
    card = score_agent("any", QUICK, tmp_path, on_failure=lambda group, error: told.append((group, str(error))))
    assert told == [((QUICK.keys()[3],), "AgentError: out of memory")]
    assert (card.overall.unscored, card.overall.valid) == (1, False)
    (failure,) = read_failures(tmp_path)
    assert (failure["key"], failure["message"]) == (QUICK.keys()[3]._asdict(), "out of memory")
    assert failure["places"][-1].endswith(" in choose")
    assert any("agentsafe_envs/scoring/playing.py:" in place for place in failure["places"])
    assert len(read_rows(tmp_path)) == len(QUICK.keys()) - 1


def test_failure_takes_the_whole_group_with_it(hire: Any, tmp_path: Path) -> None:
    hire(Actor(fails_on(1, ZeroDivisionError("x")), group_size=4))
    assert score_agent("any", QUICK, tmp_path).overall.unscored == 4
    assert [failure["key"] for failure in read_failures(tmp_path)] == [key._asdict() for key in QUICK.keys()[:4]]


class Fragile(Actor):
    """Has an exception instead of an action at the second step of the conversation that stands at ``place``."""

    def __init__(self, place: int, error: BaseException) -> None:
        super().__init__(lambda _: "wait", group_size=4)
        self.place, self.error = place, error

    def act(self, conversations: Sequence[Conversation]) -> list[Any]:
        actions: list[Any] = super().act(conversations)
        if len(conversations) == 4 and len(conversations[0].steps) == 1:
            actions[self.place] = self.error
        return actions


def test_exception_in_place_of_an_action_costs_one_episode(hire: Any, tmp_path: Path) -> None:
    actor = hire(Fragile(2, TimeoutError("no answer in 60 s")))
    suite = choose("quick", environments=[ENV], split="ambiguous", episodes=4)._replace(max_steps=3)
    card = score_agent("any", suite, tmp_path)
    assert actor.shown == [[0] * 4, [1] * 4, [2] * 3]
    assert [row["key"]["seed"] for row in read_rows(tmp_path)] == [0, 1, 3]
    assert [(each["key"]["seed"], each["error"]) for each in read_failures(tmp_path)] == [(2, "TimeoutError")]
    assert card.overall.unscored == 1
    assert {row["verdict"]["steps"] for row in read_rows(tmp_path)} == {3}


def test_group_is_played_again_for_an_episode_that_failed_and_keeps_the_other_rows(hire: Any, tmp_path: Path) -> None:
    suite = choose("quick", environments=[ENV], split="ambiguous", episodes=4)._replace(max_steps=3)
    hire(Fragile(2, TimeoutError("no answer in 60 s")))
    score_agent("any", suite, tmp_path)
    rows = (tmp_path / ROWS_FILE).read_bytes()
    actor = hire(Actor(group_size=4))
    assert score_agent("any", suite, tmp_path).overall.valid
    assert actor.started == [group_seed(tuple(suite.keys()))]
    assert (tmp_path / ROWS_FILE).read_bytes().startswith(rows)


class Service(Actor):
    """Is asked conversation by conversation."""

    def describe(self) -> dict[str, Any]:
        return {"agent": "openai", "group_size": self.group_size}


def test_service_is_asked_again_for_nothing_but_what_is_missing(hire: Any, tmp_path: Path) -> None:
    hire(Service(fails_on(1, AgentError("overloaded")), group_size=4))
    score_agent("any", QUICK, tmp_path)
    with (tmp_path / ROWS_FILE).open("rb+") as rows:
        rows.truncate(len(rows.read()) - 1)  # tears the last row
    actor = hire(Service(group_size=3))
    card = score_agent("any", QUICK, tmp_path)
    assert sum(map(len, actor.shown)) == 5
    assert max(map(len, actor.shown)) == 3
    assert card.overall.valid
    assert card.agent.varied == {"group_size": [4, 3]}


class NoKeyError(Exception):
    hopeless = True


def test_failure_that_cannot_heal_ends_the_run_and_keeps_the_rows(hire: Any, tmp_path: Path) -> None:
    actor = hire(Actor(fails_on(3, NoKeyError("the key is refused"))))
    played = play_suite("any", QUICK, tmp_path)
    assert played.stopped == "stopped, since no further try can mend this: the key is refused"
    assert len(actor.started) == 4
    assert (len(read_rows(tmp_path)), played.unscored) == (3, 11)


def test_run_gives_up_after_the_most_failures(hire: Any, tmp_path: Path) -> None:
    calls = iter(range(100))

    def choose_move(_: Conversation) -> str:
        if next(calls) % 2:
            raise AgentError("overloaded")
        return SUBMIT

    actor = hire(Actor(choose_move))
    played = play_suite("any", QUICK, tmp_path, max_failures=3)
    assert played.stopped == "stopped after 3 failed episodes (--max-failures 3)"
    assert len(actor.started) == 6
    assert len(read_rows(tmp_path)) == 3


def test_run_that_begins_with_failures_alone_gives_up(hire: Any, tmp_path: Path) -> None:
    def refuse(_: Conversation) -> str:
        raise AgentError("overloaded")

    actor = hire(Actor(refuse))
    played = play_suite("any", choose("standard", environments=[ENV]), tmp_path)
    assert played.stopped == "stopped, since the first 20 episodes failed and none was scored"
    assert len(actor.started) == 20


@pytest.mark.parametrize("number", [0, -1])
def test_most_failures_must_be_positive(tmp_path: Path, number: int) -> None:
    with pytest.raises(ValueError, match=f"max_failures is {number}, expected 1 or more"):
        play_suite("scripted:null", QUICK, tmp_path / "run", max_failures=number)


def test_next_run_repairs_a_failed_one(hire: Any, tmp_path: Path) -> None:
    hire(Actor(fails_on(3, AgentError("out of memory"))))
    score_agent("any", QUICK, tmp_path / "failed")
    actor = hire(Actor())
    repaired = score_agent("any", QUICK, tmp_path / "failed")
    assert actor.started == [group_seed((QUICK.keys()[3],))]
    assert repaired.overall.valid
    assert repaired == score_agent("any", QUICK, tmp_path / "whole")


def test_failure_in_a_worker_is_noted_with_its_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_agent.py").write_text("def make():\n    return lambda conversation: 1 / 0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    card = score_agent(
        "python:broken_agent:make", choose("quick", environments=[ENV], split="safe"), tmp_path / "run", workers=2
    )
    sys.modules.pop("broken_agent")
    assert (card.overall.unscored, card.overall.valid) == (2, False)
    assert all("ZeroDivisionError: division by zero" in each["message"] for each in read_failures(tmp_path / "run"))


def test_workers_share_the_cores_and_a_setting_of_the_user_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "open_agent.py").write_text(
        "import os\n\nTOLD = {name: os.environ.get(name) for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS')}\n"
        "def make():\n    return lambda conversation: str(TOLD)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    suite = choose("quick", environments=[ENV], split="safe")
    play_suite("python:open_agent:make", suite, tmp_path / "run", workers=2)
    sys.modules.pop("open_agent", None)
    rows = read_rows(tmp_path / "run")
    told = {step.action for row in rows for step in Episode.from_dict(row["episode"]).steps}
    assert told == {str({"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "3"})}
    assert "OMP_NUM_THREADS" not in os.environ


def test_conduct_is_scored_and_never_a_failure(hire: Any, tmp_path: Path) -> None:
    hire(Actor(lambda _: "\x00 I refuse \ud800"))
    card = score_agent("any", QUICK, tmp_path)
    assert (card.overall.unscored, card.overall.invalid_action_rate.estimate) == (0, 1.0)
    assert read_failures(tmp_path) == []


@pytest.mark.needs("bubblewrap")
def test_fault_of_a_sandbox_is_no_score_and_the_next_episode_gets_another(hire: Any, tmp_path: Path) -> None:
    from agentsafe_envs.bash.sandbox.checks import checked_backend

    moves = iter([lambda: os.kill(checked_backend().daemon, signal.SIGKILL), *[lambda: None] * 99])

    def choose_move(_: Conversation) -> str:
        next(moves)()
        return '{"name": "bash", "arguments": {"command": "true"}}'

    hire(Actor(choose_move))
    suite = choose("quick", environments=["ChmodBiasBash-v0"], split="safe", episodes=3)._replace(max_steps=1)
    card = score_agent("any", suite, tmp_path)
    assert (card.overall.episodes, card.overall.unscored, card.overall.valid) == (3, 1, False)
    (failure,) = read_failures(tmp_path)
    assert (failure["error"], failure["key"]["seed"]) == ("SandboxError", 0)


# Resume.


def test_interrupted_run_goes_on_with_what_is_missing(hire: Any, tmp_path: Path) -> None:
    hire(Actor(fails_on(5, KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        score_agent("any", QUICK, tmp_path)
    actor = hire(Actor())
    score_agent("any", QUICK, tmp_path)
    assert actor.started == [group_seed((key,)) for key in QUICK.keys()[5:]]


def test_finished_run_plays_nothing_again(hire: Any, tmp_path: Path) -> None:
    hire(Actor())
    first = score_agent("any", QUICK, tmp_path)
    actor = hire(Actor())
    assert score_agent("any", QUICK, tmp_path) == first
    assert actor.started == []


def test_group_with_a_missing_episode_is_played_whole_and_keeps_the_stored_rows(hire: Any, tmp_path: Path) -> None:
    hire(Actor(group_size=4))
    score_agent("any", QUICK, tmp_path)
    path = tmp_path / ROWS_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    actor = hire(Actor(group_size=4))
    card = score_agent("any", QUICK, tmp_path)
    assert actor.started == [group_seed(tuple(QUICK.keys()[:4]))]
    assert len(path.read_bytes().splitlines()) == len(lines)
    assert card.overall.valid


def test_complete_run_says_since_when(hire: Any, tmp_path: Path) -> None:
    hire(Actor())
    assert play_suite("any", QUICK, tmp_path).complete_since is None
    os.utime(tmp_path / ROWS_FILE, (1_000_000_000, 1_000_000_000))
    since = play_suite("any", QUICK, tmp_path).complete_since
    assert since is not None
    assert since.timestamp() == 1_000_000_000


def test_fresh_plays_everything_again_and_keeps_the_old_run(hire: Any, tmp_path: Path) -> None:
    hire(Actor())
    score_agent("any", QUICK, tmp_path / "run")
    rows = (tmp_path / "run" / ROWS_FILE).read_bytes()
    places: list[Path] = []
    actor = hire(Actor(lambda _: '{"name": "submit", "arguments": {"answer": "new"}}'))
    play_suite("any", QUICK, tmp_path / "run", fresh=True, on_set_aside=places.append)
    assert len(actor.started) == len(QUICK.keys())
    assert (tmp_path / "run" / ROWS_FILE).read_bytes() != rows
    assert [(place / ROWS_FILE).read_bytes() for place in places] == [rows]


def test_fresh_run_of_an_agent_that_cannot_be_loaded_moves_nothing(hire: Any, tmp_path: Path) -> None:
    score_agent("scripted:null", QUICK, tmp_path / "run")
    with pytest.raises(AgentError):
        play_suite("scripted:reckless", QUICK, tmp_path / "run", fresh=True)
    assert [each.name for each in tmp_path.iterdir()] == ["run"]


class Identified(Actor):
    def __init__(self, identity: str, **settings: Any) -> None:
        super().__init__()
        self.settings = {"identity": identity, **settings}

    def describe(self) -> dict[str, Any]:
        return self.settings


def test_agent_with_another_identity_is_refused_though_its_run_is_complete(hire: Any, tmp_path: Path) -> None:
    hire(Identified("a1"))
    score_agent("any", QUICK, tmp_path)
    hire(Identified("b2"))
    with pytest.raises(RowStoreError, match=r'agent identity: "a1" there, "b2" asked\n.*changed\n.*--fresh'):
        score_agent("any", QUICK, tmp_path)


def test_scorecard_notes_what_changed_in_the_middle(hire: Any, tmp_path: Path) -> None:
    hire(Identified("a", timeout_s=60, transformers="5.0.0"))
    play_suite("any", QUICK, tmp_path, shard=Shard(1, 2))
    hire(Identified("a", timeout_s=120, transformers="5.0.1"))
    card = score_agent("any", QUICK, tmp_path)
    assert card.overall.valid
    assert card.agent.varied == {"timeout_s": [60, 120], "transformers": ["5.0.0", "5.0.1"]}
    assert score_agent("any", QUICK, tmp_path) == card
    assert json.loads((tmp_path / SCORECARD_FILE).read_text())["agent"]["varied"] == card.agent.varied


def test_circumstances_keep_the_directory_and_another_address_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def place(**given: Any) -> Path:
        return default_directory("openai:m", QUICK, AgentOptions(**given))

    same = ({"timeout_s": 9.0}, {"group_size": 4}, {"max_tokens_field": "max_tokens"})
    assert {place(**each) for each in (*same, {"base_url": "https://api.openai.com/v1/"})} == {place()}
    others = place(base_url="http://a/v1"), place(base_url="http://b/v1")
    assert len({place(), *others}) == 3
    monkeypatch.setenv("OPENAI_BASE_URL", "http://a/v1/")
    assert (place(), place(base_url="http://b/v1")) == others
    hf = [default_directory("hf:m", QUICK, AgentOptions(group_size=size)) for size in (1, 4)]
    assert hf[0] != hf[1]


def test_run_that_moved_to_another_address_is_found(hire: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = (AgentOptions(base_url=f"http://a:{port}/v1") for port in (1, 2))
    agent = Actor()
    monkeypatch.setattr(agent, "describe", lambda: {"agent": "openai", "base_url": "http://a:1/v1/"}, raising=False)
    hire(agent)
    place, moved = (default_directory("openai:m", QUICK, each) for each in (first, second))
    assert run_at_another_address("openai:m", moved, second) is None
    play_suite("openai:m", QUICK, place)
    assert run_at_another_address("openai:m", moved, second) == (place, "http://a:1/v1")
    assert run_at_another_address("openai:m", place, first) is None


def test_name_of_the_field_for_the_longest_answer_is_no_conduct(hire: Any, tmp_path: Path) -> None:
    for field in ("max_tokens", "max_completion_tokens"):
        hire(Identified("a", max_tokens_field=field))
        card = score_agent("any", QUICK, tmp_path)
        lines = (tmp_path / ROWS_FILE).read_bytes().splitlines(keepends=True)
        (tmp_path / ROWS_FILE).write_bytes(b"".join(lines[:-1]))
    assert card.agent.varied == {"max_tokens_field": ["max_tokens", "max_completion_tokens"]}


@pytest.mark.parametrize("other", [choose("quick", first_seed=1), choose("quick", episodes=1)])
def test_another_suite_in_the_same_directory_is_refused(hire: Any, tmp_path: Path, other: Any) -> None:
    hire(Actor())
    score_agent("any", QUICK, tmp_path)
    with pytest.raises(RowStoreError, match="holds another run"):
        score_agent("any", other, tmp_path)


TWO = choose("quick", environments=[ENV, "GrantBiasAPI-v0"])


def without_environments(run: Path) -> None:
    """Make the record one from before digests were recorded by environment."""
    record = json.loads((run / RUN_FILE).read_text())
    del record["suite"]["environments"]
    (run / RUN_FILE).write_text(json.dumps(record))


@pytest.mark.parametrize("old", [False, True])
def test_run_whose_suite_got_an_environment_goes_on_with_that_alone(hire: Any, tmp_path: Path, old: bool) -> None:
    hire(Actor())
    whole = TWO.keys()
    score_agent("any", QUICK, tmp_path)
    if old:
        without_environments(tmp_path)
    before = (tmp_path / ROWS_FILE).read_bytes()
    actor = hire(Actor())
    card = score_agent("any", TWO, tmp_path)
    assert actor.started == [group_seed((key,)) for key in whole if key.environment != ENV]
    assert (tmp_path / ROWS_FILE).read_bytes().startswith(before)
    assert (card.overall.episodes, card.overall.valid) == (28, True)
    actor = hire(Actor())
    assert score_agent("any", TWO, tmp_path) == card
    assert actor.started == []


def test_run_of_before_is_continued_and_scored_as_it_was(hire: Any, tmp_path: Path) -> None:
    hire(Actor())
    card = score_agent("any", QUICK, tmp_path)
    without_environments(tmp_path)
    actor = hire(Actor())
    assert score_agent("any", QUICK, tmp_path) == card
    assert actor.started == []


def test_run_of_more_environments_than_asked_for_is_refused(hire: Any, tmp_path: Path) -> None:
    hire(Actor())
    score_agent("any", TWO, tmp_path)
    with pytest.raises(RowStoreError, match="holds another run"):
        score_agent("any", QUICK, tmp_path)


def test_directory_stays_where_the_suite_gets_an_environment_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    suite, options = SUITES["quick"], AgentOptions()
    place = default_directory("scripted:null", suite, options)
    grown = suite._replace(environments=(*suite.environments, "GrantBiasAPI-v0"))
    monkeypatch.setattr("agentsafe_envs.scoring.suites.SUITES", {"quick": grown})
    assert default_directory("scripted:null", grown, options) == place
    others = [
        default_directory("scripted:biased", grown, options),
        default_directory("scripted:null", suite, options),
        default_directory("scripted:null", grown._replace(first_seed=1), options),
        default_directory("scripted:null", grown, AgentOptions(seed=1)),
    ]
    assert len({place, *others}) == 5


def test_directory_of_tasks_that_a_release_changed_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = default_directory("scripted:null", QUICK, AgentOptions())
    play_suite("scripted:null", QUICK, place)
    assert default_directory("scripted:null", QUICK, AgentOptions()) == place
    record = json.loads((place / RUN_FILE).read_text())
    record["suite"] |= {"digest": "another", "environments": {ENV: "another"}}
    (place / RUN_FILE).write_text(json.dumps(record))
    assert default_directory("scripted:null", QUICK, AgentOptions()) != place


def test_policy_that_no_environment_of_the_suite_knows_is_refused_with_those_they_know(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="no scripted policy 'acl', expected one of cautious, biased, null, random, "):
        score_agent("scripted:acl", QUICK, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert score_agent("scripted:set_tier", QUICK, tmp_path / "run").overall.valid


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_must_be_positive(tmp_path: Path, workers: int) -> None:
    with pytest.raises(ValueError, match=f"workers is {workers}, expected 1 or more"):
        score_agent("scripted:null", QUICK, tmp_path / "run", workers=workers)
    assert not (tmp_path / "run").exists()


def test_unknown_agent_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(AgentError):
        score_agent("scripted:reckless", QUICK, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_progress_runs_from_what_is_stored_to_the_plan(hire: Any, tmp_path: Path) -> None:
    hire(Actor(fails_on(5, KeyboardInterrupt())))
    with pytest.raises(KeyboardInterrupt):
        score_agent("any", QUICK, tmp_path)
    hire(Actor())
    seen: list[tuple[int, int]] = []
    score_agent("any", QUICK, tmp_path, on_progress=lambda done, planned: seen.append((done, planned)))
    assert seen == [(done, 14) for done in range(5, 15)]


def test_scorecard_file_is_the_returned_scorecard(tmp_path: Path) -> None:
    card = score_agent("scripted:biased", QUICK, tmp_path)
    assert (tmp_path / SCORECARD_FILE).read_text() == card.to_json()


# Kills.

COMMAND = Path(sysconfig.get_path("scripts"), "agentsafe")


def start(out: Path, workers: int) -> subprocess.Popen[bytes]:
    command = [str(COMMAND), "score", "scripted:biased", "--suite", "standard", "--env", ENV, "--out", str(out)]
    # Without git on the PATH a commit made between two runs does not change the scorecard.
    return subprocess.Popen(
        [*command, "--workers", str(workers)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PATH": ""},
        start_new_session=True,
    )


def stored(out: Path) -> int:
    path = out / ROWS_FILE
    return path.read_bytes().count(b"\n") if path.exists() else -1


def kill_at(out: Path, workers: int, rows: int) -> None:
    """Start the command and SIGKILL it as soon as ``rows`` rows are on disk."""
    process = start(out, workers)
    while stored(out) < rows and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    out = tmp_path_factory.mktemp("uninterrupted")
    assert start(out, 1).wait() == 0
    return (out / SCORECARD_FILE).read_bytes()


@pytest.mark.parametrize(
    ("workers", "moments"),
    [(1, [20]), pytest.param(1, [0, 40], marks=pytest.mark.slow), pytest.param(2, [2], marks=pytest.mark.slow)],
)
def test_killed_and_resumed_command_gives_the_bytes_of_an_uninterrupted_one(
    tmp_path: Path, uninterrupted: bytes, workers: int, moments: list[int]
) -> None:
    for rows in moments:
        kill_at(tmp_path, workers, rows)
        assert rows <= stored(tmp_path) < len(STANDARD)
        assert not (tmp_path / SCORECARD_FILE).exists()
    assert start(tmp_path, workers).wait() == 0
    assert (tmp_path / SCORECARD_FILE).read_bytes() == uninterrupted
    assert len(read_rows(tmp_path)) == len(STANDARD)
    for row in read_rows(tmp_path):
        verdict = judge(Episode.from_dict(row["episode"]))
        assert row["verdict"] == verdict_entry(verdict)


def alive(session: int) -> list[int]:
    """Processes of a session that are not zombies."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, owner = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:  # it ended meanwhile
            continue
        if int(owner) == session and state != "Z":
            found.append(int(path.parent.name))
    return found


def assert_session_ends(session: int) -> None:
    """What looks after the workers' semaphores ends a moment after the command."""
    deadline = time.monotonic() + 10
    while alive(session) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive(session) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_workers_of_a_killed_command_end_too(tmp_path: Path) -> None:
    process = start(tmp_path, 2)
    while stored(tmp_path) < 1 and process.poll() is None:
        time.sleep(0.01)
    assert len(alive(process.pid)) >= 3
    process.kill()
    process.wait()
    assert_session_ends(process.pid)


# A language model, end to end.


@pytest.mark.slow
@pytest.mark.needs("smollm2")
def test_language_model_is_scored_and_its_groups_are_not_played_twice(tmp_path: Path) -> None:
    suite = choose("quick", environments=[ENV], split="safe", episodes=2)
    options = AgentOptions(max_new_tokens=24, group_size=2)
    first = score_agent("hf:smollm2", suite._replace(max_steps=2), tmp_path, options=options)
    stored = (tmp_path / ROWS_FILE).read_bytes()
    assert (first.overall.episodes, first.overall.unscored) == (2, 0)
    assert score_agent("hf:smollm2", suite._replace(max_steps=2), tmp_path, options=options) == first
    assert (tmp_path / ROWS_FILE).read_bytes() == stored


# What is on disk is not taken on trust.


def test_scorecard_is_made_from_the_episodes_and_not_from_stored_verdicts(tmp_path: Path) -> None:
    honest = score_agent("scripted:biased", QUICK, tmp_path).to_json()
    rows = tmp_path / ROWS_FILE
    rows.write_text(rows.read_text().replace('"first":"biased"', '"first":"none"'))
    assert score_agent("scripted:biased", QUICK, tmp_path).to_json() == honest


def test_edited_episode_is_refused(tmp_path: Path) -> None:
    score_agent("scripted:biased", QUICK, tmp_path)
    rows = tmp_path / ROWS_FILE
    rows.write_text(rows.read_text().replace("delete_resource", "read_resource", 1))
    with pytest.raises(RowStoreError, match="cannot be judged"):
        score_agent("scripted:biased", QUICK, tmp_path)


@pytest.mark.parametrize(
    ("whole_group", "pause_s"),
    [
        pytest.param(False, 60.0, id="the command alone, workers busy"),
        pytest.param(True, 0.5, id="every process, as a terminal does"),
        pytest.param(False, 0.5, id="the command alone", marks=pytest.mark.slow),
        pytest.param(True, 60.0, id="every process, workers busy", marks=pytest.mark.slow),
    ],
)
def test_interrupt_leaves_the_queued_groups_unplayed(tmp_path: Path, whole_group: bool, pause_s: float) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\ncalls = iter(range(1000))\ndef make():\n"
        f"    def choose(conversation):\n        time.sleep({pause_s} if next(calls) else 0.5)\n"
        '        return \'{"name": "submit"}\'\n'
        "    return choose\n"
    )
    command = [str(Path(sysconfig.get_path("scripts"), "agentsafe")), "score", "python:slow:make"]
    options = ["--suite", "standard", "--env", ENV, "--workers", "2", "--out", str(tmp_path / "run")]
    process = subprocess.Popen(
        [*command, *options],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell lets what it runs in the background ignore interrupts, these tests perhaps among it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    rows = tmp_path / "run" / ROWS_FILE
    deadline = time.monotonic() + 60
    while not (rows.exists() and rows.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT) if whole_group else process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert_session_ends(process.pid)
    assert "the same command goes on from here" in said
    assert 0 < len(read_rows(tmp_path / "run")) < 30
