"""Verifying a submission: every check of the folder ``verify``, and what follows from all of them.

Try it::

    agentsafe verify leaderboard/submissions/scripted-biased
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, NamedTuple

from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.runs.judging import JudgedEpisode
from agentsafe_envs.scoring.scorecard import Scorecard
from agentsafe_envs.submissions import verify
from agentsafe_envs.submissions.checking import (
    Case,
    Check,
    NotReadError,
    Outcome,
    Status,
    Surroundings,
    TrustLevel,
)
from agentsafe_envs.submissions.schema import Submission


class CheckResult(NamedTuple):
    """What one check found.

    Attributes:
        name: Of the check.
        sentence: What holds once it has passed.
        status: What it came to.
        detail: Why.
    """

    name: str
    sentence: str
    status: Status
    detail: str


class VerificationResult(NamedTuple):
    """What was found in a submission; nothing of it was declared by its submitter but :attr:`submission`.

    Attributes:
        path: Where it lies.
        submission: What it says of itself; None where that cannot be read.
        digest: Names the submission; None where it cannot be read.
        checks: Every check, in order.
        level: How far its numbers can be trusted; None where it was refused.
        scorecard: The numbers derived here; None where there are none.
        rerun: Those of the maintainers' own run of the same weights; None where there is none.
        judged: Its episodes with the verdicts found here, by key; empty where it was refused.
    """

    path: Path
    submission: Submission | None
    digest: str | None
    checks: tuple[CheckResult, ...]
    level: TrustLevel | None
    scorecard: Scorecard | None
    rerun: Scorecard | None
    judged: Mapping[EpisodeKey, JudgedEpisode]

    @property
    def exit_status(self) -> int:
        """0: every check passed. 1: one refused. 2: none refused, and one cannot be done on this machine."""
        found = {check.status for check in self.checks}
        return 1 if "refused" in found else 2 if "unchecked" in found else 0

    @property
    def flags(self) -> tuple[CheckResult, ...]:
        """Checks that passed with something that a person should look at."""
        return tuple(check for check in self.checks if check.status == "flagged")

    def document(self) -> dict[str, Any]:
        """Plain JSON, without the episodes."""
        return {
            "path": str(self.path),
            "digest": self.digest,
            "exit_status": self.exit_status,
            "level": self.level,
            "submission": self.submission.model_dump(mode="json") if self.submission else None,
            "checks": [check._asdict() for check in self.checks],
            "scorecard": self.scorecard.model_dump(mode="json") if self.scorecard else None,
            "rerun": self.rerun.model_dump(mode="json") if self.rerun else None,
        }


@cache
def checks() -> tuple[Check, ...]:
    """Every check, found by iterating the folder ``verify``, in the order in which they run."""
    found = [import_module(f"{verify.__name__}.{module.name}").CHECK for module in iter_modules(verify.__path__)]
    return tuple(sorted(found, key=lambda check: check.order))


def verify_submission(path: Path, surroundings: Surroundings | None = None) -> VerificationResult:
    """Run every check on the submission at ``path``; nothing of it is executed, imported or unpacked to disk.

    Commands of Bash episodes are played in the sandbox.

    Args:
        path: Folder, or archive (``.zip``, ``.tar``, ``.tar.gz``, ``.tar.zst``).
        surroundings: What it is verified against; None means the suites of this release alone.

    Raises:
        FileNotFoundError: There is nothing at ``path``.
        MissingExtraError: The extra ``submit`` is missing.
    """
    if not path.exists() and not path.is_symlink():
        raise FileNotFoundError(f"{path} is not there; expected the folder or archive of a submission")
    case = Case(path, surroundings or Surroundings())
    results = tuple(_result(each, case) for each in checks())
    refused = any(each.status == "refused" for each in results)
    submission = case.submission if case.has("submission") else None
    return VerificationResult(
        path=path,
        submission=submission,
        digest=submission.digest() if submission else None,
        checks=results,
        level=None if refused else _level(case, results),
        scorecard=case.scorecard if case.has("scorecard") and not refused else None,
        rerun=case.rerun if case.has("rerun") and not refused else None,
        judged=_judged(case) if case.has("replayed") and not refused else {},
    )


def _result(check: Check, case: Case) -> CheckResult:
    try:
        status, detail = check.run(case)
    except NotReadError:
        status, detail = Outcome("skipped", "an earlier check did not pass")
    return CheckResult(check.name, check.sentence, status, detail)


def _level(case: Case, results: Iterable[CheckResult]) -> TrustLevel:
    found = {each.name: each.status for each in results}
    if found.get("replay") not in ("passed", "flagged"):
        return "reported"
    if case.has("rerun"):
        return "re-run"
    played_here = case.surroundings.played_here
    if all(episode.chain()[-1] in played_here for episode in case.episodes.values()):
        return "held-out"
    return "replayed"


def _judged(case: Case) -> dict[EpisodeKey, JudgedEpisode]:
    return {key: each.judged for key, each in case.replayed.items() if each.judged and not each.difference}
