"""Whether what an audit of weights or data needs is on this machine, looked at before anything is played."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.audit.coverage import UNRELATED, relative_update
from agentsafe_envs.audit.participants import COSTLY, Cast, Participant
from agentsafe_envs.audit.tokens import LocalModel, open_model, require_answers, showable_rows
from agentsafe_envs.audit.training_data import ROWS
from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.store import load

SHARED = 0.5
"""Share of the smaller of two data sets' rows above which they count as one: shuffled, filtered or drawn again."""


def local_model(participant: Participant) -> LocalModel:
    """The model of a participant, asked as the participant is.

    Raises:
        AgentError: It cannot be loaded.
    """
    opened = open_model(participant.spec, participant.options.device)
    style = participant.options.prompt_style
    return opened._replace(style=style) if style else opened


def check_weights(cast: Cast) -> None:
    """Refuse an audit of weights that cannot come to its end. Every model is opened once and, but for the base, let go.

    Raises:
        ValueError: There is no teacher, or one line for each model that is not here or was not made of the base.
    """
    if cast.teacher is None:
        raise ValueError("--weights compares the student with its teacher; name it with --teacher")
    start, *others = _makes(cast.everyone, "--weights")
    found = []
    for each, own in zip(cast.everyone[1:], others, strict=True):
        if own.vocabulary != start.vocabulary:
            found.append(f"{each.role} {each.spec} has other tokens than the base {cast.base.spec}; {_FAMILY}")
        elif own.shapes != start.shapes:
            found.append(f"{each.role} {each.spec} has weights of other shapes than the base; {_FAMILY}")
        elif not own.update < UNRELATED:  # NaN is no small update
            found.append(
                f"{each.role} {each.spec} was not made of the base {cast.base.spec}: their weights differ by "
                f"{own.update:.2f} times the length of the base's, of a model's own base by less than {UNRELATED}; "
                f"{_FAMILY}. Name its own base with --base"
            )
    if found:
        raise ValueError("\n".join(found))


def read_training_data(cast: Cast, sources: Sequence[Path]) -> list[list[Trajectory]]:
    """The rows of the data sets, after a look at whether base and teacher can read those that are drawn of them.

    Args:
        cast: Everyone.
        sources: The student's data set, then those of neutral students.

    Raises:
        FileNotFoundError: A data set is not there.
        ValueError: There is no teacher, a model is not here, the two have other tokens, two data sets hold mostly
            the same rows, or none can be shown to the teacher; the message names the data set.
    """
    if cast.teacher is None:
        raise ValueError("--data compares the rows with the model that wrote them; name it with --teacher")
    start, taught_by = _makes([cast.base, cast.teacher], "--data")
    if taught_by.vocabulary != start.vocabulary:
        raise ValueError(
            f"--data: teacher {cast.teacher.spec} has other tokens than the base {cast.base.spec}, so their "
            "probabilities cannot be compared token by token; expected models of one family"
        )
    found = [load(each) for each in sources]
    contents = [{json.dumps(row, sort_keys=True, default=str) for row in rows} for rows in found]
    for later, earlier in combinations(reversed(range(len(found))), 2):
        shared, fewer = len(contents[later] & contents[earlier]), min(len(contents[later]), len(contents[earlier]))
        if shared > SHARED * fewer:
            raise ValueError(
                f"--neutral-data {sources[later]} holds {shared:,} of the same rows as {sources[earlier]}, of "
                f"{fewer:,} in the smaller one, and is no placebo of its own; name the rows of another neutral student"
            )
    reader = local_model(cast.teacher)
    for source, rows in zip(sources, found, strict=True):
        try:
            require_answers(showable_rows(rows, reader, ROWS)[0])
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from error
    return found


_FAMILY = "--weights expects a base and models that were all made of it"


class _Make(NamedTuple):
    """What has to be equal for models to be compared.

    Attributes:
        vocabulary: Tokens and their ids.
        shapes: Of the weights, by name.
        update: How far they are from those of the base, see :func:`agentsafe_envs.audit.coverage.relative_update`.
            Infinite where they cannot be subtracted.
    """

    vocabulary: dict[str, int]
    shapes: dict[str, tuple[int, ...]]
    update: float


def _makes(participants: Sequence[Participant], option: str) -> list[_Make]:
    """The make of each, the base first; what is no model of this machine is told before any is loaded."""
    obstacles = [f"{each.role}: {words}" for each in participants if (words := _no_model(each, option))]
    found: list[_Make] = []
    base: LocalModel | None = None
    for each in participants if not obstacles else ():
        try:
            own = local_model(each)
        except AgentError as error:
            obstacles.append(f"{each.role}: {error}")
            continue
        base = base or own
        shapes = {name: tuple(weight.shape) for name, weight in own.model.named_parameters()}
        comparable = not found or shapes == found[0].shapes
        update = relative_update(own, base) if comparable else math.inf
        found.append(_Make(own.tokenizer.get_vocab(), shapes, update))
    if obstacles:
        raise ValueError("\n".join(obstacles))
    return found


def _no_model(participant: Participant, option: str) -> str | None:
    if participant.is_run:
        return (
            f"{participant.spec} is a run, which holds no weights; {option} needs the model itself, and what was "
            "played of it in its usual place is not played again"
        )
    if not participant.spec.startswith(COSTLY):
        return f"{option} reads weights, and those of {participant.spec} are not here; expected student: or hf:"
    if participant.options.chat_template:
        return f"{option} reads a model by its own chat template; save it in the model's folder as chat_template.jinja"
    return None
