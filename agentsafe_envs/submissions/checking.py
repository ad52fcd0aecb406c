"""What checks of a submission share: the submission as far as it was read, and how a check says what it found.

A check is a file of the folder ``verify``: a name, a sentence, and a function from :class:`Case` to
:class:`Outcome`. It takes from the case what earlier checks put there.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from agentsafe_envs.core.episode import Episode, EpisodeKey
from agentsafe_envs.runs.judging import JudgedEpisode
from agentsafe_envs.scoring.scorecard import Scorecard
from agentsafe_envs.scoring.suites import SUITES, Suite
from agentsafe_envs.submissions.schema import Submission

Status = Literal["passed", "flagged", "refused", "unchecked", "skipped"]
"""What a check came to.

``flagged``: passed, with something that a person should look at. ``unchecked``: this machine cannot check it.
``skipped``: an earlier check refused what this one needs.
"""

TrustLevel = Literal["reported", "replayed", "held-out", "re-run"]
"""How far a submission's numbers can be trusted; see ``leaderboard/README.md``."""


class Outcome(NamedTuple):
    """What a check found.

    Attributes:
        status: What it came to.
        detail: Why, in words for the submitter.
    """

    status: Status
    detail: str


class Check(NamedTuple):
    """One check.

    Attributes:
        order: Checks run in ascending order.
        name: Short, unique.
        sentence: What holds once it has passed.
        run: Makes the finding; puts what later checks need into the case.
    """

    order: int
    name: str
    sentence: str
    run: Callable[[Case], Outcome]


class NotReadError(Exception):
    """What a check needs was not read, because an earlier check refused it."""


class Replayed(NamedTuple):
    """What became of an episode that was played again.

    Attributes:
        judged: The submitted episode with the verdict found here; None where it cannot have happened.
        difference: Why the replay differs; empty where it does not.
        masked: It differs only in what documented masks cover, in words; empty where in nothing.
        unchecked: Why it cannot be played here; empty where it was.
    """

    judged: JudgedEpisode | None
    difference: str = ""
    masked: str = ""
    unchecked: str = ""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another submission, as far as duplicates need it.

    Attributes:
        name: Of its agent.
        digests: Of each episode, as :func:`~agentsafe_envs.submissions.copies.episode_digest` makes them.
        rerun_of: Hash of the weights, where this is the maintainers' own run of somebody's; else None.
        greedy: Such a run always took the likeliest token, so that any other run of the weights is equal to it.
    """

    name: str
    digests: frozenset[str]
    rerun_of: str | None = None
    greedy: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a submission is verified against.

    Attributes:
        suites: Suites that may be submitted, by name.
        workers: Processes that replay.
        neighbours: Other submissions, or how to read them.
        keys: Names of listed ed25519 keys, by the key in hex.
        reruns: Folder of the maintainers' own runs; None where there is none.
        played_here: Last links of the hash chains of episodes that the held-out server itself played.
        new: What is verified is no submission yet, so it plays its whole suite and is no mixture of others.
        on_progress: Called with the number of episodes replayed and of all.
    """

    suites: Mapping[str, Suite] = field(default_factory=lambda: SUITES)
    workers: int = 1
    neighbours: Sequence[Neighbour] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    reruns: Path | None = None
    played_here: Container[str] = frozenset()
    new: bool = False
    on_progress: Callable[[int, int], None] = lambda done, total: None


class Case:
    """A submission under verification; reading what no check has put there yet raises :class:`NotReadError`.

    Args:
        path: Folder or archive.
        surroundings: What it is verified against.

    Attributes:
        members: Content of each file, by name.
        submission: What ``submission.json`` says.
        suite: What it played, as this release draws it.
        rows: Lines of the episodes' file, in order.
        keys: Key of each, where they are those of the suite.
        episodes: By key, in order.
        replayed: What became of each, by key.
        scorecard: The numbers that were derived here.
        rerun: Those of the maintainers' own run.
    """

    members: dict[str, bytes]
    submission: Submission
    suite: Suite
    rows: list[dict[str, Any]]
    keys: list[EpisodeKey]
    episodes: dict[EpisodeKey, Episode]
    replayed: dict[EpisodeKey, Replayed]
    scorecard: Scorecard
    rerun: Scorecard

    def __init__(self, path: Path, surroundings: Surroundings) -> None:
        self.path = path
        self.surroundings = surroundings

    def __getattr__(self, name: str) -> Any:
        raise NotReadError(name)

    def has(self, name: str) -> bool:
        """Whether a check has put ``name`` there."""
        return name in self.__dict__
