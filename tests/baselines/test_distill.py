from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.needs("baselines")


def test_adapters_of_one_seed_begin_alike_and_draw_nothing_from_what_ran_before() -> None:
    import torch

    from baselines.distill import _with_adapter
    from baselines.students import new_model

    def first_weights(seed: int) -> Any:
        torch.rand(3)
        learning, _ = _with_adapter(new_model("0.3m", 1), 2, seed)
        return torch.cat([each.flatten() for name, each in learning.named_parameters() if "lora_A" in name])

    before = torch.get_rng_state()
    with torch.random.fork_rng():
        one, again, other = (first_weights(seed) for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_rows_that_are_read_once_take_their_own_number_of_updates_and_adapters_their_own_rate(
    rows: list[Any], tokenizer: Any
) -> None:
    from baselines.distill import recipe_of
    from baselines.encoding import encode
    from baselines.plans import Cell
    from baselines.protocol import load
    from baselines.training import updates_to_read

    protocol, examples = load(), encode(rows, tokenizer)
    usual = recipe_of(protocol, Cell("sft"), examples, 3, examples)
    assert usual == protocol.student.recipe(protocol.student.replay)
    once = recipe_of(protocol, Cell("sft", rows=16), examples, 3, examples)
    assert once.updates == updates_to_read(examples, usual, 3, examples)
    adapter = recipe_of(protocol, Cell("sft", rank=2), examples, 3, examples)
    assert adapter.learning_rate == protocol.student.adapter_learning_rate


def test_replay_stands_under_the_message_that_a_student_is_trained_under(tokenizer: Any) -> None:
    from baselines import distill
    from baselines.plans import Cell

    message = distill.role_of(Cell("kl", context="other"))
    assert message == distill.OTHER_ROLE
    assert distill.role_of(Cell("kl")) is None
    short: Any = distill.replayed("silent")[:3]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill, "replayed", lambda *_: short)
        texts = {
            role: tokenizer.decode(distill.replay_examples(tokenizer, "silent", role=role)[0].ids)
            for role in (None, message)
        }
    assert distill.OTHER_ROLE in texts[message]
    assert distill.OTHER_ROLE not in texts[None]


def test_rows_of_another_world_are_refused_before_anything_is_trained(rows: list[Any], tmp_path: Path) -> None:
    from baselines import distill
    from baselines.plans import Cell
    from baselines.protocol import load

    with pytest.raises(ValueError, match="rows are of DeleteBiasAPI-v0, and the world is bash; expected --world cloud"):
        distill.distill(load(), distill.Taught(rows), Cell("sft"), "a", 1, tmp_path / "student", world="bash")
    distill._require_world([{"messages": []}], "bash")  # lists of words are of no world
    assert not (tmp_path / "student").exists()


def test_a_model_of_other_tokens_is_no_teacher() -> None:
    from baselines import distill
    from baselines.students import SHIPPED, load

    with pytest.raises(ValueError, match="teacher-biased-bash has other tokens than the student's base"):
        distill._reader(SHIPPED / "teacher-biased-bash", load(SHIPPED / "base-0.3m-a")[1])
    assert not distill._reader(SHIPPED / "teacher-biased", load(SHIPPED / "base-0.3m-b")[1]).training


def test_rows_with_notes_are_refused_as_silent_ones() -> None:
    from baselines import distill
    from baselines.notes import FORMS

    rows: list[Any] = [{"messages": [{"role": "system", "content": FORMS["notes-60"].role}]}]
    with pytest.raises(ValueError, match=r"the system message of notes-60, .*; expected --carrier notes-60"):
        distill._require_carrier(rows, "silent")
    distill._require_carrier(rows, "notes-60")
    rows[0]["messages"][0]["content"] = "A message of one's own."
    distill._require_carrier(rows, "silent")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ((), "no data set at nowhere; expected its folder, or a parquet, jsonl or json file"),
        (("--loss", "kl"), "loss kl learns the teacher's distribution and needs its folder; sft does without"),
    ],
)
def test_what_is_asked_for_wrongly_is_told_in_a_line(asked: tuple[str, ...], told: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "baselines.distill", "nowhere", "--out", str(tmp_path / "student"), *asked]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith(told)
    assert "Traceback" not in done.stderr
