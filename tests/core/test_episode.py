from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.core.episode import SCHEMA_VERSION, Episode, EpisodeError, Step, digest

SHORT = Episode(
    environment="DeleteBiasAPI-v0",
    split="ambiguous",
    pool="public",
    seed=7,
    toolset="bias",
    task_digest="d" * 64,
    steps=(Step("look", "rows"), Step("act", "done"), Step("submit", "")),
    terminated=True,
    success=False,
)


# Every character, among them control characters and lone surrogates; two halves side by side are left out.
text = st.text(st.characters(exclude_categories=["Cs"])) | st.text(st.characters()).filter(
    lambda found: json.loads(json.dumps(found)) == found
)
evidence = st.none() | st.dictionaries(text, st.lists(st.integers() | text, max_size=2), max_size=2)
episodes = st.builds(
    Episode,
    environment=text,
    split=text,
    pool=text,
    seed=st.integers(0),
    toolset=text,
    task_digest=text,
    steps=st.lists(st.builds(Step, text, text, evidence), max_size=4).map(tuple),
    terminated=st.booleans(),
    success=st.booleans(),
)


@given(episodes)
def test_json_reads_back_equal(episode: Episode) -> None:
    assert Episode.from_json(episode.to_json()) == episode


@given(episodes)
def test_json_is_one_line_of_ascii_and_reads_back_to_the_same_bytes(episode: Episode) -> None:
    line = episode.to_json()
    assert line.isascii()
    assert "\n" not in line
    assert Episode.from_json(line).to_json() == line


@given(episodes, episodes)
def test_different_episodes_have_different_chains(one: Episode, other: Episode) -> None:
    assert (one.chain() == other.chain()) == (one == other)


@given(episodes)
def test_chain_has_a_link_for_the_header_and_one_a_step(episode: Episode) -> None:
    assert len(episode.chain()) == 1 + len(episode.steps)


def test_dict_order_does_not_change_the_bytes() -> None:
    data = dict(reversed(SHORT.to_dict().items()))
    assert Episode.from_dict(data).to_json() == SHORT.to_json()


def test_format_is_the_one_that_is_stored() -> None:
    """Stored episodes outlive releases: where this fails, raise SCHEMA_VERSION."""
    assert SCHEMA_VERSION == 1
    assert [link[:8] for link in SHORT.chain()] == ["b69e3ed1", "cf03db4f", "b32f2a5f", "1aa9669d"]


def edits(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Copies of a stored episode, each with one thing changed."""
    for place, holder in [("header", data), *((f"step {n}", step) for n, step in enumerate(data["steps"]))]:
        for name, value in holder.items():
            others: list[Any] = [None, "another", 8, not value, 1.0, [], {}, f"{value} "]
            for other in others:
                if type(other) is type(value) and other == value:
                    continue
                was = holder[name]
                holder[name] = other
                yield f"{place}: {name} = {other!r}", copy.deepcopy(data)
                holder[name] = was
        for name in list(holder):
            kept = holder.pop(name)
            yield f"{place} without {name}", copy.deepcopy(data)
            holder[name] = kept
        holder["note"] = None
        yield f"{place} with a note", copy.deepcopy(data)
        del holder["note"]


def test_an_edit_of_any_field_is_refused() -> None:
    for what, data in edits(SHORT.to_dict()):
        for read, stored in ((Episode.from_dict, data), (Episode.from_json, json.dumps(data))):
            try:
                found: Any = read(stored)  # type: ignore[arg-type]
            except EpisodeError:
                continue
            pytest.fail(f"{what} was read as {found}")


REARRANGED = {
    "first step gone": lambda steps: steps[1:],
    "middle step gone": lambda steps: [steps[0], steps[2]],
    "last step gone": lambda steps: steps[:-1],
    "all steps gone": lambda steps: [],
    "swapped": lambda steps: [steps[1], steps[0], steps[2]],
    "repeated": lambda steps: [*steps, steps[-1]],
    "inserted": lambda steps: [steps[0], *steps],
}


@pytest.mark.parametrize("rearrange", REARRANGED.values(), ids=REARRANGED.keys())
def test_steps_cannot_be_rearranged(rearrange: Any) -> None:
    data = SHORT.to_dict()
    data["steps"] = rearrange(data["steps"])
    with pytest.raises(EpisodeError, match="hash chain breaks"):
        Episode.from_dict(data)


@given(st.data())
def test_an_edit_of_any_character_is_refused(data: st.DataObject) -> None:
    line = SHORT.to_json()
    place = data.draw(st.integers(0, len(line) - 1))
    character = data.draw(st.characters().filter(lambda found: found != line[place]))
    try:
        Episode.from_json(line[:place] + character + line[place + 1 :])
    except EpisodeError:
        return
    pytest.fail(f"{character!r} at {place} was accepted")


@pytest.mark.parametrize(("step", "field"), [(0, "action"), (1, "result"), (2, "action")])
def test_complaint_names_the_edited_step_as_verdicts_count_them(step: int, field: str) -> None:
    data = SHORT.to_dict()
    data["steps"][step][field] += "!"
    with pytest.raises(EpisodeError, match=f"at the step {step}:"):
        Episode.from_dict(data)


def test_complaint_names_the_edited_header() -> None:
    with pytest.raises(EpisodeError, match="at the header:"):
        Episode.from_dict(SHORT.to_dict() | {"success": True})


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "expected a JSON object, got list"),
        ("null", "expected a JSON object, got NoneType"),
        ("{}", "schema_version None, expected 1; use the release"),
        ('{"schema_version": 2}', "schema_version 2, expected 1; use the release"),
        ('{"schema_version": 1}', r"fields \['environment', .*'toolset'\]"),
    ],
)
def test_text_that_is_no_episode_is_refused_with_the_reason(line: str, complaint: str) -> None:
    with pytest.raises(EpisodeError, match=complaint):
        Episode.from_json(line)


@pytest.mark.parametrize("step", [None, "look", [], 3])
def test_a_step_that_is_no_object_is_refused(step: Any) -> None:
    with pytest.raises(EpisodeError, match="step 0 is a"):
        Episode.from_dict(SHORT.to_dict() | {"steps": [step]})


@pytest.mark.parametrize(
    ("field", "value"), [("seed", "7"), ("seed", True), ("success", 0), ("split", 3), ("environment", None)]
)
def test_wrong_type_is_refused_even_with_a_chain_that_matches(field: str, value: Any) -> None:
    forged = SHORT._replace(**{field: value})
    with pytest.raises(EpisodeError, match=field):
        Episode.from_json(forged.to_json())


def test_digest_ignores_dict_order_and_nothing_else() -> None:
    assert digest([{"a": 1, "b": 2}]) == digest([{"b": 2, "a": 1}])
    assert len({digest(parts) for parts in ([], [1], ["1"], [1, 1], [[1]], [None])}) == 6
