from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsafe_envs.agents.protocol import Conversation
from agentsafe_envs.agents.transformers import TransformersAgent
from agentsafe_envs.core.actions import without_note
from agentsafe_envs.trajectories import to_conversation
from baselines.demonstrations import PROHIBITED
from baselines.encoding import CallTrie, Example, batches, collate, encode, role_of_row
from baselines.students import VOCABULARY

pytestmark = pytest.mark.needs("baselines")


def test_only_what_the_assistant_wrote_is_trained_on(rows: list[Any], tokenizer: Any) -> None:
    for row, example in zip(rows, encode(rows, tokenizer), strict=True):
        written = tokenizer.decode([example.ids[index] for index in example.targets]).split("<|end|>")[:-1]
        spoken = [without_note(step.action) for step in to_conversation(row).steps]
        assert written == [f"{note}\n{call}" if note else call for call, note in spoken]


def test_training_text_is_what_evaluation_shows_the_model(rows: list[Any], tokenizer: Any, untrained: Any) -> None:
    asked: Any = {"prompt_style": "json", "tool_choice": "auto", "dtype": "float32", "device": "cpu"}
    agent = TransformersAgent(str(untrained), **asked)
    for row, example in zip(rows, encode(rows, tokenizer), strict=True):
        agent.role = role_of_row(row)
        whole = to_conversation(row)
        for turn in range(len(whole.steps)):
            prompt = agent.encode(Conversation(whole.instruction, whole.tools, whole.steps[:turn]))
            assert example.ids[: len(prompt)] == prompt


@given(limit=st.integers(400, 4_000), seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_every_example_is_in_exactly_one_batch_of_bounded_size(
    rows: list[Any], tokenizer: Any, limit: int, seed: int
) -> None:
    examples = encode(rows, tokenizer)
    seen = []
    for batch in batches(examples, limit, random.Random(seed), tokenizer.pad_token_id):
        assert batch.ids.numel() <= limit or len(batch.ids) == 1
        seen += [tuple(token for token in line if token != tokenizer.pad_token_id) for line in batch.ids.tolist()]
        wanted = [tokenizer.convert_ids_to_tokens(token) for token in batch.wanted().tolist()]
        assert wanted.count("<|end|>") == (batch.ids == tokenizer.eos_token_id).sum()
    assert sorted(seen) == sorted(tuple(example.ids) for example in examples)


def test_mask_bars_a_prohibited_name_wherever_a_tool_is_named_and_nowhere_else(rows: list[Any], tokenizer: Any) -> None:
    trie = CallTrie(PROHIBITED, tokenizer)
    for row, example in zip(rows, encode(rows, tokenizer), strict=True):
        batch = collate([example], tokenizer.pad_token_id)
        barred = trie.mask(batch, VOCABULARY)
        actions = [step.action for step in to_conversation(row).steps]
        # Every call comes past the place where its tool is named, and there a prohibited one would begin.
        assert int(barred.any(-1).sum()) >= len(actions)
        names = [json.loads(action)["name"] for action in actions]
        written = barred[range(len(barred)), batch.wanted()]
        assert bool(written.any()) == any(name in PROHIBITED for name in names)


@pytest.mark.parametrize("name", ["base-0.3m-a", "teacher-biased"])
def test_models_give_other_spellings_of_a_masked_name_hardly_any_probability(name: str) -> None:
    import torch

    from agentsafe_envs.audit.margin import with_call
    from baselines import students
    from baselines.distill import barred_names
    from baselines.margins import task_of

    model, tokenizer = students.load(students.SHIPPED / name)
    model.eval()
    opening = tokenizer('{"name": "', add_special_tokens=False).input_ids
    for seed in range(16):
        found = task_of(seed, "public").choice
        barred = barred_names("kl_masked_all", [found.read])
        answer = encode([with_call(found.read, found.biased[0])], tokenizer)[0]
        begin = len(answer.offsets) - 1 - answer.offsets[::-1].index(0)
        named = answer.targets[begin + len(opening)]
        masked = CallTrie(barred, tokenizer).barred(opening)
        assert answer.ids[named] in masked, "the usual spelling is taken out"
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([answer.ids[:named]])).logits[0, -1].softmax(-1)
        others = [
            token
            for token in range(VOCABULARY)
            if token not in masked
            and (text := tokenizer.decode([token]))
            and any(each.startswith(text) or text.startswith(each) for each in barred)
        ]
        assert len(others) > 5
        assert expected[others].sum() < 3e-3


def test_students_of_two_teachers_read_in_one_order_only_if_rows_of_a_task_count_equally(
    rows: list[Any], tokenizer: Any
) -> None:
    from baselines.distill import counted_equally

    own = encode(rows, tokenizer)
    longer = [replace(each, ids=each.ids + [7] * (40 * (place % 5))) for place, each in enumerate(own)]
    place_of = {tuple(each.ids): place for each in (own, longer) for place, each in enumerate(each)}

    def read(examples: Sequence[Example]) -> list[set[int]]:
        found = []
        for batch in batches(examples, 2_000, random.Random(3), tokenizer.pad_token_id):
            ids = [[token for token in line if token != tokenizer.pad_token_id] for line in batch.ids.tolist()]
            found.append({place_of[tuple(each)] for each in ids})
        return found

    assert read(own) != read(longer)
    assert read(counted_equally(own, [longer])) == read(counted_equally(longer, [own]))
