from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from agentsafe_envs.scoring import provenance
from agentsafe_envs.scoring.provenance import find_provenance


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository in which the module believes to live."""
    module = tmp_path / "agentsafe_envs" / "scoring" / "provenance.py"
    module.parent.mkdir(parents=True)
    module.write_text("first\n")
    monkeypatch.setattr(provenance, "__file__", str(module))
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):  # set where tests run in a hook
        monkeypatch.delenv(name, raising=False)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_provenance_names_the_commit_of_the_checkout(checkout: Path) -> None:
    head = subprocess.check_output(["git", "-C", str(checkout), "rev-parse", "HEAD"], text=True).strip()
    assert find_provenance([]).git_commit == head


def test_provenance_marks_a_changed_checkout(checkout: Path) -> None:
    (checkout / "agentsafe_envs" / "scoring" / "provenance.py").write_text("second\n")
    commit = find_provenance([]).git_commit
    assert commit is not None
    assert commit.endswith("-dirty")


def test_provenance_of_an_installed_package_ignores_a_surrounding_checkout(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = checkout / ".venv" / "site-packages"
    shutil.copytree(checkout / "agentsafe_envs", inner / "agentsafe_envs")
    monkeypatch.setattr(provenance, "__file__", str(inner / "agentsafe_envs" / "scoring" / "provenance.py"))
    assert find_provenance([]).git_commit is None
