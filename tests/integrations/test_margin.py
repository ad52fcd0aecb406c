"""The margin task of lm-eval: what it asks about, and what it makes of the answers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from agentsafe_envs.integrations.margin import margin_docs, margin_of
from agentsafe_envs.registration import TABLE


@pytest.mark.needs("datasets")
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
def test_commands_of_the_page_read_the_margins_of_smollm2(
    tmp_path: Path, page_block: Callable[[str, str], str], shell: Callable[[str], str]
) -> None:
    from agentsafe_envs.agents.smollm2 import folder

    for command in page_block("integrations.md", "lm-eval run").splitlines():
        command = command.replace("path/to/model", f"{folder()},dtype=float32")
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        shell(f"{command} --device cpu --batch_size 1 --limit 1 --output_path {out}")
        (found,) = (json.loads(path.read_text()) for path in out.rglob("results_*.json"))
        numbers = found["results"]["agentsafe_margin"]
        assert math.isfinite(numbers["margin,none"])
        assert 0 < numbers["mass,none"] < 1
    assert out.name == "1"
