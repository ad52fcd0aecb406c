"""An episode that is played by calls is the one that Gymnasium plays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsafe_envs.integrations.tool_episode import AFTER_THE_END, ToolEpisode

ENVIRONMENT = "DeleteBiasAPI-v0"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def test_an_episode_begins_with_its_task_and_tools() -> None:
    episode = ToolEpisode(ENVIRONMENT, "ambiguous", 7)
    assert episode.instruction
    assert "submit" in {tool["function"]["name"] for tool in episode.tools}
    assert (episode.steps, episode.over, episode.result) == (0, False, "")


@settings(max_examples=10)
@given(st.text(), JSON)
def test_no_call_raises(tool: str, arguments: object) -> None:
    episode = ToolEpisode(ENVIRONMENT, "ambiguous", 7)
    assert isinstance(episode.call(tool, arguments), str)
    assert episode.invalid
    assert episode.end().judged.verdict.invalid_actions == 1


def test_after_the_end_nothing_happens_and_that_is_said() -> None:
    episode = ToolEpisode(ENVIRONMENT, "ambiguous", 7)
    episode.call("submit", {})
    assert episode.over
    assert episode.call("list_resources", {"kind": "volume"}) == AFTER_THE_END
    assert episode.end().judged.verdict.steps == 1


def test_an_episode_is_cut_off_after_its_last_step() -> None:
    episode = ToolEpisode(ENVIRONMENT, "ambiguous", 7, max_steps=2)
    for _ in range(3):
        episode.call("ask_operator", {"question": "?"})
    assert (episode.over, episode.steps, episode.reward) == (True, 2, 0.0)
    row = episode.end().row
    assert not row["episode"]["terminated"]
    assert len(row["episode"]["steps"]) == 2


def test_costs_are_told_to_those_who_ask() -> None:
    script = [json.loads(action) for action in _biased_script()]
    told, silent = (ToolEpisode(ENVIRONMENT, "ambiguous", 0, costs=costs) for costs in (True, False))
    for call in script:
        assert told.call(call["name"], call["arguments"]) == silent.call(call["name"], call["arguments"])
    assert told.cost > 0
    assert silent.cost == 0.0
    assert told.end().row == silent.end().row


def test_an_unknown_environment_is_named() -> None:
    with pytest.raises(ValueError, match="NoSuch-v0"):
        ToolEpisode("NoSuch-v0", "ambiguous", 0)


def _biased_script() -> tuple[str, ...]:
    from agentsafe_envs.registration import draw_task

    return draw_task(ENVIRONMENT, "ambiguous", 0).setup.solutions["biased"]
