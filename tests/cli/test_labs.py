"""``agentsafe grade`` hands everything on to the grader of a checkout, and its status back."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentsafe_envs.cli import labs
from agentsafe_envs.cli.app import app


@pytest.mark.needs("labs")
def test_arguments_and_status_are_handed_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert CliRunner().invoke(app, ["grade", "--help"]).exit_code == 0
    assert "--gradescope" in capfd.readouterr().out
    assert CliRunner().invoke(app, ["grade", "1", str(tmp_path / "none.py"), "--seed", "3"]).exit_code == 2
    assert "none.py is not there" in capfd.readouterr().err


def test_without_a_checkout_it_says_where_labs_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labs, "CHECKOUT", tmp_path)
    done = CliRunner().invoke(app, ["grade", "1", "x.py"])
    assert done.exit_code == 2
    assert "clone it" in done.output
