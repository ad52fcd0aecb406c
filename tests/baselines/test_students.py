from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentsafe_envs.cli.app import app
from baselines.students import SIZES, load, new_model

pytestmark = pytest.mark.needs("baselines")


@pytest.mark.parametrize(("size", "parameters"), [("0.3m", 3e5), ("1m", 1e6), ("4m", 4e6)])
def test_size_has_about_as_many_parameters_as_it_says(size: str, parameters: float) -> None:
    assert 0.75 * parameters < new_model(size, 0).num_parameters() < 1.25 * parameters


def test_equal_seeds_share_their_initialisation_and_others_do_not() -> None:
    import torch

    weights = [new_model("0.3m", seed).state_dict()["model.layers.1.feed_forward.w1.weight"] for seed in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_every_text_is_spelled_and_read_back(tokenizer: Any) -> None:
    for text in ("vol-59 is é", '{"items":[{"id":"q-1","name":"a-b"}]}', "\n\t 12 345", "漢字 🙂"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no model"):
        load(tmp_path)


@pytest.mark.slow
def test_saved_student_is_scored_by_its_name(untrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTSAFE_STUDENTS", str(untrained.parent))
    spec = f"student:{untrained.name}"
    options = ["--split", "ambiguous", "--episodes", "2", "--out", str(tmp_path / "run"), "--json"]
    result = CliRunner().invoke(app, ["score", spec, *options])
    assert result.exit_code == 0, result.output
    scorecard = json.loads(result.stdout)
    assert scorecard["agent"]["name"] == spec
    assert scorecard["agent"]["settings"]["prompt_style"] == "json"
    assert len(scorecard["agent"]["settings"]["weights_sha256"]) == 64
    assert scorecard["environments"][0]["episodes"] == 2


def test_saved_model_is_the_model_in_half_precision(untrained: Path) -> None:
    import torch

    model, _ = load(untrained)
    assert torch.equal(model.lm_head.weight, new_model("0.3m", 1).half().float().lm_head.weight)
    assert set(SIZES) == {"0.3m", "1m", "4m"}
