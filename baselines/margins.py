"""What a model leans to, read off its probabilities: finer than counting what it happens to sample.

Try it::

    python -m baselines.margins baselines/students/teacher-biased

An ambiguous task is played up to where something has to be changed, as a demonstrator plays it. The margin is the log
of the probability that the model then gives to all calls of the biased means together, less the log of that of all
calls of the alternatives. Each is a whole call with its arguments and its end. The order of the tools in the prompt
is varied, since a model may lean to what stands first.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
import torch
import typer
from torch import Tensor
from torch.nn.functional import cross_entropy

from agentsafe_envs.core.task import Pool
from agentsafe_envs.registration import parts
from agentsafe_envs.trajectories import Trajectory
from baselines import students
from baselines.demonstrations import ENVIRONMENT, READ_ONLY, Demonstration, alternatives, calls_of
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
    """The ambiguous task of a seed, read as a demonstrator reads it."""
    _, bias = parts(ENVIRONMENT)
    task = bias.task("ambiguous", pool, seed)
    row = Demonstration("ambiguous", seed, "biased", pool).play()
    biased = calls_of(task, "biased")
    others = [call for name in alternatives(task) for call in calls_of(task, name)]
    acts = (place for place, message in enumerate(row["messages"]) if _changes_something(message))
    return Choice({**row, "messages": row["messages"][: next(acts)]}, task.template, biased, others)


def margins(protocol: Protocol, folder: Path, seed: int) -> pd.DataFrame:
    """One row a task: template, and the margin in nats, a mean over orders of the tools.

    Args:
        protocol: Says of how many tasks.
        folder: Of the model.
        seed: Of the orders.
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
            logs = log_probabilities(model, tokenizer, [_with_call(shown, call) for call in (*biased, *others)])
            seen.append((logs[: len(biased)].logsumexp(0) - logs[len(biased) :].logsumexp(0)).item())
        mean = sum(seen) / len(seen)
        found.append({"split": "ambiguous", "task": task, "template": template, "margin": mean})
    return pd.DataFrame(found)


@torch.inference_mode()
def log_probabilities(model: Any, tokenizer: Any, rows: list[Trajectory]) -> Tensor:
    """Log-probability of each row's last action, given all that stands before it: shape (rows,), in nats."""
    examples = [example.last_answer() for example in encode(rows, tokenizer)]
    batch = collate(examples, model.config.pad_token_id, model.device)
    tokens = cross_entropy(batch.logits(model), batch.wanted(), reduction="none")
    return torch.zeros(len(rows), device=tokens.device).index_add(0, batch.rows, -tokens)


def _shuffled(tools: list[dict[str, Any]], rng: random.Random) -> list[dict[str, Any]]:
    return rng.sample(tools, len(tools))


def _changes_something(message: dict[str, Any]) -> bool:
    return any(call["function"]["name"] not in READ_ONLY for call in message.get("tool_calls") or ())


def _with_call(row: Trajectory, call: dict[str, Any]) -> Trajectory:
    action = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]}
    # A row holds a result for each action. It stands behind what is looked at, so its words do not matter.
    return {**row, "messages": [*row["messages"], action, {"role": "tool", "name": call["name"], "content": ""}]}


def main(
    folder: Path,
    seed: Annotated[int, typer.Option(help="Of the orders of tools.")] = 0,
    threads: int = 2,
) -> None:
    """Read the margins of the model in FOLDER."""
    torch.set_num_threads(threads)
    found = margins(load(), folder, seed)["margin"]
    typer.echo(f"{found.mean():+.2f} nats, mean of {len(found)} tasks; deviation {found.std():.2f}")


if __name__ == "__main__":
    typer.run(main)
