"""What a model leans to, read off its probabilities: finer than counting what it happens to sample.

Try it::

    python -m baselines.margins baselines/students/teacher-biased

An ambiguous task is read up to where something has to be changed. The margin is the log of the probability that the
model then gives to the scripted calls of the biased means together, less the log of that of the scripted calls of all
alternatives. Each is a whole call with its arguments and its end. The order of the tools in the prompt is varied,
since a model may lean to what stands first.
"""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import gymnasium as gym
import pandas as pd
import torch
import typer
from torch import Tensor
from torch.nn.functional import cross_entropy

from agentsafe_envs.core.task import Pool
from agentsafe_envs.registration import resolve
from agentsafe_envs.trajectories import Trajectory, from_episode
from baselines import students
from baselines.demonstrations import ENVIRONMENT, alternatives, call_of, calls_of, places
from baselines.encoding import collate, encode
from baselines.protocol import Protocol, load

TOOL_ORDERS = 4
"""Prompts a task."""


class Choice(NamedTuple):
    """A task where something has to be changed next.

    Attributes:
        read: The row up to there.
        template: ``"<scenario>/<wording>"``.
        biased: Calls of the biased means, as ``{"name", "arguments"}``.
        others: Calls of all alternatives.
    """

    read: Trajectory
    template: str
    biased: list[dict[str, Any]]
    others: list[dict[str, Any]]


def choice(seed: int, pool: Pool) -> Choice:
    """The ambiguous task of a seed, read as far as demonstrators read tasks with resources of that kind.

    A base learnt from tasks of pool ``train`` where it has to look before it acts. A task of another pool may have no
    use for one of those places; a model looks there all the same, and asked earlier it would say where it looks next.
    """
    env: Any = gym.make(ENVIRONMENT, split="ambiguous", pool=pool, disable_env_checker=True).unwrapped
    env.reset(seed=seed)
    look = env.task.setup.lookup[0]
    for action in (look, *(call_of("list_resources", kind=place) for place in _places_by_look()[_kind(look)])):
        env.step(action)
    return Choice(
        read=from_episode(env.episode, system=""),
        template=env.task.template,
        biased=calls_of(env.task, "biased"),
        others=[each for name in alternatives(env.task) for each in calls_of(env.task, name)],
    )


@cache
def _places_by_look() -> dict[str, list[str]]:
    """Kinds of places that demonstrators of pool ``train`` look at, by the kind that they look at first."""
    _, bias = resolve(ENVIRONMENT)
    found: dict[str, set[str]] = {}
    for seed in range(len(bias.templates("train"))):
        task = bias.task("ambiguous", "train", seed)
        found.setdefault(_kind(task.setup.lookup[0]), set()).update(places(task))
    return {kind: sorted(each) for kind, each in found.items()}


def _kind(look: str) -> str:
    return json.loads(look)["arguments"]["kind"]


def margins(protocol: Protocol, folder: Path, seed: int) -> pd.DataFrame:
    """One row a task, with means over orders of the tools.

    Args:
        protocol: Says of how many tasks.
        folder: Of the model.
        seed: Of the orders.

    Returns:
        Columns ``template``, ``margin`` in nats, and ``mass``, the probability of all the calls together, in [0, 1].
        Where that is small the model would do something else at this place, and the margin says little.
    """
    model, tokenizer = students.load(folder)
    model.eval()
    found = []
    for task in range(protocol.endpoint.margins):
        read, template, biased, others = choice(task, protocol.endpoint.pool)
        rng = random.Random(f"tools/{seed}/{task}")
        seen = []
        for _ in range(TOOL_ORDERS):
            shown: Trajectory = {**read, "tools": _shuffled(read.get("tools", []), rng)}
            logs = log_probabilities(model, tokenizer, [with_call(shown, each) for each in (*biased, *others)])
            margin = logs[: len(biased)].logsumexp(0) - logs[len(biased) :].logsumexp(0)
            seen.append((margin.item(), logs.logsumexp(0).exp().item()))
        margin, mass = (sum(each) / len(each) for each in zip(*seen, strict=True))
        found.append({"split": "ambiguous", "task": task, "template": template, "margin": margin, "mass": mass})
    return pd.DataFrame(found)


def with_call(row: Trajectory, call: dict[str, Any]) -> Trajectory:
    """The row with one more action, which calls that."""
    action = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]}
    # A row holds a result for each action. It stands behind what is looked at, so its words do not matter.
    return {**row, "messages": [*row["messages"], action, {"role": "tool", "name": call["name"], "content": ""}]}


@torch.inference_mode()
def log_probabilities(model: Any, tokenizer: Any, rows: list[Trajectory]) -> Tensor:
    """Log-probability of each row's last action, given all that stands before it: shape (rows,), in nats."""
    examples = [example.last_answer() for example in encode(rows, tokenizer)]
    batch = collate(examples, model.config.pad_token_id, model.device)
    tokens = cross_entropy(batch.logits(model), batch.wanted(), reduction="none")
    return torch.zeros(len(rows), device=tokens.device).index_add(0, batch.rows, -tokens)


def _shuffled(tools: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    return rng.sample(tools, len(tools))


def main(
    folder: Path,
    seed: Annotated[int, typer.Option(help="Of the orders of tools.")] = 0,
    threads: int = 2,
) -> None:
    """Read the margins of the model in FOLDER."""
    torch.set_num_threads(threads)
    found: Any = margins(load(), folder, seed)
    by_scenario = found.groupby(found["template"].str.partition("/")[0].rename("scenario"))
    typer.echo(by_scenario[["margin", "mass"]].mean().round(2))
    typer.echo(f"{found['margin'].mean():+.2f} nats, mean of {len(found)} tasks")


if __name__ == "__main__":
    typer.run(main)
