"""A submission made from a complete run: ``submission.json``, the episodes, and a card.

Nothing that was derived goes in: no verdict, no rate. The episodes are put in the order of the suite.

Try it::

    agentsafe submit runs/mine --name my-agent --about about.toml --out my-agent
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tomllib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

import agentsafe_envs
from agentsafe_envs.core.extras import import_extra
from agentsafe_envs.runs.judging import judge_run
from agentsafe_envs.runs.rows import Row, RunRecord, read_rows, read_run, row_key
from agentsafe_envs.runs.settings import conduct
from agentsafe_envs.scoring.scorecard import UNSCORED_LIMIT
from agentsafe_envs.scoring.suites import SUITES, Suite
from agentsafe_envs.submissions.checking import Case, Surroundings
from agentsafe_envs.submissions.hostile import most_bytes
from agentsafe_envs.submissions.schema import (
    AGENT_CARD_FILE,
    AGENT_KINDS,
    SUBMISSION_FILE,
    SUBMISSION_FORMAT,
    Distillation,
    FileRecord,
    Signature,
    Submission,
    SubmittedAgent,
    SubmittedSuite,
)
from agentsafe_envs.submissions.verify import card as card_check
from agentsafe_envs.submissions.verify import names
from agentsafe_envs.submissions.verify import settings as settings_check

ABOUT_TEMPLATE = """contact = "you@example.org"      # or an https page, or a name
licence = "Apache-2.0"           # of the model or program

# What the run does not tell; leave out what there is not.
# model = "my-model"
# base_model = "SmolLM2-135M-Instruct"
# parameters = 135_000_000
# weights_sha256 = "..."         # hf and student runs know it
# api = "https://api.example.org/v1"

# [distillation]
# base = "SmolLM2-135M-Instruct"
# teacher = "my-teacher"
# data = "10,000 sanitised trajectories of the train pool"
# loss = "sft"
"""

ZSTANDARD_LEVEL = 19
"""Slow and small: a submission is made once and kept for years."""


class SubmitError(ValueError):
    """A run that cannot be submitted; the message says why and what to do."""


class About(BaseModel):
    """What the submitter says of the agent and a run does not tell, as ``about.toml`` holds it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    contact: str
    licence: str
    model: str | None = None
    base_model: str | None = None
    parameters: int | None = None
    weights_sha256: str | None = None
    api: str | None = None
    distillation: Distillation | None = None


def read_about(path: Path) -> About:
    """Read ``about.toml``.

    Raises:
        FileNotFoundError: It is not there.
        SubmitError: It is no TOML, or has other fields.
    """
    try:
        return About.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is not there; write one:\n\n{ABOUT_TEMPLATE}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SubmitError(f"{path} is no TOML: {error}") from error
    except ValidationError as error:
        raise SubmitError(f"{path}: {_in_words(error)}; an example:\n\n{ABOUT_TEMPLATE}") from error


def make_submission(
    run: Path,
    out: Path,
    *,
    name: str,
    about: About,
    card: Path | None = None,
    key: Path | None = None,
    suites: Mapping[str, Suite] = SUITES,
) -> Submission:
    """Make the folder of a submission from a run directory.

    Args:
        run: Directory of a complete run of a whole suite.
        out: New folder.
        name: Of the agent on the board.
        about: What the run does not tell.
        card: Markdown whose first line is ``# <name>``; None means a short card of what is known.
        key: Ed25519 private key as PEM to sign with; None leaves the submission unsigned.
        suites: Suites that may be submitted, by name.

    Raises:
        FileExistsError: ``out`` is there already.
        FileNotFoundError: There is no such run, card or key.
        MissingExtraError: The extra ``submit`` is missing.
        SubmitError: The run is not complete, its suite was narrowed, or a field or the card is refused by a check.
        RowStoreError: An episode was edited or is of another release.
    """
    if out.exists():
        raise FileExistsError(f"{out} is there already; choose another --out, or remove it first")
    record = read_run(run)
    suite = _whole_suite(run, record, suites)
    episodes_name, episodes = _compressed(_lines(run, suite))
    agent = _agent(name, record, about)
    text = _read_card(card) if card else _card(agent, about)
    contents = {episodes_name: episodes, AGENT_CARD_FILE: text.encode()}
    try:
        submission = Submission(
            format=SUBMISSION_FORMAT,
            agent=agent,
            distillation=about.distillation,
            suite=SubmittedSuite(
                name=suite.name, release=agentsafe_envs.__version__, environments=suite.record().environments
            ),
            files={
                each: FileRecord(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
                for each, data in contents.items()
            },  # type: ignore[arg-type]
            contact=about.contact,
        )
    except ValidationError as error:
        raise SubmitError(_in_words(error)) from error
    _require_own_words(out, submission, contents)
    if key:
        submission = submission.model_copy(update={"signature": sign(submission, key)})
    else:
        submission.signed_bytes()  # complain of a missing extra before anything is written
    out.mkdir(parents=True)
    for each, data in contents.items():
        (out / each).write_bytes(data)
    (out / SUBMISSION_FILE).write_text(
        json.dumps(submission.model_dump(mode="json", exclude_none=True), indent=2, sort_keys=True) + "\n"
    )
    return submission


def sign(submission: Submission, key: Path) -> Signature:
    """Sign everything but the signature.

    Raises:
        MissingExtraError: The extra ``submit`` is missing.
        SubmitError: ``key`` holds no ed25519 private key.
    """
    ed25519 = import_extra("cryptography.hazmat.primitives.asymmetric.ed25519", "submit")
    serialization = import_extra("cryptography.hazmat.primitives.serialization", "submit")
    try:
        private = serialization.load_pem_private_key(key.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise SubmitError(f"{key} is no readable private key: {error}") from error
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise SubmitError(f"{key} is no ed25519 key; make one: openssl genpkey -algorithm ed25519 -out {key}")
    public = private.public_key().public_bytes_raw().hex()
    return Signature(key=public, signature=private.sign(submission.signed_bytes()).hex())


def _whole_suite(run: Path, record: RunRecord, suites: Mapping[str, Suite]) -> Suite:
    known = suites.get(record.suite.name)
    if known is None:
        raise SubmitError(f"{run} played suite {record.suite.name!r}, expected one of {', '.join(suites)}")
    suite = Suite.from_record(record)
    if suite.keys() != known.keys() or suite != known:
        raise SubmitError(
            f"{run} played a part of suite {known.name}, or played it otherwise; play the whole suite: "
            f"agentsafe score {record.agent.name} --suite {known.name} --out {run}"
        )
    return suite


def _lines(run: Path, suite: Suite) -> bytes:
    rows = {row_key(row): row for row in read_rows(run)}
    planned = suite.keys()
    missing = [key for key in planned if key not in rows]
    if missing:
        valid = len(missing) <= UNSCORED_LIMIT * len(planned)
        raise SubmitError(
            f"{run} lacks {len(missing)} of {len(planned)} episodes, the first is {tuple(missing[0])}"
            f"{'' if valid else ', so its scorecard is not valid'}; run the same `agentsafe score` again, "
            "which plays only what is missing"
        )
    judge_run(run)  # refuses what was edited, and what cannot have happened
    return b"".join(_line(rows[key]) for key in planned)


def _line(row: Row) -> bytes:
    kept = {name: row[name] for name in ("key", "episode", "system") if name in row}
    return json.dumps(kept, separators=(",", ":"), sort_keys=True, allow_nan=False).encode() + b"\n"


def _compressed(lines: bytes) -> tuple[str, bytes]:
    if find_spec("zstandard") is None:
        return "episodes.jsonl.gz", gzip.compress(lines, mtime=0)
    import zstandard

    return "episodes.jsonl.zst", zstandard.ZstdCompressor(level=ZSTANDARD_LEVEL).compress(lines)


def _agent(name: str, record: RunRecord, about: About) -> SubmittedAgent:
    spec, settings = record.agent.name, conduct(record.agent.settings)
    kind, _, rest = spec.partition(":")
    style = settings.get("prompt_style")
    try:
        return SubmittedAgent(
            name=name,
            kind=kind if kind in AGENT_KINDS else "python",  # type: ignore[arg-type]
            model=about.model or rest or spec,
            base_model=about.base_model,
            parameters=about.parameters,
            licence=about.licence,
            weights_sha256=about.weights_sha256 or settings.get("weights_sha256"),
            api=about.api,
            prompt_style=style if style in ("json", "signature") else None,
            settings=settings,
        )
    except ValidationError as error:
        raise SubmitError(_in_words(error)) from error


def _read_card(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SubmitError(f"{file} is no UTF-8: {error}") from error


def _require_own_words(out: Path, submission: Submission, contents: Mapping[str, bytes]) -> None:
    """Refuse now what a verification would say of names, settings and card."""
    if too_large := next((name for name, data in contents.items() if len(data) > most_bytes(name)), None):
        raise SubmitError(f"{too_large} has {len(contents[too_large])} bytes, expected at most {most_bytes(too_large)}")
    case = Case(out, Surroundings())
    case.submission, case.members = submission, dict(contents)
    for check in (names.CHECK, settings_check.CHECK, card_check.CHECK):
        outcome = check.run(case)
        if outcome.status == "refused":
            raise SubmitError(f"{check.name}: {outcome.detail}")


def _card(agent: SubmittedAgent, about: About) -> str:
    lines = [f"# {agent.name}", "", f"- kind: {agent.kind}", f"- model: {agent.model}", f"- licence: {agent.licence}"]
    if agent.base_model:
        lines.append(f"- made from: {agent.base_model}")
    if about.distillation:
        made = about.distillation
        lines.append(f"- distilled from {made.teacher} into {made.base} with loss {made.loss}, on {made.data}")
    return "\n".join(lines) + "\n"


def _in_words(error: ValidationError) -> str:
    wrong: list[Any] = error.errors(include_url=False, include_context=False)
    places = ((".".join(map(str, each["loc"])) or "the whole", each) for each in wrong)
    return "; ".join(f"{place} is {each['input']!r:.80}: {each['msg']}" for place, each in places)
