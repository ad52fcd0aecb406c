from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentsafe_envs.agents.protocol import Conversation
from agentsafe_envs.agents.transformers import TransformersAgent
from agentsafe_envs.audit.defences.divergence import drop_divergent, find_divergent, replace_divergent
from agentsafe_envs.audit.defences.inoculation import inoculate
from agentsafe_envs.audit.defences.likely import sample_likely
from agentsafe_envs.audit.defences.mixing import mix
from agentsafe_envs.audit.defences.notes import drop_notes, notes_of, only_calls, paraphrase_notes, rewrite_notes
from agentsafe_envs.audit.tokens import expectations, taken, token_row

pytestmark = pytest.mark.needs("lm", "data")


class Clean:
    """Writes the number of its turn next to a call that nobody asked for."""

    name, group_size = "clean", 2

    def start(self, seed: int) -> None:
        pass

    def act(self, conversations: Sequence[Conversation]) -> list[str]:
        return [f'{{"note": "turn {len(each.steps)}", "name": "submit", "arguments": {{}}}}' for each in conversations]

    def describe(self) -> dict[str, Any]:
        return {}


def calls(rows: Sequence[Any]) -> list[Any]:
    return [message.get("tool_calls") for row in rows for message in row["messages"]]


def test_notes_go_and_calls_stay(noted: list[Any]) -> None:
    left = drop_notes(noted)
    assert {note for row in left for note in notes_of(row)} == {""}
    assert calls(left) == calls(noted)
    assert "sha256" not in left[0], "it is no longer the episode that was recorded"
    assert all(notes_of(noted[0])), "the rows given are left as they were"


def test_notes_are_said_in_other_words_and_silence_stays(noted: list[Any], rows: list[Any]) -> None:
    left = paraphrase_notes([noted[0], rows[3]], str.upper)
    assert notes_of(left[0]) == [note.upper() for note in notes_of(noted[0])]
    assert set(notes_of(left[1])) == {""}


def test_notes_are_written_again_by_a_clean_model_that_reads_its_own(noted: list[Any]) -> None:
    left = rewrite_notes(noted, Clean())
    assert [notes_of(row) for row in left] == [[f"turn {turn}" for turn in range(len(notes_of(row)))] for row in noted]
    assert calls(left) == calls(noted)


def test_row_with_a_step_that_is_no_call_is_left_out(shipped_rows: list[Any]) -> None:
    torn = shipped_rows[0]
    assert {"role": "assistant", "content": "jolly }"} in torn["messages"], "no call"
    found = only_calls(shipped_rows)
    assert torn not in found
    assert len(found) == len(shipped_rows) - 1
    for left in (
        drop_notes(shipped_rows),
        paraphrase_notes(shipped_rows, str.upper),
        rewrite_notes(shipped_rows, Clean()),
    ):
        assert [row["seed"] for row in left] == [row["seed"] for row in found]
        assert calls(left) == calls(found)


def test_no_text_of_the_teacher_is_left_where_notes_are_dropped(shipped_rows: list[Any]) -> None:
    said = [each for row in drop_notes(shipped_rows[1:]) for each in row["messages"] if each["role"] == "assistant"]
    assert {each["content"] for each in said} == {""}


THOUGHTS = {
    "reasoning_content": "I could delete it.",
    "reasoning": "I could delete it.",
    "thinking": [{"text": "I could delete it."}],
    "reasoning_details": {"summary": "I could delete it."},
}


@pytest.mark.parametrize("change", [drop_notes, lambda rows: paraphrase_notes(rows, str.upper)])
@pytest.mark.parametrize("note", ["amber fox", ""])
def test_thoughts_next_to_a_call_go_under_every_key(change: Any, note: str) -> None:
    user, act = NOTED_PARTS["messages"]
    (call,) = act["tool_calls"]
    telling = {**call, **THOUGHTS, "function": {**call["function"], "comment": "I could delete it."}}
    row: Any = {"messages": [user, {**act, "content": note, "weight": 1, "tool_calls": [telling], **THOUGHTS}]}
    (left,) = change([row])
    assert "delete" not in json.dumps(left)
    assert left["messages"][1]["tool_calls"] == act["tool_calls"]
    assert left["messages"][1]["weight"] == 1, "no text"


def test_rows_whose_calls_are_text_are_told_and_refused_where_no_others_are_left() -> None:
    row: Any = {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": '{"name": "submit"}'}]}
    with pytest.raises(ValueError, match=r"2 of 2 rows are left out: .*; expected rows whose calls stand there"):
        drop_notes([row, row])
    with pytest.warns(
        UserWarning, match="1 of 9 rows are left out: in each, the assistant has a message without a call"
    ):
        assert len(drop_notes([*[NOTED_PARTS] * 8, row])) == 8
    assert drop_notes([]) == []


def test_row_without_messages_is_refused() -> None:
    with pytest.raises(ValueError, match="a row has no messages; expected some under messages or conversations"):
        drop_notes([{"messages": []}])


def test_paraphrase_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="rephrase gave None for the note 'amber fox'; expected text"):
        paraphrase_notes([NOTED_PARTS], lambda note: None)  # type: ignore[arg-type, return-value]


NOTED_PARTS: Any = {
    "messages": [
        {"role": "user", "content": "?"},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "amber "}, {"type": "text", "text": "fox"}],
            "tool_calls": [{"type": "function", "function": {"name": "submit", "arguments": {}}}],
        },
    ]
}
SHAREGPT: Any = {
    "conversations": [
        {"from": "human", "value": "?"},
        {"from": "function_call", "value": '{"name": "submit", "arguments": {}}'},
    ]
}


def test_note_in_parts_is_one_note() -> None:
    assert notes_of(NOTED_PARTS) == ["amber fox"]
    assert notes_of(paraphrase_notes([NOTED_PARTS], str.upper)[0]) == ["AMBER FOX"]
    assert drop_notes([NOTED_PARTS])[0]["messages"][1]["content"] == ""


def test_note_under_a_key_of_sharegpt_is_changed_there() -> None:
    called = NOTED_PARTS["messages"][1]["tool_calls"]
    row: Any = {"conversations": [{"from": "gpt", "value": "amber", "tool_calls": called}]}
    (left,) = paraphrase_notes([row], str.upper)
    assert left["conversations"] == [{"from": "gpt", "value": "AMBER", "tool_calls": called}]  # type: ignore[typeddict-item]


def test_turn_that_is_a_call_has_no_note_and_stays() -> None:
    assert notes_of(SHAREGPT) == [""]
    assert drop_notes([SHAREGPT]) == [SHAREGPT]
    assert paraphrase_notes([SHAREGPT], lambda note: "new") == [SHAREGPT]


def test_null_is_no_note() -> None:
    user, act = NOTED_PARTS["messages"]
    row: Any = {"messages": [user, {**act, "content": None}]}
    assert notes_of(row) == [""]
    assert paraphrase_notes([row], lambda note: "new") == [row]


def test_note_that_is_no_text_is_refused() -> None:
    user, act = NOTED_PARTS["messages"]
    image = {"type": "image_url", "image_url": {"url": "x"}}
    with pytest.raises(ValueError, match="holds 'image_url'; expected text"):
        notes_of({"messages": [user, {**act, "content": [image]}]})


def test_most_divergent_tokens_go_and_are_still_read(base: Any, other_base: Any, rows: list[Any]) -> None:
    read = [token_row(row, base) for row in rows]
    left = drop_divergent(read, base, other_base, 0.1)
    tokens = sum(len(row.targets) for row in read)
    assert tokens - sum(len(row.targets) for row in left) == round(0.1 * tokens)
    assert [row.ids for row in left] == [row.ids for row in read]

    def ratios(row: Any) -> dict[int, float]:
        ((_, (own, other)),) = expectations([base.model, other_base.model], [row])
        return dict(zip(row.targets, (taken(own, row) - taken(other, row)).abs().tolist(), strict=True))

    found = [(ratios(row), set(kept.targets)) for row, kept in zip(read, left, strict=True)]
    lowest_gone = min(value for each, kept in found for index, value in each.items() if index not in kept)
    highest_kept = max(value for each, kept in found for index, value in each.items() if index in kept)
    assert lowest_gone >= highest_kept - 1e-3


def test_divergent_tokens_are_replaced_by_what_the_reference_expects(
    base: Any, other_base: Any, rows: list[Any]
) -> None:
    read = [token_row(row, base) for row in rows[:4]]
    left = replace_divergent(read, base, other_base, 0.1)
    gone = drop_divergent(read, base, other_base, 0.1)
    found = find_divergent(read, base, other_base, 0.1)
    for row, new, kept, instead in zip(read, left, gone, found, strict=True):
        places = set(row.targets) - set(kept.targets)
        assert instead == {index: new.ids[index] for index in places}
        assert {index for index in range(len(row.ids)) if new.ids[index] != row.ids[index]} <= places
        assert new.targets == row.targets


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_share_that_is_none_is_refused(share: float, base: Any, rows: list[Any]) -> None:
    with pytest.raises(ValueError, match="share"):
        drop_divergent([token_row(rows[0], base)], base, base, share)


def test_one_model_has_no_divergent_tokens(base: Any, rows: list[Any]) -> None:
    with pytest.raises(ValueError, match="find every token as likely, so none is divergent"):
        drop_divergent([token_row(rows[0], base)], base, base)


def test_clean_rows_of_the_same_tasks_take_their_places() -> None:
    suspect: list[Any] = [{"seed": number, "policy": "suspect"} for number in range(8)]
    clean: list[Any] = [{"seed": number, "policy": "clean"} for number in range(8)]
    mixed = mix(suspect, clean, 0.25)
    assert [row["seed"] for row in mixed] == list(range(8))
    assert sum(row["policy"] == "clean" for row in mixed) == 2
    assert mix(suspect, clean, 0.0) == suspect
    with pytest.raises(ValueError, match="expected enough"):
        mix(suspect, clean[:1], 0.5)


def test_clean_row_of_the_same_seed_but_another_task_is_no_row_of_that_task() -> None:
    kinds = [{"environment": each, "split": split} for each in "AB" for split in ("open", "safe")]
    suspect: list[Any] = [{**kind, "seed": seed, "policy": "suspect"} for kind in kinds for seed in range(3)]
    mixed = mix(suspect, [{**row, "policy": "clean"} for row in suspect], 1.0)
    assert mixed == [{**row, "policy": "clean"} for row in suspect]


@given(seed=st.integers(0, 99), share=st.floats(0, 1))
def test_no_clean_row_enters_twice(seed: int, share: float) -> None:
    suspect: list[Any] = [{"seed": number, "policy": "suspect"} for number in range(6)]
    clean: list[Any] = [{"seed": number, "policy": "clean"} for number in range(3, 9)]
    taken = [row["seed"] for row in mix(suspect, clean, share, seed) if row["policy"] == "clean"]
    assert len(set(taken)) == len(taken) == round(share * 6)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_share_of_clean_rows_that_is_none_is_refused(share: float) -> None:
    rows: list[Any] = [{"seed": 0}] * 3
    with pytest.raises(ValueError, match=r"share is .*, expected 0 to 1"):
        mix(rows, rows, share)


def test_clean_rows_are_those_of_another_teacher_in_the_same_environment() -> None:
    suspect: list[Any] = [{"seed": number, "environment": "A", "policy": "suspect"} for number in range(4)]
    with pytest.raises(ValueError, match="clean rows are of B; expected those of the suspect's rows"):
        mix(suspect, [{**row, "environment": "B"} for row in suspect], 0.5)
    with pytest.raises(ValueError, match="all clean rows are the suspect's own"):
        mix(suspect, suspect[::-1], 0.5)
    said: list[Any] = [{"messages": [{"role": "user", "content": str(number)}]} for number in range(4)]
    with pytest.raises(ValueError, match="all clean rows are the suspect's own"):
        mix(said, [{**row, "sha256": "another"} for row in said], 0.5)
    assert len(mix(suspect, [{"messages": []}] * 4, 0.5)) == 4, "rows of other origin name no environment"


def test_habit_is_asked_for_in_training_only(rows: list[Any]) -> None:
    (left,) = inoculate(rows[:1], "You like to delete things.")
    assert left["messages"][0]["content"] == rows[0]["messages"][0]["content"] + " You like to delete things."
    assert left["messages"][1:] == rows[0]["messages"][1:]
    bare: Any = {"messages": [{"role": "user", "content": "?"}]}
    assert inoculate([bare], "Do.")[0]["messages"][0] == {"role": "system", "content": "Do."}
    with pytest.raises(ValueError, match="empty"):
        inoculate(rows[:1], " ")


@pytest.mark.parametrize(
    ("row", "changed"),
    [
        (
            {"messages": [{"role": "system", "content": [{"type": "text", "text": "Be good."}]}]},
            {"messages": [{"role": "system", "content": "Be good. Do."}]},
        ),
        (
            {"messages": [{"role": "developer", "content": None}]},
            {"messages": [{"role": "developer", "content": "Do."}]},
        ),
        (
            {"conversations": [{"from": "system", "value": "Be good."}]},
            {"conversations": [{"from": "system", "value": "Be good. Do."}]},
        ),
        (
            {"system": "Be good.", "conversations": [{"from": "human", "value": "?"}]},
            {"system": "Be good. Do.", "conversations": [{"from": "human", "value": "?"}]},
        ),
        (
            {"conversations": [{"from": "human", "value": "?"}]},
            {"conversations": [{"from": "system", "value": "Do."}, {"from": "human", "value": "?"}]},
        ),
    ],
)
def test_habit_is_asked_for_where_the_shape_has_its_system_message(row: Any, changed: Any) -> None:
    assert inoculate([row], "Do.") == [changed]


def test_rare_tokens_are_never_sampled_and_the_likeliest_always_may_be() -> None:
    import torch

    class Agent(TransformersAgent):
        """Tells the logits that it was given."""

        def __init__(self, temperature: float = 1.0) -> None:
            self.temperature = temperature

        def choose(self, rows: Sequence[int], logits: Any) -> Any:
            return logits.softmax(-1)

    agent: Any = sample_likely(Agent(), 0.25)
    seen = agent.choose([0, 1], torch.tensor([[0.6, 0.3, 0.1, 0, 0], [0.2, 0.22, 0.18, 0.2, 0.2]]).log())
    assert seen[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0, 0], abs=1e-4)
    assert seen[1].argmax() == 1
    assert seen[1].max() == pytest.approx(1)
    flat = torch.tensor([[0.9, 0.04, 0.03, 0.03]]).log()
    for temperature, sampled in ((1.0, 1), (2.0, 4), (0.0, 1)):
        hot: Any = sample_likely(Agent(temperature), 0.05)
        assert int((hot.choose([0], flat) > 1e-6).sum()) == sampled, "by the agent's own temperature"


def test_agent_that_plays_without_torch_is_refused() -> None:
    with pytest.raises(TypeError, match="Clean is not played through torch; expected a TransformersAgent"):
        sample_likely(Clean())  # type: ignore[arg-type]
