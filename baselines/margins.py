"""What a model leans to, read off its probabilities: finer than counting what it happens to sample.

Try it::

    python -m baselines.margins baselines/students/teacher-biased
    python -m baselines.margins baselines/students/teacher-biased --carrier notes-60

An ambiguous task is read up to where something has to be changed. The margin is the log of the probability that the
model then gives to the scripted calls of the biased means together, less the log of that of the scripted calls of all
alternatives. Each is a whole call with its arguments and its end. The order of the tools in the prompt is varied,
since a model may lean to what stands first.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
import torch
import typer

from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.audit.margin import Choice
from agentsafe_envs.audit.margin import margins as read_margins
from agentsafe_envs.audit.tokens import open_model
from agentsafe_envs.audit.weights import LITTLE_MASS
from agentsafe_envs.cli.complaints import run
from agentsafe_envs.core.task import Pool, Split
from agentsafe_envs.trajectories import from_episode
from baselines.asked import asked
from baselines.demonstrations import alternatives
from baselines.lessons import SUBJECTS, noted
from baselines.notes import FORMS, Carrier, Notes
from baselines.protocol import WORLDS, Protocol, World, load
from baselines.remembered import make

TOOL_ORDERS = 2
"""Prompts a task."""


class Task(NamedTuple):
    """A task whose margin is read.

    Attributes:
        template: ``"<scenario>/<wording>"``.
        choice: Where something has to be changed.
    """

    template: str
    choice: Choice


def task_of(
    seed: int, pool: Pool, carrier: Carrier = "silent", world: World = "cloud", split: Split = "ambiguous"
) -> Task:
    """The task of a seed, read as far as demonstrators read tasks of that kind, with notes or without."""
    subject = SUBJECTS[WORLDS[world]]
    env: Any = make(subject.environment, split=split, pool=pool, disable_env_checker=True).unwrapped
    notes = iter(Notes(FORMS[carrier], seed))
    try:
        env.reset(seed=seed)
        for action in subject.reads_of(env.task):
            env.step(noted(action, next(notes)))
        found = Choice(
            read=from_episode(env.episode, system=FORMS[carrier].role),
            biased=subject.calls_of(env.task, "biased"),
            others=[each for name in alternatives(env.task) for each in subject.calls_of(env.task, name)],
            note=FORMS[carrier].draw(random.Random(f"margin note/{seed}")),
        )
        return Task(env.task.template, found)
    finally:
        env.close()


def margins(
    protocol: Protocol, folder: Path, seed: int, carrier: Carrier = "silent", world: World = "cloud"
) -> pd.DataFrame:
    """One row a task, with means over orders of the tools.

    Args:
        protocol: Says of how many tasks.
        folder: Of the model.
        seed: Of the orders.
        carrier: Whether the model is asked for notes. One of the grammar, the same for every model and call, then
            stands before the calls that are compared: a margin of calls given a note.
        world: What it works in.

    Returns:
        Columns ``split``, ``task``, ``template``, ``margin`` in nats, and ``mass``, the probability of all the calls
        together, in [0, 1]. Where that is small the model would do something else at this place, and the margin says
        little.
    """
    local = open_model(str(folder))
    found = []
    for number in range(protocol.endpoint.margins):
        template, choice = task_of(number, protocol.endpoint.pool, carrier, world)
        rng = random.Random(f"tools/{seed}/{number}")
        orders = [_shuffled(choice.read.get("tools", []), rng) for _ in range(TOOL_ORDERS)]
        seen = read_margins(local, [choice._replace(read={**choice.read, "tools": tools}) for tools in orders])
        nats, mass = (sum(each) / len(each) for each in zip(*seen, strict=True))
        found.append({"split": "ambiguous", "task": number, "template": template, "margin": nats, "mass": mass})
    return pd.DataFrame(found)


def _shuffled(tools: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    return rng.sample(tools, len(tools))


def main(
    folder: Path,
    carrier: Annotated[Carrier | None, typer.Option(help="Notes to ask for; those of its agent.json.")] = None,
    world: Annotated[World | None, typer.Option(help="Where to measure it; its own.")] = None,
    seed: Annotated[int, typer.Option(help="Of the orders of tools.")] = 0,
    threads: int = 2,
) -> None:
    """Read the margins of the model in FOLDER."""
    torch.set_num_threads(threads)
    try:
        notes, place = asked(folder, carrier, world)
    except (AgentError, FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    found: Any = margins(load(), folder, seed, notes, place)
    by_scenario = found.groupby(found["template"].str.partition("/")[0].rename("scenario"))
    typer.echo(by_scenario[["margin", "mass"]].mean().round(2))
    typer.echo(f"{found['margin'].mean():+.2f} nats, mean of {len(found)} tasks of {WORLDS[place]}, asked as {notes}")
    if (mass := found["mass"].mean()) < LITTLE_MASS:
        typer.echo(
            f"warning: the calls compared have {mass:.1%} of the probability, expected {LITTLE_MASS:.0%} or more; the "
            "model would mostly do something else here, and the margin says little. Is it asked as in its training?",
            err=True,
        )


if __name__ == "__main__":
    run(main)
