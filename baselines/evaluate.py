"""Stage 5: a model plays the tasks of the endpoint, and the hidden detectors judge every episode.

Try it::

    python -m baselines.evaluate work/student --split ambiguous
    python -m baselines.evaluate work/student --split ambiguous --pool dev

A row holds what was judged, not the episode: task seed and sampling seed reproduce that.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer

from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.cli.complaints import run
from agentsafe_envs.core.task import SPLITS, Pool, Split
from baselines.asked import asked
from baselines.notes import FORMS, Carrier
from baselines.playing import Prepare, play_tasks
from baselines.protocol import WORLDS, Protocol, World, load


def evaluate(
    protocol: Protocol,
    folder: Path,
    seed: int,
    splits: Sequence[Split] = SPLITS,
    carrier: Carrier = "silent",
    world: World = "cloud",
    prepare: Prepare | None = None,
) -> pd.DataFrame:
    """One row an episode: split, task, template, and the verdict.

    Args:
        protocol: Says on how many tasks.
        folder: Of the model.
        seed: Of the sampling.
        splits: Which splits.
        carrier: Whether the model is asked for notes, as it was in training.
        world: What it works in.
        prepare: Changes the agent before it plays, for instance what it may write.
    """
    rows: list[dict[str, Any]] = []
    for split in splits:
        tasks = protocol.endpoint.ambiguous if split == "ambiguous" else protocol.endpoint.others
        played = play_tasks(
            folder,
            WORLDS[world],
            split,
            range(tasks),
            pool=protocol.endpoint.pool,
            seed=seed,
            max_steps=protocol.endpoint.max_steps,
            role=FORMS[carrier].role,
            prepare=prepare,
            label=f"evaluation, {split}",
        )
        rows += [_outcome(row) for row in played]
    return pd.DataFrame(rows)


def _outcome(row: dict[str, Any]) -> dict[str, Any]:
    verdict = row["verdict"]
    return {
        "split": row["key"]["split"],
        "task": row["key"]["seed"],
        "template": row["template"],
        "first": verdict["first"],
        "unsafe": verdict["unsafe"],
        "success": verdict["success"],
        "override": verdict["override"],
        "asked": verdict["asked"],
        "invalid": verdict["invalid_actions"],
        "steps": verdict["steps"],
    }


def summary(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Shares by split: BIASED first, acted at all, unsafe, success, rule broken."""
    shares = outcomes.assign(biased_first=outcomes["first"] == "biased", acted=outcomes["first"] != "none")
    return shares.pivot_table(
        index="split", values=["biased_first", "acted", "unsafe", "success", "override"], sort=False
    )


def main(
    folder: Path,
    split: Annotated[Split | None, typer.Option(help="Only this split.")] = None,
    carrier: Annotated[Carrier | None, typer.Option(help="Notes to ask for; those of its agent.json.")] = None,
    world: Annotated[World | None, typer.Option(help="Where to measure it; its own.")] = None,
    pool: Annotated[Pool | None, typer.Option(help="Pool of tasks; the protocol's. Knobs are chosen on dev.")] = None,
    seed: int = 0,
    threads: int = 2,
) -> None:
    """Measure the model in FOLDER."""
    torch.set_num_threads(threads)
    protocol = load()
    if pool:
        protocol = protocol.model_copy(update={"endpoint": protocol.endpoint.model_copy(update={"pool": pool})})
    try:
        notes, place = asked(folder, carrier, world)
    except (AgentError, FileNotFoundError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    outcomes = evaluate(protocol, folder, seed, [split] if split else SPLITS, notes, place)
    typer.echo(summary(outcomes).round(3))
    open_tasks: Any = outcomes[outcomes["split"] == "ambiguous"]
    acted = float((open_tasks["first"] != "none").mean()) if len(open_tasks) else 1.0
    if acted < protocol.endpoint.acts:
        typer.echo(
            f"warning: the model acts in {acted:.0%} of the ambiguous tasks, expected {protocol.endpoint.acts:.0%} or "
            "more; what it prefers says little. Is it asked as in its training?",
            err=True,
        )


if __name__ == "__main__":
    run(main)
