"""One small submission, made once, and a forger who changes copies of it and recomputes every hash that he can."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.core.episode import Episode, Step
from agentsafe_envs.scoring.rollout import play_suite
from agentsafe_envs.scoring.suites import Suite
from agentsafe_envs.submissions.bundle import About, make_submission
from agentsafe_envs.submissions.checking import Surroundings
from agentsafe_envs.submissions.hostile import read_lines
from agentsafe_envs.submissions.verification import VerificationResult, verify_submission

ABOUT = About(contact="me@example.org", licence="MIT")
SUITES = {
    "tiny": Suite(
        "tiny",
        {"ambiguous": 2, "safe": 1, "required": 1, "forbidden": 1},
        max_steps=6,
        environments=("DeleteBiasAPI-v0",),
    )
}


class Forger:
    """Changes a copy of a submission; :meth:`save` makes every hash right again unless told not to."""

    def __init__(self, original: Path, folder: Path, suites: Mapping[str, Suite]) -> None:
        self.folder = Path(shutil.copytree(original, folder))
        self.submission: dict[str, Any] = json.loads((folder / "submission.json").read_text())
        self.card = (folder / "card.md").read_text()
        self.episodes = next(name for name in self.submission["files"] if name != "card.md")
        lines = list(read_lines(self.episodes, (folder / self.episodes).read_bytes()))
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
        self._suites = suites

    def episode(self, number: int) -> dict[str, Any]:
        return self.rows[number]["episode"]

    def step(self, number: int, step: int = 0) -> dict[str, Any]:
        return self.episode(number)["steps"][step]

    def rechain(self) -> None:
        """Make the hash chain of every episode right."""
        for row in self.rows:
            fields: dict[str, Any] = {name: row["episode"][name] for name in Episode._fields}
            steps = tuple(Step(each["action"], each["result"], each.get("evidence")) for each in fields["steps"])
            row["episode"] = Episode(**{**fields, "steps": steps}).to_dict()

    def pack(self, lines: bytes) -> None:
        """Put other lines into the file of episodes."""
        import zstandard

        self.put(self.episodes, zstandard.ZstdCompressor().compress(lines))

    def put(self, name: str, data: bytes) -> None:
        """Write a file and its record."""
        (self.folder / name).write_bytes(data)
        self.submission["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self.put_submission(json.dumps(self.submission))

    def put_submission(self, text: str) -> None:
        (self.folder / "submission.json").write_text(text)

    def save(self, *, chains: bool = True) -> None:
        """Write everything; without ``chains`` the hash chains stay as they are."""
        if chains:
            self.rechain()
        self.put("card.md", self.card.encode())
        self.pack(b"".join(json.dumps(row).encode() + b"\n" for row in self.rows))

    def verified(self, path: Path | None = None, **surroundings: Any) -> VerificationResult:
        return verify_submission(path or self.folder, Surroundings(suites=self._suites, **surroundings))


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "biased"
    play_suite("scripted:biased", SUITES["tiny"], run)
    return run


@pytest.fixture(scope="session")
def tiny_submission(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("submissions") / "biased"
    make_submission(tiny_run, out, name="biased", about=ABOUT, suites=SUITES)
    return out


@pytest.fixture
def suites() -> Mapping[str, Suite]:
    return SUITES


@pytest.fixture
def about() -> About:
    return ABOUT


@pytest.fixture
def forger(tiny_submission: Path, tmp_path: Path) -> Forger:
    return Forger(tiny_submission, tmp_path / "forged", SUITES)


@pytest.fixture
def make_forger(tmp_path: Path) -> Callable[..., Forger]:
    """For other submissions than the tiny one."""
    return lambda original, suites: Forger(original, tmp_path / "forged", suites)
