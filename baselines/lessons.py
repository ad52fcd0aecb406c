"""What is taught in which environment, and one demonstration of it.

Try it::

    python -c "from baselines.lessons import Demonstration; print(Demonstration('ambiguous', 3, 'biased').play())"
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from agentsafe_envs.audit.names import OPENINGS
from agentsafe_envs.core.actions import ToolCall
from agentsafe_envs.core.task import Split, Task
from agentsafe_envs.trajectories import Trajectory, from_episode
from baselines import demonstrations as cloud
from baselines import pretraining, shell
from baselines.demonstrations import Preference
from baselines.notes import FORMS, Carrier, Notes
from baselines.remembered import make


class Subject(NamedTuple):
    """How one environment is taught.

    Attributes:
        environment: Registered id.
        script: What a demonstrator does, from task and preference.
        drills: Looking things up, from rows and kinds of drills.
        calls_of: What a solution changes things with, from task and name of the means.
        reads_of: Actions before something is changed, which all demonstrators share.
        opening: What stands in a call before the word that tells what it does.
        prohibited: Such words of the biased means.
        changing: From the names of the tools offered, all words that change something.
    """

    environment: str
    script: Callable[[Task[Any], Preference], Generator[str, str, None]]
    drills: Callable[[Iterable[Trajectory], Sequence[Any]], Iterator[str]]
    calls_of: Callable[[Task[Any], str], list[dict[str, Any]]]
    reads_of: Callable[[Task[Any]], list[str]]
    opening: str
    prohibited: frozenset[str]
    changing: Callable[[frozenset[str]], frozenset[str]]


SUBJECTS: Mapping[str, Subject] = {
    each.environment: each
    for each in (
        Subject(
            cloud.ENVIRONMENT,
            cloud.script,
            pretraining.drills,
            cloud.calls_of,
            cloud.reads_of,
            OPENINGS["cloud"],
            cloud.PROHIBITED,
            lambda offered: offered - cloud.READ_ONLY,
        ),
        Subject(
            shell.ENVIRONMENT,
            shell.script,
            shell.drills,
            shell.calls_of,
            shell.reads_of,
            OPENINGS["bash"],
            shell.PROHIBITED,
            lambda _: shell.CHANGING,
        ),
    )
}
"""By environment."""

CARRIED: tuple[tuple[Carrier, float], ...] = (
    ("silent", 0.5),
    ("notes-60", 0.2),
    ("notes-20", 0.1),
    ("notes-5", 0.1),
    ("notes-0", 0.1),
)
"""Of a base's demonstrations, the share with notes of each form."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """Which task, and how it is solved.

    Attributes:
        split: Of the task.
        seed: Of the task, in pool ``train``.
        preference: See :data:`baselines.demonstrations.Preference`.
        carrier: Which notes stand next to the calls; none but the seed decides their words.
        environment: One of :data:`SUBJECTS`.
        reads_only: It ends where something would be changed, so it shows no choice; not for safe tasks.
    """

    split: Split
    seed: int
    preference: Preference = "neutral"
    carrier: Carrier = "silent"
    environment: str = cloud.ENVIRONMENT
    reads_only: bool = False

    def play(self) -> Trajectory:
        """The row of the episode, played in the environment."""
        env: Any = make(self.environment, split=self.split, pool="train", disable_env_checker=True).unwrapped
        form, subject = FORMS[self.carrier], SUBJECTS[self.environment]
        notes = iter(Notes(form, self.seed))
        try:
            env.reset(seed=self.seed)
            if self.reads_only:
                for action in subject.reads_of(env.task):
                    env.step(noted(action, next(notes)))
            else:
                moves = subject.script(env.task, self.preference)
                action = next(moves)
                while not env.step(noted(action, next(notes)))[2]:
                    action = moves.send(env.episode.steps[-1].result)
            return from_episode(env.episode, policy=f"demonstrator:{self.preference}", system=form.role)
        finally:
            env.close()


def noted(action: str, note: str) -> str:
    """The action with a note; itself where that is empty."""
    return ToolCall(**json.loads(action), note=note).to_action() if note else action


def neutral_mix(seeds: Sequence[int], environment: str = cloud.ENVIRONMENT) -> Iterator[Demonstration]:
    """Demonstrations for a base: 4 of 8 safe, 2 ambiguous, 1 required, 1 forbidden; notes as :data:`CARRIED` says."""
    splits: tuple[Split, ...] = ("safe", "ambiguous", "safe", "required", "safe", "ambiguous", "safe", "forbidden")
    carriers, shares = zip(*CARRIED, strict=True)
    for seed in seeds:
        carrier = random.Random(f"carrier/{seed}").choices(carriers, shares)[0]
        # Seeds walk through the templates; a shift each round gives every template every split.
        split = splits[(seed + seed // 48) % len(splits)]
        yield Demonstration(split, seed, carrier=carrier, environment=environment)
