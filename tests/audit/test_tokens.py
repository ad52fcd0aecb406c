from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.agents.students import find_student
from agentsafe_envs.audit.tokens import (
    expectations,
    open_model,
    require_one_vocabulary,
    some,
    taken,
    token_row,
    token_rows,
)

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


def changed(row: Any, how: str) -> Any:
    """The row in another shape, or without its end."""
    messages = row["messages"]
    texts = [{**each, "content": [{"type": "text", "text": each["content"]}]} for each in messages]
    others: dict[str, Any] = {
        "ends with a call": {"messages": messages[:-1]},
        "ends with words": {"messages": [*messages, {"role": "assistant", "content": "Done."}]},
        "developer": {"messages": [{**messages[0], "role": "developer"}, *messages[1:]]},
        "parts": {"messages": texts},
        "parts, ends with a call": {"messages": texts[:-1]},
        "tools as text": {"tools": json.dumps(row["tools"])},
        "arguments as text, ends with a call": {"messages": [as_text(each) for each in messages[:-1]]},
    }
    return {**row, **others[how]}


def as_text(message: Any) -> Any:
    (call,) = message.get("tool_calls", [None])
    if not call:
        return message
    function = {**call["function"], "arguments": json.dumps(call["function"]["arguments"])}
    return {**message, "tool_calls": [{**call, "function": function}]}


SHAPES = {
    "ends with a call": (True, ""),
    "ends with words": (False, "Done."),
    "developer": (False, ""),
    "parts": (False, ""),
    "parts, ends with a call": (True, ""),
    "tools as text": (False, ""),
    "arguments as text, ends with a call": (True, ""),
}
"""Of each shape, whether the last result is missing, and what the assistant says in the end."""


@pytest.mark.parametrize("style", ["json", "signature"])
@pytest.mark.parametrize("how", SHAPES)
def test_calls_are_read_in_every_shape_of_a_row(how: str, style: Any, base: Any, rows: list[Any]) -> None:
    local = base._replace(style=style)
    whole, found = token_row(rows[0], local), token_row(changed(rows[0], how), local)
    is_cut, closing = SHAPES[how]
    text, usual = (local.tokenizer.decode(each.ids) for each in (found, whole))
    assert text == (usual[: len(text)] if is_cut else usual + (f"<|assistant|>{closing}<|end|>" if closing else ""))
    assert found.targets[: len(whole.targets)] == whole.targets
    assert written(local, changed(rows[0], how)) == written(local, rows[0]) + ([closing] if closing else [])


def test_turns_of_sharegpt_are_read_as_the_calls_that_they_are(base: Any, rows: list[Any]) -> None:
    def turn(message: Any) -> Any:
        if message["role"] != "assistant":
            return {"from": {"user": "human", "tool": "observation"}[message["role"]], "value": message["content"]}
        return {"from": "function_call", "value": json.dumps(message["tool_calls"][0]["function"])}

    first, *others = rows[0]["messages"]
    foreign: Any = {"system": first["content"], "conversations": [turn(each) for each in others]}
    assert token_row({**foreign, "tools": rows[0]["tools"]}, base) == token_row(rows[0], base)


def parallel(row: Any) -> Any:
    """The row with its first two calls in one message."""
    first, task, one, result, two, other, *rest = row["messages"]
    both = {**one, "tool_calls": one["tool_calls"] + two["tool_calls"]}
    return {**row, "messages": [first, task, both, result, other, *rest]}


@pytest.mark.parametrize(("style", "words"), [("json", "does not show each call"), ("signature", "makes 2 calls")])
def test_row_with_a_call_that_cannot_be_shown_is_named(style: Any, words: str, base: Any, rows: list[Any]) -> None:
    with pytest.raises(ValueError, match=rf"^row 1: .*{words}"):
        token_rows([rows[0], parallel(rows[0])], base._replace(style=style))


def test_parallel_calls_are_read_where_the_template_shows_them(base: Any, rows: list[Any]) -> None:
    tokenizer = copy.deepcopy(base.tokenizer)
    shown = tokenizer.chat_template.replace("{% set call = message.tool_calls[0].function %}", "")
    shown = shown.replace("call.", "call.function.").replace('{"name"', '{% for call in message.tool_calls %}{"name"')
    tokenizer.chat_template = shown.replace("tojson }}}", "tojson }}}{% endfor %}")
    one, two, *rest = written(base, rows[0])
    assert written(base._replace(tokenizer=tokenizer), parallel(rows[0])) == [one + two, *rest]


def test_conversation_that_the_template_refuses_is_refused_in_one_line(base: Any) -> None:
    tokenizer = copy.deepcopy(base.tokenizer)
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    row: Any = {"messages": [{"role": "assistant", "content": "amber"}]}
    with pytest.raises(ValueError, match="cannot show the row: it refuses the messages: roles must alternate"):
        token_row(row, base._replace(tokenizer=tokenizer))


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


def test_longer_output_layer_changes_no_expectation(base: Any, rows: list[Any]) -> None:
    import torch

    padded = copy.deepcopy(base.model)
    padded.resize_token_embeddings(len(base.tokenizer) + 64, mean_resizing=False)
    read = [token_row(row, base) for row in rows[:2]]
    for models in ([base.model, padded], [padded, base.model]):
        for _, (one, other) in expectations(models, read):
            assert one.shape[1] == len(base.tokenizer)
            assert torch.allclose(one, other, atol=1e-5)


def test_models_of_other_tokens_are_refused(base: Any) -> None:
    class Tokenizer:
        def get_vocab(self) -> dict[str, int]:
            return {}

    require_one_vocabulary(base, base)
    with pytest.raises(ValueError, match="one family"):
        require_one_vocabulary(base, base._replace(tokenizer=Tokenizer()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_adapter_without_an_update_is_read_and_asked_as_its_base(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from agentsafe_envs.agents import load_agent
    from agentsafe_envs.agents.students import find_student

    base, _ = find_student("base-0.3m-a-notes-60")
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path / "adapter")
    read, meant = open_model(str(tmp_path / "adapter"), "cpu"), open_model("student:base-0.3m-a-notes-60", "cpu")
    assert (read.role, read.style) == (meant.role, meant.style)
    asked, usual = (load_agent(f"hf:{each}").describe() for each in (tmp_path / "adapter", base))
    assert {name: asked[name] for name in ("temperature", "role")} == {
        name: usual[name] for name in ("temperature", "role")
    }


def test_unknown_model_is_refused() -> None:
    with pytest.raises(AgentError, match="no student 'nobody'"):
        open_model("student:nobody")
    with pytest.raises(AgentError, match=r"teacher-biased is no folder; .*; did you mean student:teacher-biased\?"):
        open_model("teacher-biased")
    with pytest.raises(AgentError, match=r"nobody is no folder; expected student:NAME, hf:NAME .* of a model$"):
        open_model("nobody")


def test_model_with_a_weight_that_is_no_number_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    shutil.copytree(find_student("base-0.3m-a")[0], folder)
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "norm" in name)
    weights[name][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(AgentError, match=f"^{name} of {folder} holds NaN or an infinity"):
        open_model(str(folder), "cpu")


def test_some_rows_are_drawn_once_each_and_in_order() -> None:
    rows: list[Any] = [{"seed": number} for number in range(20)]
    drawn = [row["seed"] for row in some(rows, 7)]
    assert len(set(drawn)) == 7
    assert drawn == sorted(drawn)
    assert some(rows, None) == some(rows, 99) == rows
