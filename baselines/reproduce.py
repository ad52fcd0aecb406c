"""Everything that the protocol wants: chains from teacher to verdict, as many as are missing.

Try it::

    python -m baselines.reproduce                          # all of the protocol; goes on where it stopped
    python -m baselines.reproduce --plan cloud-headline    # ten chains
    python -m baselines.reproduce --shard 1/4              # a quarter of them, on one of four machines
    python -m baselines.reproduce --executor ray --address auto    # spread over a Ray cluster
    python -m baselines.reproduce --quick                  # one small chain from the shipped bases, in minutes

A finished chain is one parquet file in ``baselines/results/PLAN``, with one row an episode. ``make results`` makes
every table and figure from those files. Before anything starts it is said how long all of it will take.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal, NamedTuple

import pandas as pd
import torch
import typer
from tqdm.auto import tqdm

from agentsafe_envs.cli.complaints import run
from agentsafe_envs.runs.failures import Failure
from agentsafe_envs.scoring.cluster import Cluster, chosen_cluster, run_on_cluster
from agentsafe_envs.scoring.provenance import find_provenance
from agentsafe_envs.scoring.suites import Shard
from agentsafe_envs.scoring.workers import cores_shared, leave_with_parent
from baselines.chain import run_chain, student_places
from baselines.contrasts import read
from baselines.estimate import duration, elapsed, measure_speed, seconds, sizes_of
from baselines.gathering import RESULTS
from baselines.plans import Plan, plans, seeds
from baselines.protocol import Protocol, load
from baselines.tables import students_table


class Wanted(NamedTuple):
    """A chain to be run.

    Attributes:
        plan: Name of its plan.
        seed: Of the chain.
        out: Folder of its files.
        keep: Folder for models and data of all plans; None keeps none.
    """

    plan: str
    seed: int
    out: Path
    keep: Path | None = None

    def kept(self, plan: Plan) -> Path | None:
        """Folder of its models and data, which it shares with chains of its seed that have the same teachers."""
        return self.keep / (plan.shares or self.plan) / f"chain-{self.seed}" if self.keep else None

    def missing(self, plan: Plan) -> bool:
        """It has no file yet, or its students are to be kept and are not there."""
        kept = self.kept(plan)
        students = [(cell, arm) for cell in plan.cells for arm in plan.followed]
        there = kept is None or all(place.exists() for each in students for place in student_places(kept, *each))
        return not (self.out / f"chain-{self.seed}.parquet").exists() or not there


Measured = tuple[pd.DataFrame, pd.DataFrame]
"""What :func:`baselines.chain.run_chain` returns."""


def on_one_core(protocol: Protocol, known: Mapping[str, Plan], wanted: Wanted) -> Measured:
    """Run a chain, in a process of its own."""
    torch.set_num_threads(1)
    plan = known[wanted.plan]
    with TemporaryDirectory() as passing:
        return run_chain(protocol, plan, wanted.seed, wanted.kept(plan) or Path(passing))


def write_chain(wanted: Wanted, outcomes: pd.DataFrame, told: pd.DataFrame) -> None:
    """Write the files of a chain; ``attrs`` of both frames say which command and which code made them."""
    wanted.out.mkdir(parents=True, exist_ok=True)
    which = "--quick" if wanted.plan == "quick" else f"--plan {wanted.plan}"
    command = f"python -m baselines.reproduce {which} --first {wanted.seed} --chains 1"
    outcomes.attrs = told.attrs = {"command": command, **find_provenance([]).model_dump(mode="json")}
    if len(told):
        _pack(told, wanted.out / f"training-{wanted.seed}.parquet")
    # Last, and under another name first: a chain with this file is finished.
    unfinished = wanted.out / f"chain-{wanted.seed}.unfinished"
    _pack(outcomes, unfinished)
    unfinished.rename(wanted.out / f"chain-{wanted.seed}.parquet")


def _pack(rows: pd.DataFrame, file: Path) -> None:
    """As small as it gets: a hundred chains stand in the repository."""
    rows.to_parquet(file, index=False, compression="zstd", compression_level=15, write_statistics=False)


def run_chains(
    protocol: Protocol, wanted: Iterable[Wanted], workers: int | None = None, cluster: Cluster | None = None
) -> int:
    """Run the chains that are missing, each in a process of its own; returns how many.

    This process writes what they bring, wherever they run.

    Args:
        protocol: Sizes and knobs.
        wanted: Chains of any plans.
        workers: Chains at a time, one core each; None for all cores.
        cluster: Run them there instead of in processes of this machine.

    Raises:
        RuntimeError: Chains failed or were lost; the others are written, and the next call runs those.
    """
    known = plans(protocol)
    missing = [each for each in wanted if each.missing(known[each.plan])]
    task = partial(on_one_core, protocol, known)
    found = run_on_cluster(task, missing, cluster) if cluster else _in_processes(task, missing, workers)
    lost: list[str] = []
    for each, result in tqdm(found, total=len(missing), desc="chains", disable=None):
        if isinstance(result, Failure):
            lost.append(f"chain {each.seed} of {each.plan} has no rows: {result}")
        else:
            write_chain(each, *result)
    if lost:
        raise RuntimeError("\n".join([*lost, "run the same command again: it runs only what is missing"]))
    return len(missing)


def _in_processes(
    task: Callable[[Wanted], Measured], wanted: Iterable[Wanted], workers: int | None
) -> Iterator[tuple[Wanted, Measured | Failure]]:
    cores = os.cpu_count() or 1
    pool = ProcessPoolExecutor(workers or cores, mp_context=get_context("spawn"), initializer=leave_with_parent)
    with cores_shared(cores), pool:
        running = {pool.submit(task, each): each for each in wanted}
        for done in as_completed(running):
            error = done.exception()
            yield running[done], Failure.of(error) if error else done.result()


def estimate(protocol: Protocol, missing: Sequence[Wanted], workers: int) -> str:
    """How long the missing chains will take here, in a sentence; times a few updates and episodes first."""
    known = plans(protocol)
    chosen = {each.plan: known[each.plan] for each in missing}
    speed = measure_speed(protocol, sizes_of(chosen.values()), dict.fromkeys(each.world for each in chosen.values()))
    most = elapsed((seconds(protocol, chosen[each.plan], speed) for each in missing), workers)
    return f"{len(missing)} chains to run: about {duration(most)} with {workers} at a time"


def main(
    quick: Annotated[bool, typer.Option("--quick", help="One small chain: minutes, and no evidence.")] = False,
    plan: Annotated[
        str, typer.Option(help="Only this plan, by its name in protocol.toml.", show_default="all of them")
    ] = "",
    chains: Annotated[int | None, typer.Option(help="How many, instead of the protocol's.", min=1)] = None,
    first: Annotated[int | None, typer.Option(help="Seed of the first, instead of the protocol's.", min=0)] = None,
    workers: Annotated[int | None, typer.Option(help="Chains at a time, one core each; all cores.", min=1)] = None,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Only this part of the chains.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder of results, one in it for each plan; finished chains are kept.")
    ] = None,
    keep: Annotated[
        Path | None,
        typer.Option(help="Folder for the models and data of all chains; plans that share teachers make them once."),
    ] = None,
    executor: Annotated[Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster.")] = "local",
    address: Annotated[str | None, typer.Option(help="ray: of the cluster, `auto` on one of its nodes.")] = None,
) -> None:
    """Run what is missing of the protocol's chains."""
    protocol = load()
    if plan and plan not in protocol.chains.number:
        raise typer.BadParameter(f"no plan {plan!r}, expected one of {', '.join(protocol.chains.number)}")
    if plan and quick:
        raise typer.BadParameter("--quick is a plan of its own; leave out --plan")
    names = [plan] if plan else list(protocol.chains.number)
    if quick:
        protocol, names, chains, out = protocol.quick(), ["quick"], chains or 1, out or Path("results")
    wanted = [
        Wanted(name, seed, (out or RESULTS) / name, keep)
        for name in names
        for seed in seeds(protocol, name, first, chains)
    ]
    try:
        mine = Shard.parse(shard).share(wanted) if shard else wanted
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not mine:
        raise typer.BadParameter(
            f"--shard {shard} holds none of {len(wanted)} chains; expected at most {len(wanted)} parts"
        )
    cluster = chosen_cluster(executor, address, 0, workers)
    if cluster and keep:
        raise typer.BadParameter("--keep writes models where a chain runs, which on a cluster is another machine")
    cores = workers or os.cpu_count() or 1
    # Timing takes as long as a sixth of the quick chain, so that one is only run.
    known = plans(protocol)
    if not quick and (missing := [each for each in mine if each.missing(known[each.plan])]):
        typer.echo(estimate(protocol, missing, min(cores, len(missing))))
    new = run_chains(protocol, mine, workers, cluster)
    typer.echo(f"all {len(mine)} chains are there, {new} of them new")
    if quick and out:
        typer.echo("This shows that it runs, and proves nothing: one chain, and a few tasks for each number.")
        typer.echo("\n".join(students_table(read(out / "quick"))))


if __name__ == "__main__":
    run(main)
