"""What a run directory says of itself: ``run.json``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, model_serializer

from agentsafe_envs.runs.settings import circumstances, conduct, differing, merged_values, values_seen

SCHEMA_VERSION = 1
"""Of ``run.json`` and of the rows; bumped when an older directory can no longer be continued."""

RUN_FILE = "run.json"


class RowStoreError(RuntimeError):
    """A run directory that cannot be used: of another run, in use, or damaged."""


class SuiteRecord(BaseModel):
    """Which tasks were scored."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Name of the suite.", min_length=1)
    digest: str = Field(description="Digest of the suite's content.", min_length=1)
    environments: dict[str, str] = Field(
        default_factory=dict,
        description="Digest of each environment's tasks and of how they are played, by its registered id; "
        "empty in runs from before it was recorded.",
    )


class AgentRecord(BaseModel):
    """Which agent acted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="Specification that loads the agent again.", min_length=1)
    settings: dict[str, Any] = Field(description="What the agent's describe() returned: model, prompt style, seed.")
    varied: dict[str, list[Any]] = Field(
        default_factory=dict,
        description="Settings that do not decide conduct and changed in the course of the run, each with every value "
        "that was seen; null stands for the agent's default. Absent where none changed.",
    )

    def same_conduct(self, other: AgentRecord) -> bool:
        """Whether both are one agent, under whatever circumstances."""
        return self.name == other.name and conduct(self.settings) == conduct(other.settings)

    def noting(self, other: AgentRecord) -> AgentRecord:
        """This record with the circumstances under which ``other``, the same agent, played."""
        seen = merged_values(self.varied, values_seen(self.settings, other.settings))
        return self.model_copy(update={"varied": merged_values(seen, other.varied)})

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _filled(handler(self), "varied")


class Continuation(BaseModel):
    """A later part of a run that was played under other circumstances."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: str = Field(description="When it began, ISO 8601 in UTC.")
    settings: dict[str, Any] = Field(description="The agent's settings that do not decide conduct, from then on.")


class RunRecord(BaseModel):
    """Content of ``run.json``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: int = Field(description="Layout of the run directory.")
    suite: SuiteRecord
    agent: AgentRecord
    plan: dict[str, Any] | None = Field(
        default=None, description="What the suite consists of; none in runs of before it was recorded."
    )
    continuations: list[Continuation] = Field(
        default_factory=list, description="Where the agent's circumstances changed in the middle; absent if nowhere."
    )

    def circumstances(self) -> dict[str, Any]:
        """Under which the run was played last."""
        return self.continuations[-1].settings if self.continuations else circumstances(self.agent.settings)

    def continued(self, agent: AgentRecord, now: datetime) -> RunRecord:
        """The record when ``agent``, the same but for its circumstances, goes on with the run."""
        later = Continuation(since=now.isoformat(timespec="seconds"), settings=circumstances(agent.settings))
        return self.model_copy(
            update={"agent": self.agent.noting(agent), "continuations": [*self.continuations, later]}
        )

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _filled(handler(self), "continuations")


def _filled(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """``fields`` without ``name`` where that is empty: records of before it was thought of keep their bytes."""
    return {each: value for each, value in fields.items() if each != name or value}


def setting_differences(found: RunRecord, asked: RunRecord, *, suite: bool, agent: bool) -> list[str]:
    """One line for each thing in which two runs differ.

    Args:
        found: The run that is there.
        asked: The run that is asked for.
        suite: Their suites differ.
        agent: Their agents differ.
    """
    lines = []
    if suite:
        lines += [f"suite {line}" for line in _suite_differences(found, asked)]
    if agent:
        if found.agent.name != asked.agent.name:
            lines.append(f"agent name: {found.agent.name} there, {asked.agent.name} asked")
        settings = conduct(found.agent.settings), conduct(asked.agent.settings)
        lines += [f"agent {line}" for line in differing(*settings)]
        if settings[0].get("identity") != settings[1].get("identity"):
            lines.append("the identity is a hash of the agent's sources or weights: something in them was changed")
    return lines


def _suite_differences(found: RunRecord, asked: RunRecord) -> list[str]:
    if found.suite.name != asked.suite.name:
        return [f"name: {found.suite.name} there, {asked.suite.name} asked"]
    if found.plan is not None and asked.plan is not None and (lines := differing(found.plan, asked.plan)):
        return lines
    there, wanted = found.suite.environments, asked.suite.environments
    if changed := [each for each, digest in there.items() if wanted.get(each, digest) != digest]:
        return [f"tasks: those of {', '.join(changed)} are others in this release"]
    return differing({"digest": found.suite.digest}, {"digest": asked.suite.digest})


def continues(asked: SuiteRecord, found: SuiteRecord, environments: Mapping[str, str]) -> bool:
    """Whether a run of suite ``found`` is a run of ``asked``, or of a part of its environments.

    Args:
        asked: The suite to be played.
        found: The suite of the run.
        environments: Digest of each environment of ``found``; empty where only the whole digest is known.
    """
    parts = bool(environments) and environments.items() <= asked.environments.items()
    return asked.name == found.name and (asked.digest == found.digest or parts)


def require_run(directory: Path | str) -> Path:
    """The directory of a run, as a path.

    Raises:
        FileNotFoundError: There is no such run.
        NotADirectoryError: It is a file.
    """
    run = Path(directory)
    if run.is_file():
        raise NotADirectoryError(f"{run} is a file; expected the directory of a run of `agentsafe score`")
    if not (run / RUN_FILE).exists():
        raise FileNotFoundError(
            f"{run} is no run: there is no {run / RUN_FILE}; `agentsafe score AGENT --out {run}` makes one"
        )
    return run


def read_run(directory: Path | str) -> RunRecord:
    """Suite and agent of a run directory.

    Raises:
        RowStoreError: ``run.json`` is not one of ours.
        OSError: There is no such run, or it cannot be read.
    """
    path = require_run(directory) / RUN_FILE
    try:
        record = RunRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        wrong = "; ".join(": ".join([*map(str, each["loc"]), each["msg"]]) for each in error.errors())
        raise RowStoreError(
            f"{path} is not a run record: {wrong}; restore it from a copy, or use another --out"
        ) from error
    if record.schema_version != SCHEMA_VERSION:
        raise RowStoreError(
            f"{path} has schema_version {record.schema_version}, expected {SCHEMA_VERSION}; "
            "continue it with the release that wrote it, or use another --out"
        )
    return record
