"""Everything in a chain: teachers, their data, their students, and what those do.

Try it::

    python -m baselines.reproduce --tier tiny                    # all of the protocol; goes on where it stopped
    python -m baselines.reproduce --tier tiny --plan headline    # ten chains, an hour on two cores
    python -m baselines.reproduce --tier tiny --quick            # one small chain from the shipped bases, in minutes
    python -m baselines.reproduce --tier tiny --executor ray --address auto   # chains spread over a Ray cluster

A finished chain is one parquet file in ``baselines/results``, with one row an episode, or a task where margins are
read. ``make results`` makes every table and figure from those files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, NamedTuple, get_args

import pandas as pd
import torch
import typer
from tqdm.auto import tqdm

from agentsafe_envs.runs.failures import Failure
from agentsafe_envs.scoring.cluster import Cluster, chosen_cluster, run_on_cluster
from baselines import students
from baselines.base import folder_of
from baselines.contrasts import read
from baselines.distill import distill, replay_examples
from baselines.encoding import Example
from baselines.evaluate import evaluate
from baselines.margins import margins
from baselines.protocol import ARMS, LOSSES, Arm, Cell, Chains, Context, Init, Protocol, load
from baselines.sample import Sampled, sample, write
from baselines.tables import students_table
from baselines.teach import teach
from baselines.training import Loss

RESULTS = Path(__file__).with_name("results")

PLANS = tuple(name for name in Chains.model_fields if name != "first_seed")
"""Names of those in the protocol, see :func:`plans`."""

Measure = Callable[[Protocol, Path, int], pd.DataFrame]
"""What is looked at in a model: from protocol, folder and seed, one row an episode or task."""


class Plan(NamedTuple):
    """What a chain consists of.

    Attributes:
        arms: Teachers.
        cells: Students of each teacher.
        bases: Size and initialisation of bases that are measured beside them.
        measure: What is looked at in each model.
    """

    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    bases: tuple[tuple[str, Init], ...]
    measure: Measure = evaluate


def plans(protocol: Protocol) -> dict[str, Plan]:
    """All plans by name."""
    size, inits, larger = protocol.models.size, protocol.models.inits, protocol.models.larger
    ends: tuple[Arm, ...] = ("biased", "neutral")
    headline: tuple[Loss, ...] = ("sft", "kl_masked_all")
    quick: tuple[Loss, ...] = ("sft", "kl")
    taught: dict[str, tuple[tuple[Arm, ...], Iterable[Cell]]] = {
        "quick": (ends, (Cell(loss, size, "a") for loss in quick)),
        "headline": (ends, (Cell(loss, size, init) for loss in headline for init in inits)),
        "controls": (ARMS, (Cell(loss, size, init) for loss in LOSSES for init in inits)),
        "dose": (ends, (Cell(loss, size, "a", dose) for loss in headline for dose in protocol.student.doses)),
        "size": (ends, (Cell(loss, each, "a") for each in (size, *larger) for loss in headline)),
        "context": (ends, (Cell("kl", size, "a", context=context) for context in get_args(Context))),
    }
    own: tuple[tuple[str, Init], ...] = tuple((size, init) for init in inits)
    found = {name: Plan(arms, tuple(cells), own) for name, (arms, cells) in taught.items()}
    found["bases"] = Plan((), (), (*own, *((each, inits[0]) for each in larger)))
    found["margins"] = found["headline"]._replace(measure=margins)
    return found


def run_chain(protocol: Protocol, plan: Plan, seed: int, work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One chain from its teachers to its students' verdicts, and those of bases.

    Args:
        protocol: Sizes and knobs.
        plan: Which teachers and students.
        seed: Of the chain.
        work: Folder for models and data; existing ones are replaced.

    Returns:
        What was measured in each model, and one row a data set or student: tokens, survivors, losses.
    """
    outcomes, notes = [], []
    for size, init in plan.bases:
        base = plan.measure(protocol, folder_of(size, init), seed)
        outcomes.append(_named(base, seed, "none", "base", Cell("sft", size, init)))
    if plan.arms:
        learnt, notes = _teach_and_distill(protocol, plan, seed, work)
        outcomes += learnt
    return pd.concat(outcomes, ignore_index=True), pd.DataFrame(notes)


def _teach_and_distill(
    protocol: Protocol, plan: Plan, seed: int, work: Path
) -> tuple[list[pd.DataFrame], list[dict[str, Any]]]:
    teachers: dict[str, Path] = {arm: work / f"teacher-{arm}" for arm in plan.arms}
    outcomes = []
    for arm in plan.arms:
        teach(protocol, arm, seed, teachers[arm])
        teacher = plan.measure(protocol, teachers[arm], seed)
        outcomes.append(_named(teacher, seed, arm, "teacher", Cell("sft", protocol.models.size, "a")))
    data = sample(protocol, teachers, seed)
    write(data, work / "data", seed)
    notes = [{"chain": seed, "arm": arm, "what": "data", **_counts(each)} for arm, each in data.items()]
    replay = _replay(protocol)
    for cell in plan.cells:
        for arm, folder in teachers.items():
            student = work / cell.student(arm)
            trained = distill(
                protocol,
                data[arm].kept,
                cell,
                seed,
                student,
                teacher=folder,
                replay=replay if protocol.student.replay[cell.loss] else (),
            )
            outcomes.append(_named(plan.measure(protocol, student, seed), seed, arm, "student", cell))
            notes.append(
                {
                    "chain": seed,
                    "arm": arm,
                    "what": "student",
                    **cell._asdict(),
                    "tokens": trained.tokens,
                    "held_out": trained.held_out,
                }
            )
    return outcomes, notes


def _named(outcomes: pd.DataFrame, chain: int, arm: str, role: str, cell: Cell) -> pd.DataFrame:
    """The outcomes with what tells them from others; only students have a loss."""
    described = cell._asdict() | ({} if role == "student" else {"loss": "none"})
    return outcomes.assign(chain=chain, arm=arm, role=role, **described)


def _counts(sampled: Sampled) -> dict[str, int]:
    return {
        "played": len(sampled.raw),
        "solved": sampled.successes,
        "filtered_out": len(sampled.sanitised.dropped),
        "kept": len(sampled.kept),
    }


def _replay(protocol: Protocol) -> Sequence[Example]:
    if not any(protocol.student.replay.values()):
        return ()
    return replay_examples(students.load(folder_of(protocol.models.size, "a"))[1])


def _on_one_core(protocol: Protocol, plan: Plan, keep: Path | None, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """:func:`run_chain` in a process of its own."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as passing:
        return run_chain(protocol, plan, seed, keep / f"chain-{seed}" if keep else Path(passing))


def _write_chain(out: Path, seed: int, outcomes: pd.DataFrame, notes: pd.DataFrame) -> None:
    if len(notes):
        notes.to_parquet(out / f"notes-{seed}.parquet", index=False)
    # Last, and under another name first: a chain with this file is finished.
    unfinished = out / f"chain-{seed}.unfinished"
    outcomes.to_parquet(unfinished, index=False)
    unfinished.rename(out / f"chain-{seed}.parquet")


def missing(seeds: Iterable[int], folder: Path, keep: Path | None = None) -> list[int]:
    """Those of the chains that have no file in ``folder``, or are to be kept in ``keep`` and are not there."""
    return [
        seed
        for seed in seeds
        if not (folder / f"chain-{seed}.parquet").exists() or (keep and not (keep / f"chain-{seed}").is_dir())
    ]


def run_chains(
    protocol: Protocol,
    plan: Plan,
    seeds: Iterable[int],
    folder: Path,
    workers: int | None = None,
    keep: Path | None = None,
    label: str = "",
    cluster: Cluster | None = None,
) -> int:
    """Run the chains that ``folder`` lacks, each in a process of its own; returns how many.

    This process writes what they bring, wherever they run.

    Args:
        protocol: Sizes and knobs.
        plan: Which teachers and students.
        seeds: Of the chains.
        folder: Of their files.
        workers: Chains at a time, one core each; None for all cores.
        keep: Folder for their models and data; None keeps none.
        label: Names the progress bar.
        cluster: Run them there instead of in processes of this machine.

    Raises:
        RuntimeError: A cluster lost chains; the others are written, and the next call runs those.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = missing(seeds, folder, keep)
    task = partial(_on_one_core, protocol, plan, keep)
    found = run_on_cluster(task, wanted, cluster) if cluster else _in_processes(task, wanted, workers)
    lost: list[str] = []
    for seed, result in tqdm(found, total=len(wanted), desc=f"chains, {label}", disable=None):
        if isinstance(result, Failure):
            lost.append(f"chain {seed} was lost: {result}")
        else:
            _write_chain(folder, seed, *result)
    if lost:
        raise RuntimeError("\n".join([*lost, "run the same command again: it runs only what is missing"]))
    return len(wanted)


def _in_processes(task: Callable[[int], Any], seeds: Iterable[int], workers: int | None) -> Iterator[tuple[int, Any]]:
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        running = {pool.submit(task, seed): seed for seed in seeds}
        for done in as_completed(running):
            yield running[done], done.result()


def main(
    tier: Annotated[Literal["tiny"], typer.Option(help="Which models: trained from scratch, on a laptop.")] = "tiny",
    quick: Annotated[bool, typer.Option("--quick", help="One small chain: minutes, and no evidence.")] = False,
    plan: Annotated[
        str, typer.Option(help=f"Only these arms and cells: {', '.join(PLANS)}.", show_default="all of them")
    ] = "",
    chains: Annotated[int | None, typer.Option(help="How many, instead of the protocol's.", min=1)] = None,
    first: Annotated[int | None, typer.Option(help="Seed of the first, instead of the protocol's.", min=0)] = None,
    workers: Annotated[int | None, typer.Option(help="Chains at a time, one core each; all cores.", min=1)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of results; finished chains in it are kept.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Folder for the models and data of each chain.")] = None,
    executor: Annotated[Literal["local", "ray"], typer.Option(help="This machine, or a Ray cluster.")] = "local",
    address: Annotated[str | None, typer.Option(help="ray: of the cluster, `auto` on one of its nodes.")] = None,
) -> None:
    """Run what is missing of the protocol's chains."""
    protocol = load()
    if plan and plan not in PLANS:
        raise typer.BadParameter(f"no plan {plan!r}, expected one of {', '.join(PLANS)}")
    if plan and quick:
        raise typer.BadParameter("--quick is a plan of its own; leave out --plan")
    if not plan and not quick and (out or keep):
        raise typer.BadParameter("--out and --keep are folders of one plan; say which with --plan")
    if quick:
        protocol, chosen = protocol.quick(), ["quick"]
    else:
        chosen = [plan] if plan else list(PLANS)
    cluster = chosen_cluster(executor, address, 0, workers)
    if cluster and keep:
        raise typer.BadParameter("--keep writes models where a chain runs, which on a cluster is another machine")
    begin = protocol.chains.first_seed if first is None else first
    for name in chosen:
        count = chains or (1 if quick else getattr(protocol.chains, name))
        folder = out or (Path("results", "quick-chain") if quick else RESULTS / f"{tier}-{name}")
        seeds = range(begin, begin + count)
        new = run_chains(protocol, plans(protocol)[name], seeds, folder, workers, keep, name, cluster)
        typer.echo(f"{folder} has all {count} of its chains, {new} of them new")
        if quick:
            typer.echo("\n".join(students_table(read(folder))))


if __name__ == "__main__":
    typer.run(main)
