"""What the board knows of one submission: all of it was found by its verification, here.

A result is plain data, so that it can be kept, and made by whoever verified: this build, or the server's worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from agentsafe_envs.agents.scripted import script
from agentsafe_envs.registration import draw_task
from agentsafe_envs.runs.judging import JudgedEpisode, JudgedStep, verdict_entry
from agentsafe_envs.scoring.document import rounded
from agentsafe_envs.scoring.measures import ScoredEpisode
from agentsafe_envs.scoring.scorecard import Scorecard
from agentsafe_envs.scoring.walkthrough import verdict_text
from agentsafe_envs.stats.intervals import rate
from agentsafe_envs.submissions.checking import TrustLevel
from agentsafe_envs.submissions.copies import episode_digest
from agentsafe_envs.submissions.hostile import read_members
from agentsafe_envs.submissions.schema import AGENT_CARD_FILE, Submission
from agentsafe_envs.submissions.verification import VerificationResult

MOST_SHOWN = 160
"""Episodes that an agent's page holds; the harmful ones come first."""


def _whole_text(text: Any) -> Any:
    """Text with escapes for halves of surrogate pairs: Python's JSON reads them, and no file can hold them."""
    return text.encode("utf-8", "backslashreplace").decode() if isinstance(text, str) else text


ShownText = Annotated[str, BeforeValidator(_whole_text)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckLine(_Part):
    """A check of the verification and what it came to."""

    name: str
    sentence: str
    status: str
    detail: str


class Share(_Part):
    """A rate with its 95% interval; the estimate is None without data."""

    estimate: float | None
    low: float | None
    high: float | None
    n: int


class EpisodeLine(_Part):
    """What came of one episode; tampering counts as unsafe and never as success."""

    environment: str
    split: str
    seed: int
    trial: int
    template: str
    first: Literal["biased", "alternative", "none"]
    success: bool
    unsafe: bool
    override: bool
    unclear: bool

    @property
    def safe_success(self) -> bool:
        """The task was done and nothing was unsafe."""
        return self.success and not self.unsafe

    @property
    def cluster(self) -> str:
        """The template with its environment: a template's versions in several splits are one cluster."""
        return f"{self.environment}/{self.template}"

    @property
    def task(self) -> tuple[str, str, int]:
        """Names the task among all."""
        return self.environment, self.split, self.seed


class ShownStep(_Part):
    """A step as a reader sees it."""

    action: ShownText
    result: ShownText
    status: str
    changed: list[ShownText]
    later: list[ShownText]
    means: str
    prevented: str | None
    harms: list[ShownText]


class ShownEpisode(_Part):
    """An episode that can be read step by step."""

    environment: str
    split: str
    seed: int
    trial: int
    template: str
    unsafe: bool
    biased_first: bool
    success: bool
    override: bool
    unclear: bool
    instruction: str
    verdict: list[ShownText]
    steps: list[ShownStep]
    cautious: list[str]
    """What the cautious script does in the same task; only next to a harmful episode."""


class Result(_Part):
    """A verified submission.

    Attributes:
        slug: Names its page; letters, digits, ``.``, ``_`` and ``-``.
        submission: What it says of itself.
        card: What it says of itself at length.
        digest: Names the submission.
        level: How far its numbers can be trusted.
        checks: What was checked, in order.
        scorecard: The numbers.
        rerun: Those of the maintainers' own run of the same weights.
        done: Share of all episodes whose task was done.
        episodes: What came of each.
        shown: Those that can be read.
        digests: What copies of its episodes are found by.
        date: When it came to the board, as YYYY-MM-DD; None where that is not known.
    """

    slug: str
    submission: Submission
    card: str
    digest: str
    level: TrustLevel
    checks: list[CheckLine]
    scorecard: Scorecard
    rerun: Scorecard | None = None
    done: Share
    episodes: list[EpisodeLine]
    shown: list[ShownEpisode]
    digests: list[str]
    date: str | None = None

    @property
    def name(self) -> str:
        """Of the agent."""
        return self.submission.agent.name

    @property
    def ranked(self) -> bool:
        """Whether it has a rank: its episodes were played again, or played here."""
        return self.level != "reported"


def result_of(found: VerificationResult, *, slug: str) -> Result:
    """What the board keeps of a verification that refused nothing.

    Args:
        found: The verification.
        slug: Names the page.

    Raises:
        ValueError: It was refused, or nothing could be derived.
    """
    if found.submission is None or found.scorecard is None or found.level is None or found.digest is None:
        raise ValueError(f"{found.path} was refused or has no numbers; only a verified submission is a result")
    judged = list(found.judged.values())
    outcomes = [
        ScoredEpisode.of({"key": key._asdict(), "template": each.template, "verdict": verdict_entry(each.verdict)})
        for key, each in found.judged.items()
    ]
    lines = [_line(each) for each in outcomes]
    return Result(
        slug=slug,
        submission=found.submission,
        card=read_members(found.path)[AGENT_CARD_FILE].decode(),
        digest=found.digest,
        level=found.level,
        checks=[CheckLine(**check._asdict()) for check in found.checks],
        scorecard=found.scorecard,
        rerun=found.rerun,
        done=share_of([line.success for line in lines], lines),
        episodes=lines,
        shown=[_shown(*pair) for pair in select(list(zip(lines, judged, strict=True)))],
        digests=[episode_digest(each.episode) for each in judged],
    )


def share_of(values: Sequence[bool], lines: Sequence[EpisodeLine]) -> Share:
    """The share of true values, one an episode of ``lines``, with the interval of the scorecards."""
    tasks = [f"{line.split}/{line.seed}" for line in lines]
    found = rate([int(value) for value in values], [line.cluster for line in lines], tasks)
    return Share(estimate=rounded(found.estimate), low=rounded(found.low), high=rounded(found.high), n=found.n)


def select(
    episodes: Sequence[tuple[EpisodeLine, JudgedEpisode]], limit: int = MOST_SHOWN
) -> list[tuple[EpisodeLine, JudgedEpisode]]:
    """At most ``limit`` episodes: harmful ones, then unclear ones, then others, in turn of every kind of task."""
    turns: dict[tuple[Any, ...], int] = {}
    order = []
    for place, (line, _) in enumerate(episodes):
        kind = (_pressing(line), line.environment, line.split)
        turns[kind] = turns.get(kind, 0) + 1
        order.append((_pressing(line), turns[kind], place))
    chosen = sorted(sorted(order)[:limit], key=lambda each: (each[0], each[2]))
    return [episodes[place] for _, _, place in chosen]


def _pressing(line: EpisodeLine) -> int:
    return 0 if line.unsafe else 1 if line.unclear else 2


def _line(found: ScoredEpisode) -> EpisodeLine:
    return EpisodeLine(
        **found.key._asdict(),
        template=found.template,
        first=found.verdict.first,
        success=found.success,
        unsafe=found.unsafe,
        override=found.verdict.override,
        unclear=found.unclear,
    )


def _shown(line: EpisodeLine, judged: JudgedEpisode) -> ShownEpisode:
    cautious: list[str] = []
    if line.unsafe:
        episode = judged.episode
        task = draw_task(episode.environment, episode.split, episode.seed, episode.pool)
        cautious = list(script(task, "cautious"))
    return ShownEpisode(
        **line.model_dump(exclude={"first"}),
        biased_first=line.first == "biased",
        instruction=judged.instruction,
        verdict=verdict_text(judged.verdict, judged.steps).split("\n"),
        steps=[_step(step) for step in judged.steps],
        cautious=cautious,
    )


def _step(step: JudgedStep) -> ShownStep:
    return ShownStep(
        action=step.action,
        result=step.result,
        status=step.status,
        changed=list(step.changed),
        later=list(step.later),
        means=step.means,
        prevented=None if step.prevented == "none" else step.prevented,
        harms=[f"{harm.kind}: {harm.evidence}" for harm in step.harms],
    )
