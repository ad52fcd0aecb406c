"""What ``submission.json`` says: which agent played which suite, and the hashes of what it did.

There is no field for a score, a rate or a level of trust: those are derived from the episodes. Text is limited to
letters, digits and a few signs, so that no name can hold script, a formula or a letter that looks like another.

Try it::

    python -c "from agentsafe_envs.submissions.schema import submission_schema; print(submission_schema()['required'])"
"""

from __future__ import annotations

import hashlib
import math
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from agentsafe_envs.core.extras import import_extra

SUBMISSION_FORMAT = 1
"""Bumped when an older submission can no longer be read."""

SUBMISSION_FILE = "submission.json"
AGENT_CARD_FILE = "card.md"
EPISODES_FILES = ("episodes.jsonl.zst", "episodes.jsonl.gz")
"""Names under which episodes may come; one of them is there."""

AgentKind = Literal["scripted", "student", "hf", "openai", "python", "process"]
AGENT_KINDS: tuple[AgentKind, ...] = get_args(AgentKind)

LONGEST_SETTING = 2_000
"""Characters of a text among the settings."""

MOST_SETTINGS = 64
"""Entries of the settings, and of each list or object in them."""

_EXACT = 2**53
"""Whole numbers from here on are not exact in JSON, so canonical JSON refuses them."""

_Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$(?!\n)")]
_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+:/()-]*$(?!\n)", max_length=80)]
_Sentence = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ,;._+:/()-]*$(?!\n)", max_length=200)]
_Contact = Annotated[
    str,
    StringConstraints(
        pattern=r"^([A-Za-z0-9][A-Za-z0-9._+-]*@[A-Za-z0-9][A-Za-z0-9.-]*|https://[A-Za-z0-9][A-Za-z0-9./_-]*"
        r"|[A-Za-z0-9][A-Za-z0-9 ,._-]*)$(?!\n)",
        max_length=120,
    ),
]
_EnvironmentId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]+-v[0-9]+$(?!\n)", max_length=60)]
_Release = Annotated[
    str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)*((a|b|rc|\.post|\.dev)[0-9]+)*$(?!\n)", max_length=40)
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, regex_engine="python-re")


def require_whole(value: Any) -> Any:
    """Refuse ``true`` and ``1.0``, which Python takes for 1.

    Raises:
        ValueError: ``value`` is no whole number.
    """
    if type(value) is not int:
        raise ValueError(f"expected a whole number, not {type(value).__name__}")
    return value


FormatNumber = Annotated[Literal[1], BeforeValidator(require_whole)]
"""Version of a layout."""


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Refuse settings that are no short, flat JSON of printable ASCII."""
    _require_plain(settings, "settings", 3)
    return settings


class SubmittedAgent(_Part):
    """The agent, in its submitter's words; only the weights' hash and the settings can be compared with anything."""

    name: _Name = Field(description="Shown on the board.")
    kind: AgentKind = Field(description="How it was plugged in, as in its specification.")
    model: _Name = Field(description="Model, policy or program that acted.")
    base_model: _Name | None = Field(default=None, description="Model that it was made from; null where there is none.")
    parameters: int | None = Field(
        default=None, ge=1, lt=_EXACT, description="Number of its weights; null where it has none."
    )
    licence: _Name = Field(description="Of the model or program, an SPDX identifier where there is one.")
    weights_sha256: _Sha256 | None = Field(default=None, description="Hash of the weights; hf and student have one.")
    api: _Name | None = Field(default=None, description="Service that answered; openai has one.")
    prompt_style: Literal["json", "signature"] | None = Field(default=None, description="How tools were shown to it.")
    settings: Annotated[dict[str, Any], AfterValidator(_plain)] = Field(
        description="What it says of itself and decides its conduct."
    )

    @model_validator(mode="after")
    def _require_source(self) -> SubmittedAgent:
        wanted = {"hf": "weights_sha256", "student": "weights_sha256", "openai": "api"}.get(self.kind)
        if wanted and getattr(self, wanted) is None:
            raise ValueError(f"kind {self.kind} needs {wanted}")
        return self


class Distillation(_Part):
    """How a student was made."""

    base: _Name = Field(description="Model that it started from.")
    teacher: _Name = Field(description="Agent whose trajectories it learnt.")
    data: _Sentence = Field(description="Trajectories that it learnt, and how they were sanitised.")
    loss: _Name = Field(description="Loss, for instance sft or kl_masked_all.")


class SubmittedSuite(_Part):
    """What was played."""

    name: _Name = Field(description="Name of the suite.")
    release: _Release = Field(description="Version of agentsafe_envs that made the submission.")
    environments: dict[_EnvironmentId, _Sha256] = Field(
        min_length=1, max_length=200, description="Digest of each environment's tasks, by its registered id."
    )


class FileRecord(_Part):
    """A file as it was submitted."""

    sha256: _Sha256 = Field(description="Of its content.")
    bytes: int = Field(ge=0, lt=_EXACT, description="Its size.")


class Signature(_Part):
    """Ed25519 over the canonical JSON of everything else."""

    key: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$(?!\n)")] = Field(description="Public key.")
    signature: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{128}$(?!\n)")] = Field(description="The signature.")


class Submission(_Part):
    """Content of ``submission.json``."""

    format: FormatNumber = Field(description="Version of this layout.")
    agent: SubmittedAgent
    distillation: Distillation | None = Field(default=None, description="Of a distilled student; null else.")
    suite: SubmittedSuite
    files: dict[Literal["card.md", "episodes.jsonl.zst", "episodes.jsonl.gz"], FileRecord] = Field(
        description="The card and one file of episodes, by name."
    )
    contact: _Contact = Field(description="Mail address, https page or name of the person who answers questions.")
    signature: Signature | None = Field(default=None, description="Optional.")

    @model_validator(mode="after")
    def _require_both_files(self) -> Submission:
        if len(self.files) != 2 or AGENT_CARD_FILE not in self.files:
            raise ValueError(f"files are {sorted(self.files)}, expected {AGENT_CARD_FILE} and one file of episodes")
        return self

    @property
    def episodes_file(self) -> str:
        """Name of the file of episodes."""
        return next(name for name in self.files if name != AGENT_CARD_FILE)

    def signed_bytes(self) -> bytes:
        """RFC 8785 canonical JSON of everything but the signature.

        Raises:
            MissingExtraError: The extra ``submit`` is missing.
        """
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))

    def digest(self) -> str:
        """SHA-256 hex digest of :meth:`signed_bytes`, which names the submission."""
        return hashlib.sha256(self.signed_bytes()).hexdigest()


def canonical_json(value: Any) -> bytes:
    """RFC 8785 form of plain JSON.

    Raises:
        MissingExtraError: The extra ``submit`` is missing; the message says how to install it.
        ValueError: A number that JSON cannot hold exactly.
    """
    return import_extra("rfc8785", "submit").dumps(value)


def submission_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of ``submission.json``; ``leaderboard/submission.schema.json`` holds it."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Submission.model_json_schema()}


def _require_plain(value: Any, place: str, depth: int) -> None:
    if isinstance(value, dict | list):
        if depth == 0:
            raise ValueError(f"{place} is nested too deep")
        if len(value) > MOST_SETTINGS:
            raise ValueError(f"{place} has {len(value)} entries, expected at most {MOST_SETTINGS}")
        for name, each in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(name, str):
                _require_text(name, f"a name in {place}")
            _require_plain(each, f"{place}.{name}", depth - 1)
    elif isinstance(value, str):
        _require_text(value, place)
    elif isinstance(value, int) and abs(value) >= _EXACT:
        raise ValueError(f"{place} is a number that JSON does not hold exactly")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place} is {value}, expected a finite number")


def _require_text(text: str, place: str) -> None:
    if len(text) > LONGEST_SETTING or not (text.isascii() and (text.isprintable() or not text)):
        raise ValueError(f"{place} is {text[:40]!r}, expected at most {LONGEST_SETTING} printable ASCII characters")
