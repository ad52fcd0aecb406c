"""A held-out session in the form of a submission, so that the board shows it like any other."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import agentsafe_envs
from agentsafe_envs.scoring.suites import Suite
from agentsafe_envs.submissions.schema import (
    AGENT_CARD_FILE,
    AGENT_KINDS,
    SUBMISSION_FILE,
    FileRecord,
    Submission,
    SubmittedAgent,
    SubmittedSuite,
)
from leaderboard.server.revealing import RevealedSession

EPISODES_FILE = "episodes.jsonl.gz"
UNKNOWN = "not told"


def submission_of(session: RevealedSession, suite: Suite, data: bytes, place: Path) -> Submission:
    """Write a session into the empty folder ``place`` as a submission.

    Args:
        session: Of a closed season.
        suite: That it played.
        data: Its episodes.
        place: Empty folder.
    """
    agent = _agent(session.agent)
    team = f"Team {session.team}"
    card = (
        f"# {agent.name}\n\nPlayed against the server of this board, on tasks that were secret. Its team said nothing "
        "more of it.\n"
    )
    contents = {AGENT_CARD_FILE: card.encode(), EPISODES_FILE: data}
    submission = Submission(
        format=1,
        agent=agent,
        suite=SubmittedSuite(
            name=suite.name, release=agentsafe_envs.__version__, environments=suite.record().environments
        ),
        files={
            name: FileRecord(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
            for name, content in contents.items()
        },  # type: ignore[arg-type]
        contact=team if re.fullmatch(r"[A-Za-z0-9 ,._-]+", team) else UNKNOWN,
    )
    for name, content in contents.items():
        (place / name).write_bytes(content)
    (place / SUBMISSION_FILE).write_text(submission.model_dump_json(exclude_none=True))
    return submission


def _agent(told: dict[str, Any]) -> SubmittedAgent:
    """What a team said of its agent, as far as a submission may say it; the rest is left out."""
    settings = told.get("settings") or {}
    kind, _, rest = (told.get("spec") or "").partition(":")
    known = kind in AGENT_KINDS
    model = rest if known and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 ._+:/()-]{0,79}", rest) else told["name"]
    weights = settings.get("weights_sha256")
    fields = {"name": told["name"], "licence": UNKNOWN, "model": model}
    try:
        return SubmittedAgent(
            **fields,
            kind=kind if known else "process",  # type: ignore[arg-type]
            weights_sha256=weights,
            settings=settings,
        )
    except ValidationError:  # it names no weights or service, or its settings are no short plain text
        return SubmittedAgent(**fields, kind="process", settings={})
