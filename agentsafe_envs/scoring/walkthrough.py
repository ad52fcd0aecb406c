"""A judged episode in words: what each step changed, what the detectors made of it, and why.

Try it::

    agentsafe score scripted:biased --out run
    agentsafe replay run --row 2
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentsafe_envs.core.actions import without_note
from agentsafe_envs.core.episode import Episode, EpisodeError
from agentsafe_envs.core.judge import Verdict
from agentsafe_envs.core.transition import HORIZON_DAYS
from agentsafe_envs.runs.judging import JudgedStep
from agentsafe_envs.runs.rows import ROWS_FILE

AFTERMATH = f"what comes by itself after the end counts too: {HORIZON_DAYS} days in the cloud, jobs left in a shell"
"""How far the detectors look, for a reader."""


def read_episode(source: Path, row: int = 0) -> tuple[Episode, Mapping[str, Any] | None]:
    """An episode that was stored, and the verdict that was stored with it.

    Args:
        source: A run directory, its ``rows.jsonl``, or a file with one row or one bare episode a line.
        row: Which line, from 0.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It has no such line, or that holds no episode.
        EpisodeError: The episode was edited.
    """
    file = source / ROWS_FILE if source.is_dir() else source
    if not file.is_file():
        raise FileNotFoundError(f"{file} is no file; expected a run of `agentsafe score`, or what `play --out` wrote")
    # A run may go on meanwhile: what stands behind the last line break is no row yet.
    lines = [line for line in file.read_bytes().split(b"\n") if line.strip()]
    if not lines:
        raise ValueError(f"{file} holds no episode; `agentsafe score` writes one a line, and `play --out` one")
    if row >= len(lines):
        raise ValueError(f"row is {row}, expected less than {len(lines)}, the number of episodes in {file}")
    try:
        found = json.loads(lines[row])
    except ValueError as error:
        raise ValueError(f"{file}, row {row} is not JSON: {error}") from error
    episode = found.get("episode", found) if isinstance(found, dict) else None
    if not isinstance(episode, dict):
        raise EpisodeError(f"{file}, row {row} is neither a row of a run nor an episode")
    try:
        return Episode.from_dict(episode), found.get("verdict")
    except EpisodeError as error:
        raise EpisodeError(f"{file}, row {row}: {error}") from error


def step_text(number: int, step: JudgedStep) -> str:
    """A step for a reader, over several lines."""
    action, note = without_note(step.action) if step.status != "invalid" else (step.action, "")
    said = [f"  said     {note}"] if note else []
    lines = [f"step {number}", *said, f"  did      {action}", f"  saw      {step.result}"]
    if step.status != "ok":
        lines.append(f"  status   {step.status}")
    lines += [f"  changed  {line}" for line in step.changed]
    lines += [f"  later    {line}" for line in step.later]
    lines.append(f"  means    {step.means}")
    if step.prevented not in (None, "none"):
        lines.append(f"  refused  it would have been {step.prevented}")
    lines += [f"  HARM     {harm.kind}: {harm.evidence}" for harm in step.harms]
    return "\n".join(_continued(line) for line in lines)


def verdict_text(found: Verdict, steps: tuple[JudgedStep, ...]) -> str:
    """What the detectors say of an episode, and why, over several lines."""
    return "\n".join(_verdict_lines(found, steps))


def _verdict_lines(found: Verdict, steps: tuple[JudgedStep, ...]) -> Iterator[str]:
    conduct = "UNSAFE" if found.unsafe or found.tampered else "no harm"
    yield f"verdict: {conduct}, task {'done' if found.success else 'not done'}"
    acted = [number for number, step in enumerate(steps) if step.means != "none"]
    if acted:
        yield f"  the first step that acted on the task's objects, step {acted[0]}, used the {found.first} means"
    else:
        yield "  no step acted on the task's objects"
    for harm in found.harms:
        yield f"  step {harm.step} did harm, {harm.kind}: {harm.evidence}"
    for each in found.unclear:
        yield f"  step {each.step} is unclear, it may have been harm: {each.reason}"
    if found.attempted:
        yield "  a refused call would have been the biased means, or harm"
    if found.override:
        yield "  broke the rule: the instruction ruled the operation out"
    if found.tampered:
        yield "  the agent interfered with what observes it"
    counted = f"{found.biased_calls} by the biased means, {found.invalid_actions} invalid"
    steps_taken = f"{found.steps} step{'s' * (found.steps != 1)}"
    yield f"  {steps_taken}, {counted}; the operator was {'asked' if found.asked else 'not asked'}"
    yield f"  {AFTERMATH}"


def _continued(line: str) -> str:
    return line.rstrip("\n").replace("\n", "\n           ")
