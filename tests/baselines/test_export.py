from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.needs("onnx"), pytest.mark.slow]


@pytest.fixture
def exported(untrained: Path, tmp_path: Path) -> Path:
    from baselines.export import write_onnx

    folder = tmp_path / "student"
    shutil.copytree(untrained, folder)
    write_onnx(folder)
    return folder


def test_file_gives_the_models_logits_and_is_no_larger_than_its_weights(exported: Path) -> None:
    from baselines.export import FILE, check_onnx

    check_onnx(exported)
    assert (exported / FILE).stat().st_size < 1.1 * (exported / "model.safetensors").stat().st_size


def test_file_of_other_weights_is_refused(exported: Path) -> None:
    from baselines import students
    from baselines.export import check_onnx

    tokenizer: Any = students.load(exported)[1]
    students.save(students.new_model("0.3m", 2), tokenizer, exported)
    with pytest.raises(ValueError, match="from torch's"):
        check_onnx(exported)
