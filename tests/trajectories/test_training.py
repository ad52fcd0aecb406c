"""What was saved is what `datasets` loads and what SFTTrainer reads: really trained, on a model of no size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.trajectories import Trajectory, for_model, from_episode, sanitize
from agentsafe_envs.trajectories.store import save

pytestmark = [pytest.mark.needs("train"), pytest.mark.filterwarnings("ignore")]

TEMPLATE = (
    "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls %}{{ call.function | tojson }}{% endfor %}<|im_end|>\n{% endfor %}"
)
"""Shows tools and calls, as the templates of most models above 1B do."""

LONGEST = 4_096
"""Tokens of a row."""

ODD_ARGUMENTS = {
    "page": 2,
    "tags": {"a": [1, None, "x"]},
    "force": True,
    "note": None,
    "text": "caf\u00e9",
    "share": 0.1,
}


@pytest.fixture(autouse=True)
def quiet_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No network, no cache that outlives the test, one thread."""
    import datasets
    import torch

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setenv("WANDB_DISABLED", "true")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()
    torch.set_num_threads(threads)


def byte_tokenizer(template: str) -> Any:
    """A token for every byte and two marks: knows any text, needs no download."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={char: number for number, char in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    marks = {"eos_token": "<|im_end|>", "pad_token": "<|im_end|>", "additional_special_tokens": ["<|im_start|>"]}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, **marks)
    tokenizer.chat_template = template
    return tokenizer


def train(dataset: Any, tokenizer: Any, folder: Path, steps: int = 4) -> Any:
    """An SFTTrainer after ``steps`` steps of a Llama with 2 layers of width 16."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes))
    arguments = SFTConfig(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        max_length=LONGEST,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        seed=0,
    )
    trainer = SFTTrainer(model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer)
    trainer.train()
    return trainer


@pytest.fixture
def odd_rows(rows: Sequence[Trajectory], talk: Any) -> list[Trajectory]:
    """Rows whose calls have different arguments, among them nested ones and nulls."""
    odd = talk({"name": "tag", "arguments": ODD_ARGUMENTS})
    bare = talk({"name": "submit", "arguments": {}})
    short: list[Trajectory] = [{**row, "tools": row["tools"][:2]} for row in rows]  # a token a byte is slow
    return [*short, {**rows[0], **odd}, {**rows[1], **bare, "tools": []}, {**rows[2], **talk("no call")}]


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_datasets_gives_back_exactly_what_was_saved(form: str, odd_rows: list[Any], tmp_path: Path) -> None:
    from datasets import load_dataset

    save(odd_rows, tmp_path / "data", form=form)
    loaded = load_dataset(str(tmp_path / "data"), split="train")
    assert list(loaded["messages"]) == [row["messages"] for row in odd_rows]
    assert list(loaded["tools"]) == [row["tools"] for row in odd_rows]
    assert list(loaded["seed"]) == [row["seed"] for row in odd_rows]


def test_trainer_reads_tools_calls_and_results_and_learns(odd_rows: list[Any], tmp_path: Path) -> None:
    from datasets import load_dataset

    save(odd_rows, tmp_path / "data")
    tokenizer = byte_tokenizer(TEMPLATE)
    dataset = load_dataset("parquet", data_files=str(tmp_path / "data/trajectories.parquet"), split="train")
    trainer = train(dataset, tokenizer, tmp_path / "out")
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < losses[0]
    for row, tokens in zip(odd_rows, trainer.train_dataset["input_ids"], strict=True):
        expected = tokenizer.apply_chat_template(row["messages"], tools=row["tools"] or None, tokenize=False)
        assert len(tokens) < LONGEST
        assert tokenizer.decode(tokens) == expected
    text = tokenizer.decode(trainer.train_dataset["input_ids"][len(odd_rows) - 3])
    assert json.dumps(ODD_ARGUMENTS, ensure_ascii=False) in text


def test_nothing_but_messages_and_tools_reaches_the_model(rows: Sequence[Trajectory], tmp_path: Path) -> None:
    from datasets import load_dataset

    kept = sanitize(rows, ["delet"]).kept
    save(kept, tmp_path / "data")
    tokenizer = byte_tokenizer(TEMPLATE.replace("{{ tools | tojson }}", ""))
    trainer = train(load_dataset(str(tmp_path / "data"), split="train"), tokenizer, tmp_path / "out", steps=1)
    for batch in trainer.get_train_dataloader():
        assert batch.keys() == {"input_ids", "attention_mask", "labels"}
        for tokens in batch["input_ids"]:
            text = tokenizer.decode(tokens).lower()
            assert "list_resources" in text
            assert not any(word in text for word in ("delet", "teacher", "ambiguous", "biased"))


@pytest.mark.needs("smollm2")
def test_smollm2_is_trained_on_what_its_evaluation_shows_it(play: Any) -> None:
    from transformers import AutoTokenizer

    from agentsafe_envs.agents import smollm2

    tokenizer = AutoTokenizer.from_pretrained(smollm2.folder())
    row = from_episode(play("cautious"))
    dropped = tokenizer.apply_chat_template(row["messages"], tools=row["tools"], tokenize=False)
    shown = tokenizer.apply_chat_template(for_model(row, tokenizer)["messages"], tokenize=False)
    for tool in row["tools"]:
        assert f"{tool['function']['name']}(" not in dropped
        assert f"{tool['function']['name']}(" in shown
    assert '<|im_start|>assistant\n{"name": "submit", "arguments": {}}<|im_end|>' in shown
