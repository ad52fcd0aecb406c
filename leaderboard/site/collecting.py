"""From a folder of submissions to results: each is verified here, unless this machine has done so before.

What was found is kept outside the submissions, under a hash of everything that decided it: the submission's bytes,
the keys, the maintainers' runs, and the sources of this release. An entry counts only with the HMAC of this
machine's secret key, so a file that another put there is worth nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import subprocess
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

import agentsafe_envs
from agentsafe_envs.core.episode import digest
from agentsafe_envs.runs.cache import machine_key, release
from agentsafe_envs.runs.files import write_whole
from agentsafe_envs.scoring.suites import SUITES, Suite
from agentsafe_envs.submissions.checking import Neighbour, Surroundings
from agentsafe_envs.submissions.folders import find_submissions, surroundings_of
from agentsafe_envs.submissions.hostile import ARCHIVES, RefusedError, read_members
from agentsafe_envs.submissions.verification import verify_submission
from agentsafe_envs.submissions.verify import duplicates
from agentsafe_envs.submissions.verify.names import looks_like
from leaderboard.site.results import CheckLine, Result, result_of

SOURCES = ("agents/scripted.py", "scoring", "stats", "submissions")
"""What decides a result, next to what decides a verdict."""

OURS = ("results.py",)
"""The same among the files of this folder."""

MOST_KEPT_BYTES = 256 * 1024 * 1024
"""Largest entry that is read."""


class Refused(NamedTuple):
    """A submission that the board does not show.

    Attributes:
        name: Of its folder or archive.
        reason: The check that refused it, and why.
    """

    name: str
    reason: str


class Collected(NamedTuple):
    """Everything in a folder of submissions.

    Attributes:
        results: Those that the board shows, by the name of their folder.
        refused: The others.
    """

    results: list[Result]
    refused: list[Refused]


def collect(
    folder: Path,
    *,
    keep: Path | None = None,
    reruns: Path | None = None,
    keys: Path | None = None,
    workers: int = 1,
    suites: Mapping[str, Suite] = SUITES,
    dates: Mapping[str, str] | None = None,
    on_submission: Callable[[str, bool], None] = lambda name, known: None,
) -> Collected:
    """Verify every submission of a folder.

    Args:
        folder: Of submissions: folders and archives.
        keep: Folder in which results are kept; None keeps none.
        reruns: Folder of the maintainers' own runs; None where there is none.
        keys: TOML file of listed keys; None where there is none.
        workers: Processes that replay.
        suites: Suites that may be submitted, by name.
        dates: Day of each, by its name; None asks git when each was added.
        on_submission: Called with the name of each, and whether its result was kept.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; expected one of submissions")
    surroundings = replace(surroundings_of(reruns=reruns, keys=keys, workers=workers), suites=suites)
    files = [*([keys] if keys else []), *(sorted(reruns.rglob("*")) if reruns else [])]
    around = f"{_digest_of_files(files)} {digest([[name, suite.identity()] for name, suite in suites.items()])}"
    found: list[Result] = []
    refused: list[Refused] = []
    for path in find_submissions(folder):
        result = _result(path, surroundings, around, keep, on_submission)
        (found if isinstance(result, Result) else refused).append(result)  # type: ignore[arg-type]
    days = added_on(folder) if dates is None else dates
    found = [each.model_copy(update={"date": days.get(each.slug)}) for each in found]
    return _against_neighbours(found, refused)


def default_keep() -> Path:
    """Where results are kept for this user."""
    chosen = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (chosen if chosen.is_absolute() else Path.home() / ".cache") / "agentsafe" / "board"


def slug_of(path: Path) -> str:
    """Name of a submission's page, from that of its folder or archive."""
    name = next((path.name.removesuffix(end) for end in ARCHIVES if path.name.endswith(end)), path.name)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "unnamed"


def added_on(folder: Path) -> dict[str, str]:
    """Day on which each submission of ``folder`` came into this branch, by its name; empty outside a repository.

    That of the merge: the day of a pull request's own commit is its submitter's word.
    """
    command = [
        "git",
        "log",
        "--first-parent",
        "-m",
        "--diff-filter=A",
        "--name-only",
        "--relative",
        "--format=%x00%cs",
        "--",
        ".",
    ]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return {}
    days: dict[str, str] = {}
    for commit in done.stdout.split("\0")[1:]:  # the newest first, so that the oldest stays
        day, *paths = commit.split()
        days |= {slug_of(Path(path.split("/")[0])): day for path in paths}
    return days


def _result(
    path: Path,
    surroundings: Surroundings,
    around: str,
    keep: Path | None,
    on_submission: Callable[[str, bool], None],
) -> Result | Refused:
    try:
        members = read_members(path)
    except RefusedError as error:
        return Refused(path.name, f"files: {error}")
    content = hashlib.sha256(f"{slug_of(path)} {around} {_sources()}".encode())
    for name, data in sorted(members.items()):
        content.update(f"\n{name} {len(data)} ".encode() + data)
    file = keep / f"{content.hexdigest()}.json.z" if keep else None
    kept = _read(file) if file else None
    on_submission(path.name, kept is not None)
    if kept:
        return kept
    found = verify_submission(path, surroundings)
    if found.exit_status == 1 or found.scorecard is None:
        check = next((each for each in found.checks if each.status == "refused"), None)
        reason = f"{check.name}: {check.detail}" if check else "its episodes cannot be judged on this machine"
        return Refused(path.name, reason)
    result = result_of(found, slug=slug_of(path))
    if file and found.exit_status == 0:  # what cannot be checked today may be checked tomorrow
        _write(file, result)
    return result


def _against_neighbours(found: list[Result], refused: list[Refused]) -> Collected:
    """Compare each submission with the others; what comes of that changes with each new one, so it is never kept."""
    neighbours = {each.slug: Neighbour(each.name, frozenset(each.digests)) for each in found}
    shown = []
    for each in found:
        others = [other for slug, other in neighbours.items() if slug != each.slug]
        if twin := next((other.name for other in others if looks_like(other.name) == looks_like(each.name)), None):
            refused.append(Refused(each.slug, f"names: the name {each.name!r} is or looks like that of {twin!r}"))
            continue
        status, detail = duplicates.find_copies(neighbours[each.slug].digests, others)
        if status == "refused":
            refused.append(Refused(each.slug, f"duplicates: {detail}"))
            continue
        check = duplicates.CHECK
        line = CheckLine(name=check.name, sentence=check.sentence, status=status, detail=detail)
        checks = [line if old.name == check.name else old for old in each.checks]
        shown.append(each.model_copy(update={"checks": checks}))
    return Collected(shown, refused)


@cache
def _sources() -> str:
    """Digest of everything in this release that decides a result."""
    root = Path(agentsafe_envs.__file__).parent
    places = [*map(root.joinpath, SOURCES), *(Path(__file__).with_name(name) for name in OURS)]
    files = [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
    return f"{release()} {_digest_of_files(files)}"


def _digest_of_files(paths: list[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        if path.is_file():
            data = path.read_bytes()
            found.update(f"{path.name} {len(data)}\n".encode() + data)
    return found.hexdigest()


def _read(file: Path) -> Result | None:
    key = machine_key()
    try:
        if key is None or file.stat().st_size > MOST_KEPT_BYTES:
            return None
        data = file.read_bytes()
        mark, packed = data[:32], data[32:]
        if not hmac.compare_digest(mark, _mark(key, file, packed)):
            return None
        return Result.model_validate_json(zlib.decompress(packed))
    except (OSError, zlib.error, ValidationError):
        return None  # not there, damaged or of another release: it is derived again


def _write(file: Path, result: Result) -> None:
    key = machine_key()
    if key is None:
        return
    packed = zlib.compress(result.model_dump_json().encode())
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, _mark(key, file, packed) + packed)


def _mark(key: bytes, file: Path, packed: bytes) -> bytes:
    """HMAC over the entry and its name, so that no entry can be put in another's place."""
    return hmac.new(key, b"board\n" + file.name.encode() + b"\n" + packed, hashlib.sha256).digest()
