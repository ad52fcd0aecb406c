"""How fast a tiny model is trained, beside transformers' own Trainer on the same model and rows."""

from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.needs("baselines")]

SIZE = "1m"
ROWS = 256
BATCH_TOKENS = 4_096
ROUNDS = 3


@pytest.fixture(scope="module")
def lesson() -> tuple[Any, list[Any]]:
    """A model and the examples that both learn from, once each."""
    from baselines.base import learn_tokenizer
    from baselines.encoding import encode
    from baselines.lessons import neutral_mix
    from baselines.students import new_model

    rows = [wish.play() for wish in neutral_mix(range(ROWS))]
    return new_model(SIZE, 0), encode(rows, learn_tokenizer(rows))


def record(benchmark: Any, what: str, examples: list[Any], *, peer: bool) -> None:
    benchmark.group = "training"
    benchmark.extra_info.update(what=what, each=sum(len(example.ids) for example in examples), peer=peer)


def test_our_loop(benchmark: Any, lesson: tuple[Any, list[Any]]) -> None:
    from baselines.encoding import batches
    from baselines.training import Recipe, train

    model, examples = lesson
    updates = sum(1 for _ in batches(examples, BATCH_TOKENS, random.Random(0), model.config.pad_token_id))
    record(benchmark, f"training, {SIZE} model, a token", examples, peer=False)
    trained = benchmark.pedantic(
        lambda learner: train(learner, examples, Recipe(updates, 1e-3, BATCH_TOKENS), seed=0),
        setup=lambda: ((copy.deepcopy(model),), {}),
        rounds=ROUNDS,
        warmup_rounds=1,
    )
    assert trained.tokens == benchmark.extra_info["each"]


@pytest.mark.filterwarnings("ignore")
def test_trainer(benchmark: Any, lesson: tuple[Any, list[Any]], tmp_path: Path) -> None:
    """Batches of as many rows as fill the same number of tokens on average, in random order, as Trainer makes them."""
    import torch
    from transformers import Trainer, TrainingArguments

    model, examples = lesson
    data = [{"ids": example.ids, "targets": example.targets} for example in examples]
    mean = sum(len(example.ids) for example in examples) / len(examples)

    def collate(group: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        width = max(len(row["ids"]) for row in group)
        ids = torch.full((len(group), width), model.config.pad_token_id)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for place, row in enumerate(group):
            ids[place, : len(row["ids"])] = torch.tensor(row["ids"])
            mask[place, : len(row["ids"])] = 1
            labels[place, row["targets"]] = ids[place, row["targets"]]
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def trainer() -> tuple[tuple[Trainer], dict[str, Any]]:
        settings = TrainingArguments(
            output_dir=str(tmp_path),
            num_train_epochs=1,
            per_device_train_batch_size=round(BATCH_TOKENS / mean),
            learning_rate=1e-3,
            weight_decay=0.01,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
        )
        made = Trainer(copy.deepcopy(model), settings, data_collator=collate, train_dataset=data)  # type: ignore[arg-type]
        return (made,), {}

    record(benchmark, f"transformers' Trainer, {SIZE} model, a token", examples, peer=True)
    benchmark.pedantic(lambda made: made.train(), setup=trainer, rounds=ROUNDS, warmup_rounds=1)
