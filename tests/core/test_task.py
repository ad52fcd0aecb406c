from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.core.bias import Bias
from agentsafe_envs.core.task import POOLS, SPLITS, WORDINGS, Goal, Task, Wordings, private_templates
from agentsafe_envs.registration import TABLE, draw_task, find, resolve

IDS = [row.id for row in TABLE]
each_id = pytest.mark.parametrize("env_id", IDS)


def written(folder: Path, content: str) -> Wordings:
    path = folder / "mine.toml"
    path.write_text(content, encoding="utf-8")
    return Wordings(path)


def clauses(topic: str, first: str, second: str) -> str:
    firsts, seconds = ([f"{text}{number}" for number in range(WORDINGS)] for text in (first, second))
    return f"[{topic}]\nfirst = {firsts}\nsecond = {seconds}\n"


def test_topic_that_biases_share_stands_in_until_a_bias_has_its_own(tmp_path: Path) -> None:
    shared, own = tmp_path / "questions.toml", tmp_path / "mine.toml"
    shared.write_text(clauses("count", "shared", "b") + clauses("size", "shared", "b"), encoding="utf-8")
    own.write_text(clauses("size", "own", "b"), encoding="utf-8")
    wordings = Wordings(own, shared)
    assert wordings.phrase("count", "train", 0, {}) == "shared0 b0"
    assert wordings.phrase("size", "train", 0, {}) == "own0 b0"


def test_wording_joins_a_first_and_a_second_clause(tmp_path: Path) -> None:
    wordings = written(tmp_path, clauses("need", "{what} a", "b"))
    assert wordings.phrase("need", "train", 3, {"what": "so"}) == "so a3 b3"


def test_pools_join_the_same_clauses_in_pairs_of_their_own(tmp_path: Path) -> None:
    wordings = written(tmp_path, clauses("need", "a", "b"))
    pairs = {pool: {wordings.phrase("need", pool, number, {}) for number in range(WORDINGS)} for pool in POOLS[:3]}
    assert len(set.union(*pairs.values())) == 3 * WORDINGS
    for found in pairs.values():
        words = {word for pair in found for word in pair.split()}
        assert words == {f"{half}{number}" for half in "ab" for number in range(WORDINGS)}


def test_values_are_filled_in_as_they_are(tmp_path: Path) -> None:
    wordings = written(tmp_path, clauses("need", "{what}", "b"))
    assert wordings.phrase("need", "train", 0, {"what": "{project}"}) == "{project}0 b0"


@pytest.mark.parametrize("field", ["{what.foo}", "{what[foo]}", "{0}", "{what:>999999999999}", "{what!z}"])
def test_clause_that_cannot_be_filled_is_refused_by_name(tmp_path: Path, field: str) -> None:
    wordings = written(tmp_path, clauses("need", field, "b"))
    with pytest.raises(ValueError, match=r"topic \[need\], clauses 0 and 0 cannot be filled"):
        wordings.phrase("need", "train", 0, {"what": "so"})


@pytest.mark.parametrize("content", ["[need]\nfirst = 'abcdef'\nsecond = 'abcdef'", "need = ['a']", "[need]", "\x00"])
def test_malformed_wordings_are_refused_by_name(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match=r"mine\.toml"):
        written(tmp_path, content)


@pytest.mark.parametrize("broken", ["{nothing}", "{", "{0}"])
def test_clause_that_cannot_be_filled_is_refused_by_topic(tmp_path: Path, broken: str) -> None:
    wordings = written(tmp_path, clauses("need", broken, "b"))
    with pytest.raises(ValueError, match=r"mine\.toml: topic \[need\], clauses 1 and 5 .* the fields are what"):
        wordings.phrase("need", "public", 1, {"what": "so"})


@pytest.mark.parametrize("folder", ["", "/nowhere"])
def test_missing_private_folder_is_named(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setenv("AGENTSAFE_TEMPLATES", folder)
    with pytest.raises(FileNotFoundError, match=f"AGENTSAFE_TEMPLATES, which is {folder or 'unset'};"):
        private_templates("delete")


def test_private_templates_are_read_from_the_folder_of_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENTSAFE_TEMPLATES", str(tmp_path))
    (tmp_path / "delete.toml").touch()
    assert private_templates("delete") == tmp_path / "delete.toml"


def at_least(state: int, *, least: int) -> bool:
    return state >= least


def test_goal_checks_a_state_and_pickles() -> None:
    goal: Goal[int] = pickle.loads(pickle.dumps(Goal(at_least, {"least": 3})))
    assert [goal.met(state) for state in (2, 3)] == [False, True]


@pytest.mark.parametrize(
    ("split", "pool", "seed", "complaint"),
    [
        ("x", "public", 0, "split is 'x', expected one of safe, ambiguous, required, forbidden"),
        ("safe", "x", 0, "pool is 'x', expected one of train, dev, public, private"),
        ("safe", "public", -1, "seed is -1, expected 0 or more"),
    ],
)
@each_id
def test_wrong_key_of_a_task_is_refused(env_id: str, split: Any, pool: Any, seed: int, complaint: str) -> None:
    _, bias = resolve(env_id)
    with pytest.raises(ValueError, match=complaint):
        bias.task(split, pool, seed)


@each_id
def test_any_seed_has_a_task(env_id: str) -> None:
    @given(st.integers(0, 2**63), st.sampled_from(SPLITS), st.sampled_from(POOLS[:3]))
    def check(seed: int, split: Any, pool: Any) -> None:
        task = draw_task(env_id, split, seed, pool)
        assert (task.split, task.pool, task.seed) == (split, pool, seed)
        assert draw_task(env_id, split, seed, pool) == task

    check()


@each_id
def test_only_required_exempts_the_targets(env_id: str) -> None:
    exempt = {split: draw_task(env_id, split, 0).exempt for split in SPLITS}
    targets = frozenset(draw_task(env_id, "required", 0).setup.targets)
    assert exempt == dict.fromkeys(SPLITS, frozenset()) | {"required": targets}


@each_id
def test_full_toolset_has_every_tool_and_the_same_words(env_id: str) -> None:
    if find(env_id).world == "bash":
        pytest.skip("its toolsets are one")
    world, bias = resolve(env_id)
    few, every = (world.draw(bias, "ambiguous", "public", 0, toolset) for toolset in ("bias", "full"))
    assert set(few.tools) < set(every.tools)
    assert (few.instruction, few.setup.start) == (every.instruction, every.setup.start)
    assert world.digest(few) != world.digest(every)


@each_id
def test_digest_covers_words_tools_and_start(env_id: str) -> None:
    world, bias = resolve(env_id)
    task: Task[Any] = world.draw(bias, "ambiguous", "public", 0, "bias")
    other: Task[Any] = world.draw(bias, "ambiguous", "public", 1, "bias")
    changed = [
        replace(task, instruction=task.instruction + "."),
        replace(task, tools=task.tools[::-1]),
        replace(task, setup=replace(task.setup, start=other.setup.start)),
    ]
    assert len({world.digest(each) for each in (task, *changed)}) == 4


@each_id
def test_bias_describes_itself(env_id: str) -> None:
    _, bias = resolve(env_id)
    assert isinstance(bias, Bias)
    page = type(bias).__doc__ or ""
    for heading in ("Description", "Starting State", "References", "Version History"):
        assert f"## {heading}\n" in page
    assert bias.sources
    assert all(address.startswith("https://") for address in bias.sources)
    assert bias.keywords == tuple(word.lower() for word in bias.keywords)


def test_unknown_bias_is_refused_with_the_known_ones() -> None:
    for row in TABLE:
        world, _ = resolve(row.id)
        with pytest.raises(ValueError, match=f"'nonsense', expected one of .*{row.bias}"):
            world.bias("nonsense")
