"""The verdict of this release's detectors on episodes, with the evidence behind it; each episode is judged once.

Try it::

    python -c "from pathlib import Path; from agentsafe_envs.runs.judging import judge_run; \
               print([each.verdict.first for each in judge_run(Path('runs/mine')).episodes.values()])"
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from agentsafe_envs.core.bias import Harm, Unclear
from agentsafe_envs.core.episode import Episode, EpisodeError, EpisodeKey
from agentsafe_envs.core.judge import Verdict, means_of, verdict
from agentsafe_envs.registration import resolve
from agentsafe_envs.runs.cache import Judgement, JudgementCache
from agentsafe_envs.runs.rows import Row, RowStoreError, RunRecord, read_rows, read_run, row_key


class JudgedStep(NamedTuple):
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


KEPT_OF_A_STEP = ("status", "changed", "later", "means", "prevented")
"""Fields of a step that neither the episode nor the verdict holds."""


class JudgedEpisode(NamedTuple):
    """An episode with what happened behind the agent's back.

    Attributes:
        episode: As it was recorded.
        template: ``"<scenario>/<wording>"``.
        instruction: What the agent was asked.
        steps: In order.
        verdict: Of this release's detectors.
    """

    episode: Episode
    template: str
    instruction: str
    steps: tuple[JudgedStep, ...]
    verdict: Verdict

    def entry(self) -> dict[str, Any]:
        """Everything, in plain JSON types."""
        steps = [step._asdict() | {"harms": [harm._asdict() for harm in step.harms]} for step in self.steps]
        return {
            **self.episode._asdict(),
            "template": self.template,
            "instruction": self.instruction,
            "steps": steps,
            "verdict": verdict_entry(self.verdict),
        }

    def judgement(self) -> Judgement:
        """What the episode does not hold itself, in plain JSON types; :meth:`from_judgement` reads it back."""
        return {
            "template": self.template,
            "instruction": self.instruction,
            "steps": [[getattr(step, name) for name in KEPT_OF_A_STEP] for step in self.steps],
            "verdict": verdict_entry(self.verdict),
        }

    @classmethod
    def from_judgement(cls, episode: Episode, judgement: Judgement) -> JudgedEpisode:
        """``episode`` with what was found in it."""
        stored = judgement["verdict"]
        found = Verdict(
            **stored
            | {
                "harms": tuple(Harm(**harm) for harm in stored["harms"]),
                "unclear": tuple(Unclear(**each) for each in stored["unclear"]),
            }
        )
        steps = tuple(
            JudgedStep(
                action=step.action,
                result=step.result,
                status=status,
                changed=tuple(changed),
                later=tuple(later),
                means=means,
                prevented=prevented,
                harms=_harms_of(found, number),
            )
            for number, (step, (status, changed, later, means, prevented)) in enumerate(
                zip(episode.steps, judgement["steps"], strict=True)
            )
        )
        return cls(episode, judgement["template"], judgement["instruction"], steps, found)


class JudgedRun(NamedTuple):
    """A run with the verdicts that this release's detectors give.

    Attributes:
        record: What the run says of itself.
        episodes: By key, in the order in which they were written.
        rows: As stored, but with template and verdict of this release.
        revised: Episodes that were stored with another verdict.
    """

    record: RunRecord
    episodes: Mapping[EpisodeKey, JudgedEpisode]
    rows: Mapping[EpisodeKey, Row]
    revised: frozenset[EpisodeKey]


def judge_episode(episode: Episode) -> JudgedEpisode:
    """Judge ``episode`` anew.

    Raises:
        ValueError: Its environment is not registered.
        EpisodeError: It cannot have happened in this release.
    """
    world, bias = resolve(episode.environment)
    task = world.redraw(bias, episode)
    context = world.reconstruct(task, episode)
    means = means_of(bias, context)
    found = verdict(bias, context, task.split, means)

    def prevented(number: int) -> str | None:
        if context.transitions[number].prevented is None:
            return None
        return bias.classify(context.had_nothing_prevented(number), number).value

    steps = []
    for number, (step, transition) in enumerate(zip(episode.steps, context.transitions, strict=True)):
        changed = world.changes(transition.before, transition.after)
        at_horizon = world.changes(transition.before_at_horizon, transition.after_at_horizon)
        steps.append(
            JudgedStep(
                action=step.action,
                result=step.result,
                status=transition.reply.status,
                changed=tuple(changed),
                later=tuple(line for line in at_horizon if line not in changed),
                means=means[number].value,
                prevented=prevented(number),
                harms=_harms_of(found, number),
            )
        )
    return JudgedEpisode(episode, task.template, task.instruction, tuple(steps), found)


def judge_run(
    directory: Path, *, wanted: Container[EpisodeKey] | None = None, on_judged: Callable[[], None] = lambda: None
) -> JudgedRun:
    """Judge the episodes of a run directory, except those that this release has judged before.

    Args:
        directory: What was found is kept there, where that is possible.
        wanted: Only these; None means all.
        on_judged: Called after each episode.

    Raises:
        FileNotFoundError: There is no such run.
        RowStoreError: An episode was edited, or cannot have happened in this release.
    """
    record, cache = read_run(directory), JudgementCache(directory)
    episodes: dict[EpisodeKey, JudgedEpisode] = {}
    rows: dict[EpisodeKey, Row] = {}
    revised = set()
    fresh: dict[str, Judgement] = {}
    try:
        for row in read_rows(directory):
            key = row_key(row)
            if wanted is not None and key not in wanted:
                continue
            try:
                episode = _read_episode(row, key)
                digest = episode.chain()[-1]
                judgement = cache.find(digest)
                judged = JudgedEpisode.from_judgement(episode, judgement) if judgement else judge_episode(episode)
            except (EpisodeError, KeyError, ValueError) as error:
                raise RowStoreError(
                    f"{directory}: the episode of {tuple(key)} cannot be judged: {error}. "
                    "It was edited or belongs to another release; play the run again with another --out"
                ) from error
            if judgement is None:
                fresh[digest] = judged.judgement()
            episodes[key] = judged
            rows[key] = {**row, "template": judged.template, "verdict": verdict_entry(judged.verdict)}
            if differences(row.get("verdict"), judged.verdict):
                revised.add(key)
            on_judged()
    finally:  # after Ctrl-C too
        cache.keep(fresh)
    return JudgedRun(record, episodes, rows, frozenset(revised))


def verdict_entry(found: Verdict) -> dict[str, Any]:
    """A verdict in plain JSON types, as rows hold it."""
    return {
        **found._asdict(),
        "harms": [harm._asdict() for harm in found.harms],
        "unclear": [each._asdict() for each in found.unclear],
    }


def differences(stored: Any, derived: Verdict) -> dict[str, tuple[Any, Any]]:
    """Fields of a stored verdict that this release's detectors see otherwise, as ``(stored, derived)``.

    A verdict of before ``unclear`` was recorded says of nothing that it is unclear.
    """
    then: dict[str, Any] = {"unclear": [], **(stored if isinstance(stored, dict) else {})}
    now = verdict_entry(derived)
    return {
        name: (then.get(name), now.get(name))
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    }


def _read_episode(row: Row, key: EpisodeKey) -> Episode:
    episode = Episode.from_dict(row["episode"])
    if (episode.environment, episode.split, episode.seed) != key[:3]:
        raise EpisodeError(f"it was recorded on {episode.environment} {episode.split} {episode.seed}")
    return episode


def _harms_of(found: Verdict, step: int) -> tuple[Harm, ...]:
    return tuple(harm for harm in found.harms if harm.step == step)
