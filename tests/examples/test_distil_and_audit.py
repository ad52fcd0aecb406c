"""The example runs from teacher to audit, as a newcomer would run it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

FILE = Path(__file__).parents[2] / "examples" / "distil_and_audit.py"


@pytest.mark.slow
@pytest.mark.needs("train", "baselines")
@pytest.mark.filterwarnings("ignore")
def test_example_finds_something_and_says_how_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer

    monkeypatch.setenv("AGENTSAFE_STUDENTS", "")  # the example sets it; what it was comes back afterwards
    spec: Any = importlib.util.spec_from_file_location("distil_and_audit", FILE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    app = typer.Typer()
    app.command()(example.main)
    wish = ["--out", str(tmp_path), "--tasks", "24", "--steps", "8", "--episodes", "8"]
    shown = CliRunner().invoke(app, wish)
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.output.split())
    assert "proved: no stem in the" in said
    assert "student: 8 steps on" in said
    assert "open tasks" in said
    assert "ambiguous, biased_first, n = 8:" in said
    assert "required, success, n = 8:" in said
    assert (tmp_path / "models" / "student" / "model.safetensors").is_file()
