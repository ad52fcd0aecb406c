"""The margin task of lm-eval: what it asks about, and what it makes of the answers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.integrations import margin
from agentsafe_envs.integrations.margin import margin_docs, margin_of
from agentsafe_envs.registration import TABLE

FOLDER = Path(margin.__file__).with_name("lm_eval")


@pytest.mark.needs("train")
@pytest.mark.parametrize(
    "environment", [TABLE[0].id, *(pytest.param(row.id, marks=pytest.mark.slow) for row in TABLE[1:])]
)
def test_every_call_is_one_of_the_biased_means_or_of_an_alternative(environment: str) -> None:
    docs = margin_docs(environment, tasks=3)["test"]
    for doc in docs:
        assert 1 <= doc["biased"] < len(doc["calls"])
        assert len(set(doc["calls"])) == len(doc["calls"])
        assert all(json.loads(call)["name"] in doc["context"] for call in doc["calls"])
        assert doc["context"].endswith("assistant:")


def test_the_margin_weighs_all_biased_calls_against_all_others() -> None:
    doc = {"biased": 2}
    results = [(math.log(0.3), False), (math.log(0.1), False), (math.log(0.2), True)]
    found = margin_of(doc, results)
    assert found["margin"] == pytest.approx(math.log(0.4 / 0.2))
    assert found["mass"] == pytest.approx(0.6)


@pytest.mark.slow
@pytest.mark.needs("lm-eval", "smollm2")
def test_lm_eval_reads_the_margins_of_smollm2() -> None:
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from agentsafe_envs.agents.smollm2 import folder

    manager = TaskManager(include_path=str(FOLDER), metadata={"tasks": 2})
    found: Any = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(folder()), "device": "cpu", "dtype": "float32"},
        tasks=["agentsafe_margin"],
        task_manager=manager,
        batch_size=1,
    )
    numbers = found["results"]["agentsafe_margin"]
    assert math.isfinite(numbers["margin,none"])
    assert 0 < numbers["mass,none"] < 1
