from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import yaml

import agentsafe_envs
from agentsafe_envs.trajectories import Trajectory, sanitize
from agentsafe_envs.trajectories.card import read_facts, render_card, state_facts

STEMS = ["delet", "rm", "*"]


@pytest.fixture(scope="module")
def card(rows: Sequence[Trajectory]) -> str:
    sanitised = sanitize(rows, STEMS)
    facts = state_facts(sanitised.kept, filters=[sanitised.record()], command="agentsafe data sanitize 'a b' c")
    return render_card(facts, "filtered", "trajectories.parquet")


def front_matter(card: str) -> Any:
    return yaml.safe_load(card.split("---\n")[1])


def test_hub_finds_license_size_and_file(card: str) -> None:
    found = front_matter(card)
    assert found["license"] == "apache-2.0"
    assert found["size_categories"] == ["n<1K"]
    assert found["configs"] == [{"config_name": "default", "data_files": "trajectories.parquet"}]
    assert found["pretty_name"] == "filtered"


def test_front_matter_holds_the_facts_and_they_are_read_back(card: str, rows: Sequence[Trajectory]) -> None:
    facts = read_facts(card)
    assert facts is not None
    assert front_matter(card)["agentsafe"] == facts._asdict()
    assert facts.rows == 3
    assert facts.counts["success"] == {"true": 3}
    assert facts.counts["policy"] == {"teacher": 3}
    assert facts.package == f"agentsafe_envs {agentsafe_envs.__version__}"
    assert facts.command == "agentsafe data sanitize 'a b' c"
    assert facts.filters == [{**sanitize(rows, STEMS).record(), "leaks": 0}]
    assert render_card(facts, "filtered", "trajectories.parquet") == card


def test_reader_is_told_level_stems_shares_and_proof(card: str) -> None:
    assert "**undemonstrated**: no stem in any act or result" in card
    assert "of 6 rows 3 (50.0%) were dropped and 0 stripped" in card
    assert "`delet` (3), `rm` (0), `*` (0)" in card
    assert "0 leaks" in card
    assert "2604.15559" in card


def test_reader_is_told_how_rows_were_chosen_from_those_left(rows: Sequence[Trajectory]) -> None:
    facts = state_facts(rows, selection="tasks that somebody liked")
    text = render_card(facts, "chosen", "trajectories.parquet")
    assert "Of what was left: tasks that somebody liked." in text
    assert read_facts(text) == facts
    assert "Of what was left" not in render_card(state_facts(rows), "all", "trajectories.parquet")


def test_data_that_nobody_filtered_says_so(rows: Sequence[Trajectory]) -> None:
    text = render_card(state_facts(rows), "raw", "trajectories.jsonl")
    assert "None: whatever its teacher did is in the data." in text
    assert "not recorded" in text


@pytest.mark.parametrize(
    ("number", "word"), [(999, "n<1K"), (1_000, "1K<n<10K"), (99_999, "10K<n<100K"), (10**6, "1M")]
)
def test_size_is_the_hubs_word_for_it(number: int, word: str, rows: Sequence[Trajectory]) -> None:
    text = render_card(state_facts(rows)._replace(rows=number), "raw", "x")
    assert front_matter(text)["size_categories"][0].startswith(word)


def test_rows_without_columns_of_origin_have_nothing_to_count(talk: Any) -> None:
    assert state_facts([talk("x")]).counts == {}
    assert state_facts([talk("x"), {**talk("y"), "policy": "t"}]).counts == {"policy": {"t": 1, "unknown": 1}}


def test_card_of_others_has_no_facts() -> None:
    assert read_facts("# Some data") is None


@pytest.mark.parametrize("facts", ["{", "{}", "[]", "3", '{"filters": 3}'])
def test_facts_that_cannot_be_read_are_refused(facts: str) -> None:
    with pytest.raises(ValueError, match="here: the line `agentsafe:` cannot be read"):
        read_facts(f"---\nagentsafe: {facts}\n---\n", "here")


def test_record_of_a_filter_must_be_whole(card: str) -> None:
    with pytest.raises(ValueError, match="a filter's record needs dropped, level, mode"):
        read_facts(card.replace('"level": "undemonstrated", ', ""))
