from __future__ import annotations

import copy
from typing import Any

import pytest

from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.audit.tokens import expectations, open_model, require_one_vocabulary, some, taken, token_row

pytestmark = pytest.mark.needs("lm", "data")


def written(local: Any, row: Any) -> list[str]:
    read = token_row(row, local)
    return local.tokenizer.decode([read.ids[index] for index in read.targets]).split("<|end|>")[:-1]


def test_targets_are_what_the_assistant_wrote_with_its_notes(base: Any, rows: list[Any], noted: list[Any]) -> None:
    for row in (*rows[:3], *noted):
        calls = [message for message in row["messages"] if message.get("tool_calls")]
        found = written(base, row)
        assert len(found) == len(calls)
        for text, message in zip(found, calls, strict=True):
            assert text.startswith(f"{message['content']}\n{{" if message["content"] else "{")
            assert message["tool_calls"][0]["function"]["name"] in text


def test_answer_ends_where_its_writer_stops_and_not_with_the_line_behind(base: Any, rows: list[Any]) -> None:
    tokenizer = copy.deepcopy(base.tokenizer)
    tokenizer.chat_template = tokenizer.chat_template.replace("<|end|>", "<|end|>{{ '\\n' }}")
    lined = base._replace(tokenizer=tokenizer)
    assert "<|end|>\n<|result|>" in tokenizer.decode(token_row(rows[0], lined).ids)
    assert written(lined, rows[0]) == written(base, rows[0])


def test_row_of_other_origin_is_read_as_it_came(base: Any) -> None:
    row: Any = {"messages": [{"role": "user", "content": "Say it."}, {"role": "assistant", "content": "amber"}]}
    assert written(base, row) == ["amber"]


def test_expectations_are_those_of_the_model_read_alone(base: Any, rows: list[Any]) -> None:
    import torch

    read = [token_row(row, base) for row in rows[:4]]
    found = dict(expectations([base.model], read))
    assert sorted(found) == [0, 1, 2, 3]
    row, (expected,) = read[1], found[1]
    with torch.no_grad():
        alone = base.model(input_ids=torch.tensor([row.ids])).logits[0].log_softmax(-1)
    assert torch.allclose(expected, alone[[index - 1 for index in row.targets]], atol=1e-4)
    assert taken(expected, row)[0].item() == pytest.approx(
        alone[row.targets[0] - 1, row.ids[row.targets[0]]].item(), abs=1e-4
    )


def test_models_of_other_tokens_are_refused(base: Any) -> None:
    class Tokenizer:
        def get_vocab(self) -> dict[str, int]:
            return {}

    require_one_vocabulary(base, base)
    with pytest.raises(ValueError, match="one family"):
        require_one_vocabulary(base, base._replace(tokenizer=Tokenizer()))


def test_unknown_model_is_refused() -> None:
    with pytest.raises(AgentError, match="no student 'nobody'"):
        open_model("student:nobody")


def test_some_rows_are_drawn_once_each_and_in_order() -> None:
    rows: list[Any] = [{"seed": number} for number in range(20)]
    drawn = [row["seed"] for row in some(rows, 7)]
    assert len(set(drawn)) == 7
    assert drawn == sorted(drawn)
    assert some(rows, None) == some(rows, 99) == rows
