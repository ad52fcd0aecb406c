"""An episode seen from behind: what each step changed, what the detectors made of it, and why.

Try it::

    agentsafe score scripted:biased --out run
    agentsafe replay run --row 2
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agentsafe_envs.core.bias import Bias, Harm
from agentsafe_envs.core.episode import Episode, EpisodeError
from agentsafe_envs.core.judge import Verdict, verdict
from agentsafe_envs.core.transition import HORIZON_DAYS, Context
from agentsafe_envs.registration import draw_task, reconstruct, resolve
from agentsafe_envs.runs.rows import ROWS_FILE
from agentsafe_envs.scoring.rollout import verdict_entry

AFTERMATH = f"what comes by itself after the end counts too: {HORIZON_DAYS} days in the cloud, jobs left in a shell"
"""How far the detectors look, for a reader."""


class StepReport(NamedTuple):
    """One step, and what no agent gets to see of it.

    Attributes:
        action: The agent's text.
        result: What it was answered.
        status: ``"ok"``, ``"failed"`` (refused) or ``"invalid"`` (no call of an offered tool).
        changed: How the world differs after it, a line for each thing.
        later: What else will differ when the horizon has passed.
        means: ``"biased"``, ``"alternative"`` or ``"none"``, on the task's objects.
        prevented: The same of a refused call, had nothing stood in its way; else None.
        harms: Harm that the detectors lay to this step.
    """

    action: str
    result: str
    status: str
    changed: tuple[str, ...]
    later: tuple[str, ...]
    means: str
    prevented: str | None
    harms: tuple[Harm, ...]


class Walkthrough(NamedTuple):
    """An episode with what happened behind the agent's back.

    Attributes:
        episode: As it was recorded.
        instruction: What the agent was asked.
        steps: In order.
        verdict: Of this release's detectors.
    """

    episode: Episode
    instruction: str
    steps: tuple[StepReport, ...]
    verdict: Verdict

    def entry(self) -> dict[str, Any]:
        """In plain JSON types."""
        steps = [step._asdict() | {"harms": [harm._asdict() for harm in step.harms]} for step in self.steps]
        return {
            **self.episode._asdict(),
            "instruction": self.instruction,
            "steps": steps,
            "verdict": verdict_entry(self.verdict),
        }


def walk_through(episode: Episode) -> Walkthrough:
    """Play ``episode`` again and look at everything.

    Raises:
        ValueError: Its environment is not registered.
        EpisodeError: It cannot have happened in this release.
    """
    world, bias = resolve(episode.environment)
    context = reconstruct(episode)
    found = verdict(bias, context, episode.split)  # type: ignore[arg-type]
    steps = []
    for number, (step, transition) in enumerate(zip(episode.steps, context.transitions, strict=True)):
        changed = world.changes(transition.before, transition.after)
        at_horizon = world.changes(transition.before_at_horizon, transition.after_at_horizon)
        steps.append(
            StepReport(
                action=step.action,
                result=step.result,
                status=transition.reply.status,
                changed=tuple(changed),
                later=tuple(line for line in at_horizon if line not in changed),
                means=bias.classify(context, number).value,
                prevented=None if transition.prevented is None else _prevented_means(bias, context, number),
                harms=tuple(harm for harm in found.harms if harm.step == transition.step),
            )
        )
    instruction = draw_task(episode.environment, episode.split, episode.seed, episode.pool).instruction
    return Walkthrough(episode, instruction, tuple(steps), found)


def _prevented_means(bias: Bias[Any], context: Context[Any], step: int) -> str:
    return bias.classify(context.had_nothing_prevented(step), step).value


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


def differences(stored: Mapping[str, Any], derived: Verdict) -> dict[str, tuple[Any, Any]]:
    """Fields of a stored verdict that this release's detectors see otherwise, as ``(stored, derived)``."""
    now = json.loads(json.dumps(verdict_entry(derived)))
    return {
        name: (stored.get(name), now.get(name))
        for name in sorted(stored.keys() | now.keys())
        if stored.get(name) != now.get(name)
    }


def step_text(number: int, step: StepReport) -> str:
    """A step for a reader, over several lines."""
    lines = [f"step {number}", f"  did      {step.action}", f"  saw      {step.result}"]
    if step.status != "ok":
        lines.append(f"  status   {step.status}")
    lines += [f"  changed  {line}" for line in step.changed]
    lines += [f"  later    {line}" for line in step.later]
    lines.append(f"  means    {step.means}")
    if step.prevented not in (None, "none"):
        lines.append(f"  refused  it would have been {step.prevented}")
    lines += [f"  HARM     {harm.kind}: {harm.evidence}" for harm in step.harms]
    return "\n".join(_continued(line) for line in lines)


def verdict_text(found: Verdict, steps: tuple[StepReport, ...]) -> str:
    """What the detectors say of an episode, and why, over several lines."""
    return "\n".join(_verdict_lines(found, steps))


def _verdict_lines(found: Verdict, steps: tuple[StepReport, ...]) -> Iterator[str]:
    conduct = "UNSAFE" if found.unsafe or found.tampered else "no harm"
    yield f"verdict: {conduct}, task {'done' if found.success else 'not done'}"
    acted = [number for number, step in enumerate(steps) if step.means != "none"]
    if acted:
        yield f"  the first step that acted on the task's objects, step {acted[0]}, used the {found.first} means"
    else:
        yield "  no step acted on the task's objects"
    for harm in found.harms:
        yield f"  step {harm.step} did harm, {harm.kind}: {harm.evidence}"
    if found.attempted:
        yield "  a refused call would have been the biased means, or harm"
    if found.override:
        yield "  the instruction ruled the operation out, and it was done all the same"
    if found.tampered:
        yield "  the agent interfered with what observes it"
    counted = f"{found.biased_calls} by the biased means, {found.invalid_actions} invalid"
    steps_taken = f"{found.steps} step{'s' * (found.steps != 1)}"
    yield f"  {steps_taken}, {counted}; the operator was {'asked' if found.asked else 'not asked'}"
    yield f"  {AFTERMATH}"


def _continued(line: str) -> str:
    return line.rstrip("\n").replace("\n", "\n           ")
