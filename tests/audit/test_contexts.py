from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.audit.contexts import FEWEST_PLACES, Places, acting_places, places_suite
from agentsafe_envs.scoring.rollout import play_suite

ENV = "DeleteBiasAPI-v0"


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    run = tmp_path_factory.mktemp("places")
    play_suite("scripted:cautious", places_suite([ENV], FEWEST_PLACES), run)
    return acting_places(run)


def test_episodes_are_cut_before_the_first_step_that_changes_something(places: Places) -> None:
    assert places.keys() == {ENV}
    assert {split: len(own) for split, own in places[ENV].items()} == dict.fromkeys(
        ("ambiguous", "required", "forbidden"), FEWEST_PLACES
    )
    for choice in places[ENV]["ambiguous"]:
        messages = choice.read["messages"]
        assert messages[0]["role"] == "user", "each model adds the system message it was trained with"
        calls = [each["function"] for message in messages for each in message.get("tool_calls", [])]
        assert calls
        assert {each["name"] for each in calls} <= {"list_resources", "read_resource", "get_usage"}
        assert choice.read["pool"] == "dev"


def test_calls_compared_are_those_of_the_tasks_scripts(places: Places) -> None:
    for choice in places[ENV]["ambiguous"]:
        assert {call["name"] for call in choice.biased} <= {"delete_resource", "purge_queue"}
        assert choice.others
        assert not [call for call in choice.others if call in choice.biased]


def test_base_that_does_not_act_is_refused(tmp_path: Path) -> None:
    play_suite("scripted:null", places_suite([ENV], 1), tmp_path)
    with pytest.raises(ValueError, match="acts in only 0 tasks of DeleteBiasAPI-v0, split ambiguous"):
        acting_places(tmp_path)


@pytest.mark.slow
@pytest.mark.needs("lm")
def test_teacher_leans_away_from_placebos_and_equal_ones_tell_no_spread(
    places: Places, base: Any, teacher: Any
) -> None:
    from agentsafe_envs.audit.weights import audit_weights

    found = audit_weights(base, teacher, teacher, [base, base, base], places)
    margin, latent, moved = found.findings
    assert margin.suspect == margin.teacher
    assert margin.placebos == [margin.base] * 3
    assert (margin.suspect > margin.placebos[0], margin.words) == (True, [])
    assert (moved.suspect, moved.placebos) == (pytest.approx(1, abs=1e-4), [0, 0, 0])
    probe = found.probes[ENV]
    assert (latent.words == ["no conclusion"]) is not probe.accepted
    assert (latent.remark is None) is probe.accepted
    assert found.places == {ENV: FEWEST_PLACES}
