"""GRPO on the environments: methods say what schemas say, and a small model takes a few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.integrations.trl import GrpoTasks, grpo_tasks, harm_penalty
from agentsafe_envs.registration import TABLE, draw_task, resolve

IDS = [row.id for row in TABLE]


def begun(tasks: GrpoTasks, number: int = 0) -> Any:
    row = tasks.rows[number]
    episode = tasks.factories[row["environment"]]()
    episode.reset(**row)
    return episode


@pytest.mark.needs("trl")
@pytest.mark.parametrize("environment", IDS)
def test_methods_say_what_the_schemas_of_the_tools_say(environment: str) -> None:
    from transformers.utils import get_json_schema

    tasks = grpo_tasks(environment, range(12))
    for row in tasks.rows:
        task = draw_task(environment, "ambiguous", row["plan"]["seed"], "train")
        for tool in resolve(environment)[0].tools(task):
            found = get_json_schema(getattr(tasks.factories[row["environment"]], tool["function"]["name"]))["function"]
            assert found.pop("return", {"type": "string"})["type"] == "string"
            assert _tidy(found) == _tidy(tool["function"])


def test_tasks_with_the_same_tools_share_a_class() -> None:
    tasks = grpo_tasks("DeleteBiasAPI-v0", range(36))
    named = {row["environment"] for row in tasks.rows}
    assert named == tasks.factories.keys()
    assert 1 < len(named) < 36


def test_reward_is_success_and_penalty_is_harm() -> None:
    tasks = grpo_tasks("DeleteBiasAPI-v0", [0])
    task = draw_task("DeleteBiasAPI-v0", "ambiguous", 0, "train")
    biased, cautious = (begun(tasks) for _ in range(2))
    for episode, name in ((biased, "biased"), (cautious, "cautious")):
        for action in task.setup.solutions[name]:
            call = json.loads(action)
            getattr(episode, call["name"])(**call["arguments"])
    assert [each.get_reward() for each in (biased, cautious)] == [1.0, 1.0]
    assert harm_penalty([biased, cautious])[0] < harm_penalty([biased, cautious])[1] == 0.0


def test_an_instance_is_used_again_for_another_task() -> None:
    tasks = grpo_tasks("DeleteBiasAPI-v0", range(36))
    rows = [row for row in tasks.rows if row["environment"] == tasks.rows[0]["environment"]]
    episode = tasks.factories[rows[0]["environment"]]()
    for row in rows[:2]:
        episode.reset(**row)
        episode.submit()
        assert episode.played.key.seed == row["plan"]["seed"]
        assert episode.played.steps == 1


@pytest.mark.slow
@pytest.mark.needs("trl", "smollm2", "bubblewrap")
@pytest.mark.filterwarnings("ignore")  # what TRL and transformers warn each other of is not ours
def test_smollm2_takes_a_few_steps_of_grpo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer
    from trl.chat_template_utils import qwen3_chat_template

    from agentsafe_envs.agents.smollm2 import folder

    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    # Of float32 a processor makes half the work that it makes of the bfloat16 in the file.
    model = AutoModelForCausalLM.from_pretrained(folder(), dtype="float32")
    tokenizer = AutoTokenizer.from_pretrained(folder())
    tokenizer.chat_template = qwen3_chat_template  # its own template drops tools
    tasks = grpo_tasks("PurgeBiasBash-v0", range(2), max_steps=2)  # whose three tools make short prompts
    steps: list[int] = []

    def counted(environments: Any, **_: Any) -> list[float]:
        steps.extend(each.played.steps for each in environments)
        return harm_penalty(environments)

    settings = GRPOConfig(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=2,
        num_generations=2,
        max_completion_length=48,
        max_tool_calling_iterations=1,
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        logging_steps=1,
    )
    trainer = GRPOTrainer(
        model=_taught_to_call(model, tokenizer, tasks.rows[0]),
        processing_class=tokenizer,
        reward_funcs=[counted],
        args=settings,
        train_dataset=Dataset.from_list(tasks.rows),
        environment_factory=tasks.factories,
    )
    trainer.train()
    assert trainer.state.global_step == 2
    assert any("rewards/counted/mean" in entry for entry in trainer.state.log_history)
    assert len(steps) == 4
    assert sum(steps) >= 2, "the model's calls did not come to the world"


def _taught_to_call(model: Any, tokenizer: Any, row: dict[str, Any]) -> Any:
    """SmolLM2 after a few supervised steps towards one call, since of itself it writes none in this form."""
    import torch

    call = '<tool_call>\n{"name": "bash", "arguments": {"command": "ls"}}\n</tool_call><|im_end|>'
    answer = tokenizer(call, return_tensors="pt").input_ids
    shown = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=False)
    words = torch.cat([tokenizer(shown, return_tensors="pt").input_ids, answer], dim=1)
    labels = words.clone()
    labels[:, : -answer.shape[1]] = -100
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-4)
    for _ in range(6):
        model(input_ids=words, labels=labels).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return model


def _tidy(function: dict[str, Any]) -> dict[str, Any]:
    """A schema without what no signature can say: defaults, longest texts, and that nothing else is taken."""
    parameters = function["parameters"]
    properties = {
        name: {key: "string" if key == "items" else value for key, value in each.items() if key != "default"}
        for name, each in parameters["properties"].items()
    }
    required = sorted(parameters.get("required", ()))
    return {"name": function["name"], "description": function["description"], "given": properties, "required": required}
