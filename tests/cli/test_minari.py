from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentsafe_envs.cli.app import app
from agentsafe_envs.trajectories import Trajectory
from agentsafe_envs.trajectories.store import save


@pytest.mark.needs("minari", "data")
def test_data_set_becomes_one_of_minari(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: Sequence[Trajectory]
) -> None:
    import minari

    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    save(rows, tmp_path / "raw")
    done = CliRunner().invoke(app, ["data", "minari", str(tmp_path / "raw"), "cloud/mine-v0"])
    assert done.exit_code == 0, done.output
    assert f"6 episodes are in {tmp_path}/minari/cloud/mine-v0" in done.stderr.replace("\n", "")
    assert minari.load_dataset("cloud/mine-v0").total_episodes == 6


def test_missing_extra_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minari", None)
    done = CliRunner().invoke(app, ["data", "minari", "nowhere", "cloud/mine-v0"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("agentsafe: minari is missing: pip install")
