"""Every number of a closed season, derived again from what was revealed.

The board does this once for each session it shows, and anybody may do it again::

    python -m leaderboard verify-season https://board.example/seasons/spring
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from agentsafe_envs.core.task import PRIVATE_TEMPLATES_VARIABLE
from agentsafe_envs.registration import resolve
from agentsafe_envs.runs.judging import verdict_entry
from agentsafe_envs.runs.rows import AgentRecord, row_key
from agentsafe_envs.scoring.scorecard import build_scorecard
from agentsafe_envs.submissions.checking import Case, Check, NotReadError, Outcome, Surroundings
from agentsafe_envs.submissions.hostile import RefusedError, read_json
from agentsafe_envs.submissions.verification import CheckResult, VerificationResult
from agentsafe_envs.submissions.verify import chains, judged, replay, rows
from leaderboard.server.heldout import submission_of
from leaderboard.server.revealing import SEASON_FILE, RevealedSeason, RevealedSession
from leaderboard.server.seasons import REPLACED_BY

Read = Callable[[str], bytes]
"""Content of a file of the season, by its name."""


class SeasonCase(Case):
    """A session under verification.

    Args:
        season: What was revealed.
        session: The session.
        data: Its file of episodes.
        path: Folder for what is written on the way.
        surroundings: How many processes replay.
    """

    def __init__(
        self, season: RevealedSeason, session: RevealedSession, data: bytes, path: Path, surroundings: Surroundings
    ) -> None:
        super().__init__(path, surroundings)
        self.session = session
        self.data = data
        self.suite = season.plan.suite(season.secret(path), session.number)


class Rederived(NamedTuple):
    """What became of one session.

    Attributes:
        session: As it was revealed.
        found: Checks, numbers and judged episodes, as of a submission.
    """

    session: RevealedSession
    found: VerificationResult


def read_season(read: Read) -> RevealedSeason:
    """Read ``season.json`` and hold it against what was promised in it.

    Raises:
        RefusedError: It is not of that form, the promise is broken, or its counts of sessions are not those listed.
    """
    try:
        season = RevealedSeason.model_validate(read_json(read(SEASON_FILE), SEASON_FILE))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RefusedError(f"{SEASON_FILE}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if wrong := season.broken_promise() or season.miscounted():
        raise RefusedError(wrong)
    return season


def rederive(season: RevealedSeason, session: RevealedSession, read: Read, place: Path, workers: int = 1) -> Rederived:
    """Play every episode of a session again, judge it, and compare the numbers with those that were shown.

    Args:
        season: Whose templates are in use; see :func:`templates_in_use`.
        session: One of its sessions.
        read: Gives the file of its episodes.
        place: Empty folder for what is written on the way.
        workers: Processes that replay.
    """
    data = read(session.file)
    case = SeasonCase(season, session, data, place, Surroundings(workers=workers))
    case.submission = submission_of(session, case.suite, data, place)
    case.members = {case.submission.episodes_file: data}
    results = tuple(_result(check, case) for check in CHECKS)
    refused = any(each.status == "refused" for each in results)
    return Rederived(
        session,
        VerificationResult(
            path=place,
            submission=case.submission,
            digest=case.submission.digest(),
            checks=results,
            level=None if refused else "held-out",
            scorecard=None if refused else case.scorecard,
            rerun=None,
            judged={} if refused else {key: each.judged for key, each in case.replayed.items() if each.judged},
        ),
    )


@contextmanager
def templates_in_use(season: RevealedSeason) -> Iterator[None]:
    """Make the private pool of this process, and of those that it starts, that of a season."""
    before = os.environ.get(PRIVATE_TEMPLATES_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="agentsafe-season-") as folder:
        for name, content in season.templates.items():
            (Path(folder) / name).write_text(content, encoding="utf-8")
        os.environ[PRIVATE_TEMPLATES_VARIABLE] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[PRIVATE_TEMPLATES_VARIABLE]
            else:
                os.environ[PRIVATE_TEMPLATES_VARIABLE] = before


def _result(check: Check, case: SeasonCase) -> CheckResult:
    try:
        status, detail = check.run(case)
    except NotReadError:
        status, detail = Outcome("skipped", "an earlier check did not pass")
    return CheckResult(check.name, check.sentence, status, detail)


def _check_file(case: Any) -> Outcome:
    found = hashlib.sha256(case.data).hexdigest()
    if found != case.session.episodes_sha256:
        return Outcome("refused", f"the SHA-256 of {case.session.file} is {found}, not {case.session.episodes_sha256}")
    return Outcome("passed", f"{len(case.data)} bytes")


def _check_tasks(case: Any) -> Outcome:
    """Compare keys with those that the seed draws; a replacement is a round of templates further."""
    planned = case.suite.keys()
    try:
        keys = [row_key(row) for row in case.rows]
    except ValueError as error:
        return Outcome("refused", str(error)[:300])
    if len(keys) != len(planned):
        return Outcome("refused", f"{len(keys)} episodes, expected the {len(planned)} that the seed draws")
    replaced = 0
    for key, expected in zip(keys, planned, strict=True):
        further, rest = divmod(key.seed - expected.seed, _round_of(case, expected.environment))
        if key._replace(seed=expected.seed) != expected or rest or further < 0:
            return Outcome("refused", f"{tuple(key)} stands where the seed draws {tuple(expected)}")
        replaced += further > 0
    case.keys = keys
    return Outcome("passed", f"{len(keys)} tasks, of which {replaced} replace ones that the server lost")


def _round_of(case: Any, environment: str) -> int:
    return REPLACED_BY * len(resolve(environment)[1].templates(case.suite.pool))


def _check_ends(case: Any) -> Outcome:
    most = case.suite.max_steps
    idle = 0
    for key, episode in case.episodes.items():
        if len(episode.steps) > most or episode.toolset != "bias":
            return Outcome("refused", f"{tuple(key)} has {len(episode.steps)} steps with tools {episode.toolset!r:.20}")
        idle += not episode.terminated and len(episode.steps) < most
    return Outcome("passed", f"{idle} of {len(case.episodes)} were left idle and ended by the board")


def _check_numbers(case: Any) -> Outcome:
    """Build the scorecard as closing did; which machine and which sources built it may differ."""
    agent = agent_record(case.session.agent)
    found = [
        {"key": key._asdict(), "template": each.judged.template, "verdict": verdict_entry(each.judged.verdict)}
        for key, each in case.replayed.items()
        if each.judged
    ]
    scorecard = build_scorecard(found, case.suite.record(), agent, planned=case.keys)
    shown = {name: value for name, value in case.session.scorecard.items() if name != "provenance"}
    if other := _difference(scorecard.model_dump(mode="json", exclude={"provenance"}), shown, "scorecard"):
        return Outcome("refused", other)
    case.scorecard = scorecard
    rate = scorecard.overall.safe_success_rate
    return Outcome("passed", f"every number is the same; safe success {rate.estimate} of {rate.n} episodes")


def agent_record(agent: dict[str, Any]) -> AgentRecord:
    """The agent of a session, as its scorecard names it."""
    return AgentRecord(name=agent.get("spec") or agent["name"], settings=agent.get("settings") or {})


def _difference(derived: Any, shown: Any, place: str) -> str | None:
    """The first place where two JSON values differ; None where they are equal."""
    if isinstance(derived, dict) and isinstance(shown, dict) and derived.keys() == shown.keys():
        pairs = [(derived[name], shown[name], f"{place}.{name}") for name in derived]
    elif isinstance(derived, list) and isinstance(shown, list) and len(derived) == len(shown):
        pairs = [(*both, f"{place}[{number}]") for number, both in enumerate(zip(derived, shown, strict=True))]
    else:
        same = derived == shown and isinstance(derived, bool) == isinstance(shown, bool)  # True == 1
        return None if same else f"{place} is {derived!r:.80} here, and {shown!r:.80} was shown"
    return next(filter(None, (_difference(*pair) for pair in pairs)), None)


CHECKS = (
    Check(10, "file", "The episodes are the bytes that season.json names.", _check_file),
    rows.CHECK,
    Check(100, "tasks", "The tasks are those that the promised seed draws, each once.", _check_tasks),
    chains.CHECK,
    Check(120, "ends", "No episode is longer than the season allows.", _check_ends),
    replay.CHECK,
    judged.CHECK,
    Check(170, "numbers", "Every number that the board shows was derived again here.", _check_numbers),
)
"""Checks of a session, in order."""
