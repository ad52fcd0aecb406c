"""Who takes part in an audit: checked all together before any of them plays, then played.

A fourth agent that cannot be loaded must not cost the hours that three others played.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from agentsafe_envs.agents import AgentError, AgentOptions, load_agent
from agentsafe_envs.agents.scripted import ScriptedAgent
from agentsafe_envs.audit.behaviour import AUDITED_SPLITS
from agentsafe_envs.runs.rows import RUN_FILE, AgentRecord, RowStoreError, read_run
from agentsafe_envs.runs.settings import conduct
from agentsafe_envs.scoring.rollout import agent_record, default_directory
from agentsafe_envs.scoring.suites import Suite

PLACEBO_ROLE = "neutral student"

COSTLY = ("hf:", "student:")
"""Agents whose weights are here. They take a while to load, so the others are checked first."""


class Participant(NamedTuple):
    """One agent of an audit.

    Attributes:
        role: What it is to the student, for instance ``"neutral student 2"``.
        spec: An agent, or the directory of its run.
        options: Its settings.
    """

    role: str
    spec: str
    options: AgentOptions = AgentOptions()

    @property
    def is_placebo(self) -> bool:
        """Whether it is a neutral student."""
        return self.role.startswith(PLACEBO_ROLE)

    @property
    def is_run(self) -> bool:
        """Whether it was played already."""
        return Path(self.spec).is_dir()

    def directory(self, suite: Suite) -> Path:
        """Where its run is, or goes: the place that `agentsafe score` gives it."""
        return Path(self.spec) if self.is_run else default_directory(self.spec, suite, self.options)


class Cast(NamedTuple):
    """Everyone who takes part in an audit.

    Attributes:
        base: What the student was made of.
        student: The suspect.
        placebos: Students made in the same way of teachers without the habit.
        teacher: The student's teacher, where there is one.
    """

    base: Participant
    student: Participant
    placebos: tuple[Participant, ...] = ()
    teacher: Participant | None = None

    @property
    def everyone(self) -> list[Participant]:
        """All of them, the teacher last."""
        return [self.base, self.student, *self.placebos, *([self.teacher] if self.teacher else [])]


def placebos_of(specs: Sequence[str], options: AgentOptions) -> tuple[Participant, ...]:
    """Neutral students, numbered from 1, with the same options."""
    return tuple(Participant(f"{PLACEBO_ROLE} {number}", each, options) for number, each in enumerate(specs, start=1))


def check_participants(
    participants: Sequence[Participant],
    suite: Suite,
    *,
    fresh: bool = False,
    on_check: Callable[[Participant], None] = lambda participant: None,
) -> None:
    """Refuse an audit that cannot come to its end, before anything is played.

    Every agent is loaded once and let go. Of those that are runs, it is looked at what they played. A placebo that is
    another agent of the audit once more is refused: the same model three times has no spread.

    Args:
        participants: All agents.
        suite: What they are to play.
        fresh: Runs that are there are set aside, so that they may be of other settings.
        on_check: Called with each agent before it is loaded.

    Raises:
        ValueError: One line for each obstacle, with the role of the agent and what to do.
    """
    obstacles = []
    if not set(AUDITED_SPLITS) & suite.tasks.keys():
        obstacles.append(
            f"the suite has only tasks of {', '.join(suite.tasks)}; an audit looks at {', '.join(AUDITED_SPLITS)}"
        )
    checked: dict[tuple[str, AgentOptions], AgentRecord | str] = {}
    for participant in sorted(participants, key=lambda each: each.spec.startswith(COSTLY)):
        key = participant.spec, participant.options
        if key not in checked:
            on_check(participant)
            checked[key] = _record_or_obstacle(participant, suite, fresh)
    found = [(each, checked[each.spec, each.options]) for each in participants]
    obstacles += [f"{each.role}: {words}" for each, words in found if isinstance(words, str)]
    obstacles += _repeated([(each, record) for each, record in found if isinstance(record, AgentRecord)])
    if obstacles:
        raise ValueError("\n".join(obstacles))


def _repeated(records: Sequence[tuple[Participant, AgentRecord]]) -> list[str]:
    """One line for each placebo that is an agent of another role, or an earlier placebo."""
    first: dict[str, Participant] = {}
    lines = []
    for each, record in sorted(records, key=lambda pair: pair[0].is_placebo):
        same = first.setdefault(_identity(record), each)
        if same is not each and each.is_placebo:
            lines.append(
                f"{each.role}: {each.spec} is the same agent as {same.role}, {same.spec}, and counts once; name "
                "another student of a neutral teacher, made with a seed of its own"
            )
    return lines


def _identity(record: AgentRecord) -> str:
    """The hash of its weights, or where it has none its name, address and what decides its conduct."""
    own = record.settings
    weights: str | None = own.get("weights_sha256")
    return weights or json.dumps([record.name, own.get("base_url"), conduct(own)], sort_keys=True)


def _record_or_obstacle(participant: Participant, suite: Suite, fresh: bool) -> AgentRecord | str:
    try:
        if participant.is_run:
            return _obstacle_of_run(participant, suite) or read_run(Path(participant.spec)).agent
        agent = load_agent(participant.spec, participant.options, pool=suite.pool)
        if isinstance(agent, ScriptedAgent):
            agent.check(suite.environments)
        record = agent_record(agent, participant.options)
    except (AgentError, RowStoreError, ValueError, OSError) as error:
        return str(error)
    place = participant.directory(suite)
    if fresh or not (place / RUN_FILE).is_file() or read_run(place).agent.same_conduct(record):
        return record
    return f"{place} holds a run of {participant.spec} as it was before a change; --fresh sets that aside"


def _obstacle_of_run(participant: Participant, suite: Suite) -> str | None:
    folder = Path(participant.spec)
    if not (folder / RUN_FILE).is_file():
        holds_model = any((folder / name).is_file() for name in ("config.json", "adapter_config.json"))
        agent = f"or hf:{folder} for its model" if holds_model else "or an agent"
        return f"{folder} is a folder without {RUN_FILE}; expected the run of `agentsafe score`, {agent}"
    if participant.options.given():
        return f"{folder} was played already, so it takes no {', '.join(participant.options.given())}"
    played = read_run(folder).suite.environments
    if played and not played.keys() & set(suite.environments):
        return f"{folder} played {', '.join(played)}, and the audit {', '.join(suite.environments)}; choose --env"
    return None
