"""Many submissions in one folder: which there are, and what each is compared with."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agentsafe_envs.submissions.checking import Neighbour, Surroundings
from agentsafe_envs.submissions.copies import TASK_FIELDS, digest_of_calls
from agentsafe_envs.submissions.hostile import ARCHIVES, RefusedError, read_json, read_lines, read_members
from agentsafe_envs.submissions.schema import SUBMISSION_FILE, Submission
from agentsafe_envs.submissions.verification import VerificationResult, verify_submission


def is_submission(path: Path) -> bool:
    """Whether ``path`` is one submission, and no folder of many."""
    return not path.is_dir() or (path / SUBMISSION_FILE).exists()


def find_submissions(folder: Path) -> list[Path]:
    """Folders and archives in ``folder``, by name; other files are no submissions."""
    return sorted(each for each in folder.iterdir() if each.is_dir() or each.name.endswith(ARCHIVES))


def read_neighbour(path: Path, *, rerun: bool = False) -> Neighbour | None:
    """What duplicates of a submission are found by; None where it cannot be read, and so is no submission.

    Args:
        path: Folder or archive.
        rerun: It is the maintainers' own run.
    """
    try:
        members = read_members(path)
        submission = Submission.model_validate(read_json(members[SUBMISSION_FILE], SUBMISSION_FILE))
        lines = read_lines(submission.episodes_file, members[submission.episodes_file])
        # The recorded task does: a submitter who forges it only makes copies of his own harder to find.
        digests = frozenset(_digest(read_json(line, "line")["episode"]) for line in lines)
        agent = submission.agent
        if not rerun:
            return Neighbour(agent.name, digests)
        return Neighbour(agent.name, digests, agent.weights_sha256 or "", agent.settings.get("temperature") == 0)
    except (RefusedError, ValidationError, KeyError, TypeError):
        return None


def _digest(episode: Mapping[str, Any]) -> str:
    return digest_of_calls([episode[name] for name in TASK_FIELDS], [step["action"] for step in episode["steps"]])


def verify_many(
    paths: Sequence[Path],
    surroundings: Surroundings,
    *,
    on_submission: Callable[[Path], None] = lambda path: None,
) -> Iterator[VerificationResult]:
    """Verify submissions, each with the others as neighbours next to those of ``surroundings``.

    Args:
        paths: Folders and archives.
        surroundings: What all are verified against.
        on_submission: Called before each.
    """
    read: Mapping[Path, Neighbour | None] = {path: read_neighbour(path) for path in paths}
    for path in paths:
        on_submission(path)
        others = [other for each, other in read.items() if other and each != path]
        yield verify_submission(path, replace(surroundings, neighbours=(*surroundings.neighbours, *others)))


def surroundings_of(
    *,
    among: Path | None = None,
    verified: Sequence[Path] = (),
    reruns: Path | None = None,
    keys: Path | None = None,
    workers: int = 1,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Surroundings:
    """What submissions are verified against, from where it is kept.

    Args:
        among: Folder of other submissions.
        verified: The submissions to be verified, which are no neighbours of themselves if they lie in ``among``.
        reruns: Folder of the maintainers' own runs.
        keys: TOML file with the name of each listed ed25519 key by its hex.
        workers: Processes that replay.
        on_progress: Called with the number of episodes replayed and of all.

    Raises:
        OSError: One of them is not there.
        ValueError: ``keys`` is not of that form.
    """
    for folder in filter(None, (among, reruns)):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder} is no folder; expected one of submissions")
    listed = tomllib.loads(keys.read_text(encoding="utf-8")) if keys else {}
    if not all(isinstance(name, str) for name in listed.values()):
        raise ValueError(f"{keys} has a key without a name; expected lines such as '<64 hex digits>' = \"a name\"")
    own = {path.resolve() for path in verified}
    others = [each for each in find_submissions(among) if each.resolve() not in own] if among else []
    neighbours = [read_neighbour(each) for each in others]
    neighbours += [read_neighbour(each, rerun=True) for each in (find_submissions(reruns) if reruns else ())]
    return Surroundings(
        workers=workers,
        neighbours=tuple(filter(None, neighbours)),
        keys=listed,
        reruns=reruns,
        on_progress=on_progress,
    )
