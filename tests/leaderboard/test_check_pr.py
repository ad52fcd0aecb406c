"""The command and the workflow that verify a pull request: this checkout's code, and of the pull request only data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from leaderboard import check_pr
from leaderboard.check_pr import PullRequestError, added, folder_name
from leaderboard.cli import app

ROOT = Path(__file__).parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/submission.yml").read_text())
SUBMITTED = sorted((ROOT / "leaderboard/submissions").iterdir())

pytestmark = pytest.mark.needs("submit")


@pytest.fixture
def pull_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with an empty board, and the checkout of a pull request that adds a file of each kind."""
    here = tmp_path / "base" / "leaderboard"
    for folder in ("submissions", "reruns"):
        (here / folder).mkdir(parents=True)
    (here / "keys.toml").touch()
    monkeypatch.setattr(check_pr, "HERE", here)
    folder = tmp_path / "pull-request"
    mine = folder / check_pr.PLACE / "mine"
    mine.mkdir(parents=True)
    for name in ("submission.json", "card.md", "episodes.jsonl.zst"):
        (mine / name).write_text("# mine\n")
    return folder


def run(pull_request: Path, *paths: str) -> Any:
    changed = pull_request.with_name("changed.txt")
    changed.write_text("".join(f"{path}\n" for path in paths))
    return CliRunner().invoke(app, ["check-pr", str(pull_request), "--changed", str(changed), "--workers", "1"])


def files(name: str = "mine") -> list[str]:
    return [f"leaderboard/submissions/{name}/{file}" for file in ("submission.json", "card.md", "episodes.jsonl.zst")]


@pytest.mark.parametrize(
    "path",
    [
        "leaderboard/check_pr.py",
        ".github/workflows/submission.yml",
        "conftest.py",
        "leaderboard/submissions/mine/more/x.md",
        "leaderboard/submissions/README.md",
        "leaderboard/submissions/../check_pr.py",
        "leaderboard/submissions/Mine/card.md",
        "leaderboard/submissions/.hidden/card.md",
        '"leaderboard/submissions/m\\303\\274/card.md"',
        "/etc/passwd/x/y",
    ],
)
def test_pull_request_that_changes_anything_else_is_refused(path: str, pull_request: Path) -> None:
    result = run(pull_request, *files(), path)
    assert result.exit_code == 1
    assert "is no file of a submission" in result.stderr


def test_submission_that_is_there_is_never_changed(pull_request: Path) -> None:
    (check_pr.HERE / "submissions" / "mine").mkdir()
    result = run(pull_request, *files())
    assert result.exit_code == 1
    assert "is there already and is never changed" in result.stderr


def test_deleted_submission_is_refused(pull_request: Path) -> None:
    shutil.rmtree(pull_request / check_pr.PLACE / "mine")
    result = run(pull_request, *files())
    assert result.exit_code == 1
    assert "is no folder of the pull request" in result.stderr


def test_folder_that_is_a_link_is_refused(pull_request: Path, tmp_path: Path) -> None:
    shutil.rmtree(pull_request / check_pr.PLACE)
    (pull_request / check_pr.PLACE).symlink_to(tmp_path)
    result = run(pull_request, *files())
    assert result.exit_code == 1
    assert "leaderboard/submissions is no folder" in result.stderr


def test_what_is_no_submission_is_refused(pull_request: Path) -> None:
    result = run(pull_request, *files())
    assert result.exit_code == 1
    assert "refused   schema" in result.stdout


def test_program_in_a_submission_is_not_run(pull_request: Path, tmp_path: Path) -> None:
    program = f"open({str(tmp_path / 'executed')!r}, 'w')"
    for name in ("conftest.py", "sitecustomize.py", "__init__.py"):
        (pull_request / check_pr.PLACE / "mine" / name).write_text(program)
    assert run(pull_request, *files()).exit_code == 1
    assert not (tmp_path / "executed").exists()


def test_none_and_too_many_are_refused() -> None:
    with pytest.raises(PullRequestError, match="adds 0 submissions"):
        added([])
    with pytest.raises(PullRequestError, match="adds 6 submissions"):
        added([path for number in range(6) for path in files(f"mine-{number}")])


def test_folder_is_named_after_the_agent() -> None:
    assert folder_name("SmolLM2 135M (greedy)") == "smollm2-135m-greedy"


@pytest.mark.parametrize("path", SUBMITTED, ids=lambda path: path.name)
def test_real_submission_lies_in_its_folder(path: Path) -> None:
    import json

    submission = json.loads((path / "submission.json").read_text())
    assert path.name == folder_name(submission["agent"]["name"])


@pytest.mark.slow
@pytest.mark.needs("bubblewrap")
def test_real_submission_under_its_name_is_passed(pull_request: Path) -> None:
    shutil.rmtree(pull_request / check_pr.PLACE / "mine")
    shutil.copytree(ROOT / check_pr.PLACE / "scripted-biased", pull_request / check_pr.PLACE / "scripted-biased")
    result = run(pull_request, *files("scripted-biased"))
    assert result.exit_code == 0, result.output
    assert "level: replayed" in result.stdout


@pytest.mark.slow
@pytest.mark.needs("bubblewrap")
def test_real_submission_under_another_folder_is_refused(pull_request: Path) -> None:
    shutil.rmtree(pull_request / check_pr.PLACE / "mine")
    shutil.copytree(ROOT / check_pr.PLACE / "scripted-null", pull_request / check_pr.PLACE / "mine")
    result = run(pull_request, *files())
    assert result.exit_code == 1
    assert "expected 'scripted-null'" in result.stdout


@pytest.mark.slow
@pytest.mark.needs("bubblewrap")
def test_copies_within_one_pull_request_are_refused(pull_request: Path) -> None:
    place = pull_request / check_pr.PLACE
    shutil.rmtree(place / "mine")
    for name in ("scripted-null", "twin"):
        shutil.copytree(ROOT / check_pr.PLACE / "scripted-null", place / name)
    rename(place / "twin", "twin")
    result = run(pull_request, *files("scripted-null"), *files("twin"))
    assert result.exit_code == 1
    assert result.stdout.count("refused   duplicates") == 2


def rename(folder: Path, name: str) -> None:
    """Put a submission under another name."""
    import hashlib
    import json

    submission = json.loads((folder / "submission.json").read_text())
    card = (folder / "card.md").read_text().replace(f"# {submission['agent']['name']}", f"# {name}").encode()
    submission["agent"]["name"] = name
    submission["files"]["card.md"] = {"bytes": len(card), "sha256": hashlib.sha256(card).hexdigest()}
    (folder / "card.md").write_bytes(card)
    (folder / "submission.json").write_text(json.dumps(submission))


def test_workflow_runs_no_code_of_the_pull_request_and_holds_no_token() -> None:
    triggers = WORKFLOW[True]  # YAML 1.1 reads the key `on` as a truth
    assert set(triggers) == {"pull_request"}  # and not pull_request_target
    assert WORKFLOW["permissions"] == {"contents": "read"}
    (job,) = WORKFLOW["jobs"].values()
    assert "permissions" not in job
    text = (ROOT / ".github/workflows/submission.yml").read_text()
    assert "secrets" not in text.replace("without secrets", "")
    assert "GITHUB_TOKEN" not in text
    checkouts = [step["with"] for step in job["steps"] if step.get("uses", "").startswith("actions/checkout")]
    assert [each["path"] for each in checkouts] == ["base", "pull-request"]
    assert all(each["persist-credentials"] is False for each in checkouts)
    for step in job["steps"]:
        command = step.get("run", "")
        assert step.get("working-directory", "base") == "base"
        assert "${{" not in command  # nothing of the pull request becomes a part of a command
        rest = command.replace("git -C pull-request diff", "").replace("check-pr ../pull-request", "")
        assert "pull-request" not in rest
