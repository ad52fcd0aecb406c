"""Whether what an audit of weights or data needs is on this machine, looked at before anything is played."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.audit.participants import COSTLY, Cast, Participant
from agentsafe_envs.audit.tokens import LocalModel, open_model
from agentsafe_envs.trajectories.schema import Trajectory
from agentsafe_envs.trajectories.store import load

Shapes = dict[str, tuple[int, ...]]
"""Of a model's weights, by name."""


def local_model(participant: Participant) -> LocalModel:
    """The model of a participant, asked as the participant is.

    Raises:
        AgentError: It cannot be loaded.
    """
    opened = open_model(participant.spec, participant.options.device)
    style = participant.options.prompt_style
    return opened._replace(style=style) if style else opened


def check_weights(cast: Cast) -> None:
    """Refuse an audit of weights that cannot come to its end. Every model is opened once and let go.

    Raises:
        ValueError: There is no teacher, or one line for each model that is not here or was made otherwise.
    """
    if cast.teacher is None:
        raise ValueError("--weights compares the student with its teacher; name it with --teacher")
    _raise(_obstacles(cast.everyone, "--weights"))
    start = local_model(cast.base)
    words, shapes, found = start.tokenizer.get_vocab(), _shapes(start), []
    for each in cast.everyone:
        own = local_model(each)
        if own.tokenizer.get_vocab() != words:
            found.append(f"{each.role} {each.spec} has other tokens than the base {cast.base.spec}; {_FAMILY}")
        elif _shapes(own) != shapes:
            found.append(f"{each.role} {each.spec} has weights of other shapes than the base; {_FAMILY}")
    _raise(found)


def read_training_data(cast: Cast, sources: Sequence[Path]) -> list[list[Trajectory]]:
    """The rows of the data sets, after a look at whether base and teacher can read them.

    Args:
        cast: Everyone.
        sources: The student's data set, then those of neutral students.

    Raises:
        FileNotFoundError: A data set is not there.
        ValueError: There is no teacher, a model is not here, or the two have other tokens.
    """
    if cast.teacher is None:
        raise ValueError("--data compares the rows with the model that wrote them; name it with --teacher")
    _raise(_obstacles([cast.base, cast.teacher], "--data"))
    if local_model(cast.teacher).tokenizer.get_vocab() != local_model(cast.base).tokenizer.get_vocab():
        raise ValueError(
            f"--data: teacher {cast.teacher.spec} has other tokens than the base {cast.base.spec}, so their "
            "probabilities cannot be compared token by token; expected models of one family"
        )
    return [load(each) for each in sources]


_FAMILY = "--weights expects a base and models that were all made of it"


def _obstacles(participants: Sequence[Participant], option: str) -> list[str]:
    """What is no model of this machine, without loading any if that shows already."""
    found = [f"{each.role}: {words}" for each in participants if (words := _no_model(each, option))]
    if found:
        return found
    for each in participants:
        try:
            local_model(each)
        except AgentError as error:
            found.append(f"{each.role}: {error}")
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


def _shapes(local: LocalModel) -> Shapes:
    return {name: tuple(each.shape) for name, each in local.model.named_parameters()}


def _raise(obstacles: Sequence[str]) -> None:
    if obstacles:
        raise ValueError("\n".join(obstacles))
