"""Whatever stands in an episode that somebody hands in, reading and judging it raise EpisodeError or nothing."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import pytest

from agentsafe_envs import Episode, EpisodeError, judge
from agentsafe_envs.agents.scripted import script
from agentsafe_envs.bash.scenarios.solvers import bash
from agentsafe_envs.core.episode import Step
from agentsafe_envs.registration import TABLE, draw_task, find

IDS = [row.id for row in TABLE]
each_id = pytest.mark.parametrize("env_id", IDS)

each_number = pytest.mark.parametrize("mutations", [40, pytest.param(300, marks=pytest.mark.slow)])
"""Episodes altered at one place each; judging one of the Bash world takes a fifth of a second."""

ODD: tuple[Any, ...] = (None, True, -1, 0, 2**62, 1.5, "", "x", "/", "\0", [], {}, [[]], [None], {"a": 1}, ["a", "b"])


COMMANDS = (
    "cd /srv && chown -R 1:1 . && chmod g+s *",
    "useradd -m zoe && setfacl -m u:zoe:rw /srv/*/*",
    "ln /etc/hosts /srv/hosts; ln -s hosts /srv/link; mv /srv/hosts /srv/moved; tar czf /srv/all.tgz /srv/*/data",
    "echo '* * * * * root touch /srv/late' > /etc/cron.d/late; echo odd > /etc/cron.d/odd",
)
"""Leave evidence of every sort."""


def played(env_id: str, split: str = "ambiguous") -> Episode:
    env = gym.make(env_id, split=split)
    env.reset(seed=1)
    rich = map(bash, COMMANDS) if find(env_id).world == "bash" else ()
    for action in (*rich, *script(draw_task(env_id, split, 1), "biased")):
        env.step(action)
    env.close()
    return env.unwrapped.episode  # type: ignore[attr-defined]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Path of every value within a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from places(below, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    value = copy.copy(value)
    value[path[0]] = replaced(value[path[0]], path[1:], new)
    return value


def judged_or_refused(data: Any) -> bool:
    """Whether reading and judging ends in a verdict or in EpisodeError, and in no other exception."""
    try:
        return judge(Episode.from_dict(data)).steps >= 0
    except EpisodeError as error:
        return bool(str(error))


@each_number
@each_id
def test_altered_evidence_is_judged_or_refused(env_id: str, mutations: int) -> None:
    episode, rng = played(env_id), random.Random(env_id)
    found = [
        (number, path)
        for number, step in enumerate(episode.steps)
        if step.evidence is not None
        for path in places(step.evidence)
    ]
    for number, path in rng.sample(found, min(mutations, len(found))):
        steps = list(episode.steps)
        odd = rng.choice(ODD)
        steps[number] = steps[number]._replace(evidence=replaced(steps[number].evidence, path, odd))
        assert judged_or_refused(episode._replace(steps=tuple(steps)).to_dict()), (path, odd)


@each_number
@each_id
def test_altered_field_is_judged_or_refused(env_id: str, mutations: int) -> None:
    data, rng = json.loads(played(env_id).to_json()), random.Random(env_id)
    every = [path for path in places(data) if "evidence" not in path]
    for path in rng.sample(every, min(mutations, len(every))):
        odd = rng.choice(ODD)
        assert judged_or_refused(replaced(data, path, odd)), (path, odd)


@each_id
def test_step_after_the_submission_is_refused_by_name(env_id: str) -> None:
    episode = played(env_id)
    further = Step('{"name": "submit"}', episode.steps[-1].result, episode.steps[-1].evidence)
    with pytest.raises(EpisodeError, match=r"step \d+ comes after the submission"):
        judge(episode._replace(steps=(*episode.steps, further)))


@each_id
def test_private_pool_without_its_wordings_is_refused_by_name(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTSAFE_TEMPLATES", raising=False)
    with pytest.raises(EpisodeError, match="pool 'private'"):
        judge(played(env_id)._replace(pool="private"))


def test_environment_that_is_not_registered_is_refused_by_name() -> None:
    with pytest.raises(EpisodeError, match="no environment 'Nonsense-v0'"):
        judge(played("DeleteBiasAPI-v0")._replace(environment="Nonsense-v0"))


@pytest.mark.parametrize("number", [10**5000, -(10**5000), 2**1024], ids=["long", "negative", "beyond"])
def test_number_that_is_too_long_is_refused_by_name(number: int) -> None:
    data = played("DeleteBiasAPI-v0").to_dict()
    with pytest.raises(EpisodeError, match="a number is too long"):
        Episode.from_dict({**data, "seed": number})


@pytest.mark.parametrize("depth", [100, 100_000])
def test_evidence_that_is_too_deep_is_refused_by_name(depth: int) -> None:
    data = played("DeleteBiasAPI-v0").to_dict()
    evidence: Any = []
    for _ in range(depth):
        evidence = [evidence]
    with pytest.raises(EpisodeError, match="nested too deep"):
        Episode.from_dict({**data, "steps": [{**data["steps"][0], "evidence": evidence}]})


def test_evidence_that_holds_the_same_list_over_and_over_is_refused_by_name() -> None:
    data = played("DeleteBiasAPI-v0").to_dict()
    evidence: Any = []
    for _ in range(40):
        evidence = [evidence, evidence]
    with pytest.raises(EpisodeError, match="too many values"):
        Episode.from_dict({**data, "steps": [{**data["steps"][0], "evidence": evidence}]})


@pytest.mark.parametrize(
    "evidence",
    [[[0] * 10**6] * 4_000, [{"k": "x" * 10**6}] * 10**5, [{"x" * 10**6: 1}] * 10**5],
    ids=["values", "text", "names"],
)
def test_evidence_that_is_small_in_memory_only_is_refused_by_name(evidence: Any) -> None:
    data = played("DeleteBiasAPI-v0").to_dict()
    with pytest.raises(EpisodeError, match=r"too (many values|much text)"):
        Episode.from_dict({**data, "steps": [{**data["steps"][0], "evidence": evidence}]})


@pytest.mark.parametrize(
    "wrong",
    [
        *({"environment": value} for value in (None, [], 5)),
        *({"seed": value} for value in ("1", 1.5, None)),
        *(
            {"steps": value}
            for value in (None, [], ("x",), (None,), (Step(None, ""),), (Step({}, ""),), (Step("", 1),))
        ),
        {"success": 1},
        {"split": None},
    ],
    ids=str,
)
def test_episode_built_by_hand_of_wrong_types_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(EpisodeError):
        judge(played("DeleteBiasAPI-v0")._replace(**wrong))


def test_text_that_is_too_deep_or_too_long_is_refused() -> None:
    for text in ("[" * 200_000, '{"seed": ' + "9" * 5_000 + "}", "\0", ""):
        with pytest.raises(EpisodeError, match="not JSON"):
            Episode.from_json(text)


@pytest.mark.parametrize("odd", [{1: 2}, {"a": object()}, {"a": b"x"}, {"a": {1}}])
def test_what_is_no_json_is_refused(odd: Any) -> None:
    data = played("DeleteBiasAPI-v0").to_dict()
    with pytest.raises(EpisodeError, match="plain JSON"):
        Episode.from_dict({**data, "steps": [{**data["steps"][0], "evidence": odd}]})


def test_environment_is_judged_by_the_episode_that_it_holds() -> None:
    env = gym.make("DeleteBiasAPI-v0")
    env.reset(seed=1)
    assert judge(env) == judge(env.unwrapped.episode)  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [None, "episode", 7, {}])
def test_what_is_no_episode_is_the_callers_mistake(value: Any) -> None:
    with pytest.raises(TypeError, match="expected an Episode"):
        judge(value)
