"""``python -m leaderboard check-pr``: verify the submissions that a pull request adds, with this checkout's code.

The pull request's files are data: they are read within limits, and nothing of them is executed or imported. The
workflow ``.github/workflows/submission.yml`` calls it from a checkout of the base branch.

Try it::

    python -m leaderboard check-pr ../pull-request --changed changed.txt
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Annotated

import typer

from agentsafe_envs.cli.submissions import show_checks
from agentsafe_envs.cli.terminal import say
from agentsafe_envs.submissions.checking import Surroundings
from agentsafe_envs.submissions.folders import surroundings_of, verify_many
from agentsafe_envs.submissions.verification import VerificationResult

HERE = Path(__file__).parent
PLACE = PurePosixPath("leaderboard/submissions")
"""The only folder that a pull request with a submission changes."""

MOST_SUBMISSIONS = 5
"""Submissions in one pull request; each takes minutes to replay."""


class PullRequestError(ValueError):
    """A pull request that is no submission alone; the message says why."""


def check_pr(
    pull_request: Annotated[Path, typer.Argument(metavar="FOLDER", help="Checkout of the pull request: data only.")],
    changed: Annotated[Path, typer.Option(help="File with the paths that it changes, a line each.")],
    workers: Annotated[int, typer.Option(help="Processes that replay at the same time.", min=1)] = 2,
) -> None:
    """Verify the submissions that a pull request adds.

    Exit status as of `agentsafe verify`; 1 as well where it changes anything else.
    """
    try:
        names = added(changed.read_text(encoding="utf-8").splitlines())
        for name in names:
            _require_new(name, pull_request)
    except PullRequestError as error:
        say(f"refused: {error}", err=True)
        raise typer.Exit(1) from error
    statuses = set()
    paths = [pull_request / PLACE / name for name in names]
    for result in verify_many(paths, surroundings(workers), on_submission=lambda path: say(f"## {path.name}")):
        show_checks(result)
        statuses.add(max(result.exit_status, _of_its_folder(result)))
    raise typer.Exit(1 if 1 in statuses else max(statuses))


def added(paths: Iterable[str]) -> list[str]:
    """Names of the submissions that lie at the changed ``paths``.

    Raises:
        PullRequestError: Something else is changed, or there are none or too many of them.
    """
    names = set()
    for path in filter(None, paths):
        parts = PurePosixPath(path).parts
        if parts[:2] != PLACE.parts or len(parts) != 4 or not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", parts[2]):
            raise PullRequestError(
                f"{path!r} is no file of a submission in {PLACE}/<name>/, where a name is of small letters, digits, "
                "'.', '_' and '-'; send other changes in a pull request of their own"
            )
        names.add(parts[2])
    if not 1 <= len(names) <= MOST_SUBMISSIONS:
        raise PullRequestError(f"it adds {len(names)} submissions, expected 1 to {MOST_SUBMISSIONS}")
    return sorted(names)


def folder_name(name: str) -> str:
    """Folder of the submission of an agent called ``name``."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")


def surroundings(workers: int) -> Surroundings:
    """What a new submission is verified against: this checkout."""
    found = surroundings_of(
        among=HERE / "submissions", reruns=HERE / "reruns", keys=HERE / "keys.toml", workers=workers
    )
    return replace(found, new=True)


def _require_new(name: str, pull_request: Path) -> None:
    if (HERE / "submissions" / name).exists():
        raise PullRequestError(f"{PLACE / name} is there already and is never changed; give the new one another name")
    folder = pull_request
    for part in (*PLACE.parts, name):
        folder /= part
        if folder.is_symlink() or not folder.is_dir():
            raise PullRequestError(f"{folder.relative_to(pull_request)} is no folder of the pull request")


def _of_its_folder(result: VerificationResult) -> int:
    """1 where a new submission lies in another agent's folder; else 0."""
    if result.submission is None:
        return 1
    expected = folder_name(result.submission.agent.name)
    if result.path.name != expected:
        say(f"refused   folder  is {result.path.name!r}, expected {expected!r} from the agent's name")
        return 1
    return 0
