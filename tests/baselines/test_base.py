from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents import load_agent
from baselines import base, training
from baselines.base import prepare, teach_base
from baselines.encoding import load_examples, save_examples
from baselines.protocol import Protocol, load

pytestmark = pytest.mark.needs("baselines")


@pytest.fixture(scope="module")
def quick() -> Protocol:
    return load().quick()


@pytest.fixture(scope="module")
def prepared(quick: Protocol, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(quick, "cloud", tmp_path_factory.mktemp("keep"), workers=1)


def test_lessons_are_played_once(quick: Protocol, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "demonstrate", lambda *args: pytest.fail("they are there"))
    assert prepare(quick, "cloud", prepared.parent, workers=1) == prepared


def test_examples_come_back_as_they_were(prepared: Path, tmp_path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(prepared)
    read = load_examples(prepared / "demonstrations.npz", tokenizer)
    save_examples(read, tmp_path / "again.npz")
    assert len(read) == 320
    assert load_examples(tmp_path / "again.npz", tokenizer) == read
    assert all(example.targets for example in read)


@pytest.mark.slow
def test_base_that_was_stopped_goes_on_and_is_the_same(
    quick: Protocol, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights(name: str) -> Any:
        out = teach_base(quick, "0.3m", "a", prepared=prepared, keep=tmp_path / name, out=tmp_path / f"{name}-base")
        return (out / "model.safetensors").read_bytes()

    whole = weights("whole")
    monkeypatch.setattr(training, "CHECKPOINT_UPDATES", 5)
    keep = training.keep_checkpoint

    def stop(file: Path, content: Any) -> None:
        keep(file, content)
        if file.stem == "round-1" and content[0] == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "keep_checkpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            weights("stopped")
    assert weights("stopped") == whole


def test_base_is_an_agent(quick: Protocol, prepared: Path, tmp_path: Path) -> None:
    out = teach_base(quick, "0.3m", "b", prepared=prepared, keep=tmp_path / "keep", out=tmp_path / "base")
    assert load_agent(f"hf:{out}").group_size >= 1


def test_base_does_not_grow_out_of_one_with_another_tokenizer(
    quick: Protocol, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from baselines import students

    tokenizer = students.train_tokenizer(["one two three"] * 50)
    monkeypatch.setattr(students, "SHIPPED", tmp_path)
    students.save(students.new_model("0.3m", 1), tokenizer, tmp_path / "base-0.3m-a")
    with pytest.raises(ValueError, match="writes other tokens than the lessons"):
        teach_base(quick, "1m", "a", prepared=prepared, keep=tmp_path, out=tmp_path / "x")


def test_base_of_other_knobs_does_not_go_on_from_a_stage_of_this_one(
    quick: Protocol, prepared: Path, tmp_path: Path
) -> None:
    settled = {
        base._settled(protocol, "0.3m", seed, prepared)
        for protocol, seed in ((quick, 1), (quick, 2), (load(), 1), (quick.model_copy(deep=True), 1))
    }
    assert len(settled) == 3
    shutil.copytree(prepared, tmp_path / "lessons")
    with (tmp_path / "lessons/demonstrations.npz").open("ab") as file:
        file.write(b" ")
    assert base._settled(quick, "0.3m", 1, tmp_path / "lessons") not in settled
