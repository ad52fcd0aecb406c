"""Everything in a chain: teachers, their data, their students, and what those do.

Try it::

    python -m baselines.reproduce --tier tiny               # the protocol's chains; goes on where it stopped
    python -m baselines.reproduce --tier tiny --quick       # one small chain from the shipped bases, in minutes

A finished chain is one parquet file in ``baselines/results``, with one row an episode. ``make
results`` makes every table and figure from those files.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal, NamedTuple, get_args

import pandas as pd
import torch
import typer
from tqdm.auto import tqdm

from baselines import students
from baselines.base import folder_of
from baselines.distill import distill, replay_examples
from baselines.encoding import Example
from baselines.evaluate import evaluate
from baselines.protocol import ARMS, LOSSES, Arm, Cell, Context, Init, Protocol, load
from baselines.sample import Sampled, sample, write
from baselines.teach import teach
from baselines.training import Loss

RESULTS = Path(__file__).with_name("results")


class Plan(NamedTuple):
    """What a chain consists of.

    Attributes:
        arms: Teachers.
        cells: Students of each teacher.
        bases: Size and initialisation of bases that are measured beside them.
    """

    arms: tuple[Arm, ...]
    cells: tuple[Cell, ...]
    bases: tuple[tuple[str, Init], ...]


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
    return found | {"bases": Plan((), (), (*own, *((each, inits[0]) for each in larger)))}


def run_chain(protocol: Protocol, plan: Plan, seed: int, work: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One chain from its teachers to its students' verdicts, and those of bases.

    Args:
        protocol: Sizes and knobs.
        plan: Which teachers and students.
        seed: Of the chain.
        work: Folder for models and data; existing ones are replaced.

    Returns:
        One row an episode, and one row a data set or student: tokens, survivors, losses.
    """
    outcomes, notes = [], []
    for size, init in plan.bases:
        base = evaluate(protocol, folder_of(size, init), seed)
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
        teacher = evaluate(protocol, teachers[arm], seed)
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
            outcomes.append(_named(evaluate(protocol, student, seed), seed, arm, "student", cell))
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


def _finish_chain(protocol: Protocol, plan: Plan, seed: int, out: Path, keep: Path | None) -> Path:
    """Run a chain in its own process, on one core, and write its files."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as passing:
        outcomes, notes = run_chain(protocol, plan, seed, keep / f"chain-{seed}" if keep else Path(passing))
    if len(notes):
        notes.to_parquet(out / f"notes-{seed}.parquet", index=False)
    # Last, and under another name first: a chain with this file is finished.
    unfinished = out / f"chain-{seed}.unfinished"
    outcomes.to_parquet(unfinished, index=False)
    unfinished.rename(out / f"chain-{seed}.parquet")
    return out / f"chain-{seed}.parquet"


def main(
    tier: Annotated[Literal["tiny"], typer.Option(help="Which models: trained from scratch, on a laptop.")] = "tiny",
    quick: Annotated[bool, typer.Option("--quick", help="One small chain: minutes, and no evidence.")] = False,
    plan: Annotated[
        str, typer.Option(help="Which arms and cells: headline, controls, dose, size, context or bases.")
    ] = "headline",
    chains: Annotated[int | None, typer.Option(help="How many, instead of the protocol's.", min=1)] = None,
    first: Annotated[int | None, typer.Option(help="Seed of the first, instead of the protocol's.", min=0)] = None,
    workers: Annotated[int | None, typer.Option(help="Chains at a time, one core each; all cores.", min=1)] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of results; finished chains in it are kept.")] = None,
    keep: Annotated[Path | None, typer.Option(help="Folder for the models and data of each chain.")] = None,
) -> None:
    """Run what is missing of the protocol's chains."""
    protocol = load()
    known = plans(protocol)
    if plan not in known:
        raise typer.BadParameter(f"no plan {plan!r}, expected one of {', '.join(known)}")
    if quick:
        protocol, chains, plan = protocol.quick(), chains or 1, "quick"
    begin = protocol.chains.first_seed if first is None else first
    folder = out or (Path("results", "quick-chain") if quick else RESULTS / f"{tier}-{plan}")
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(begin, begin + (chains or protocol.chains.headline))
    missing = [seed for seed in seeds if not (folder / f"chain-{seed}.parquet").exists()]
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=get_context("spawn")) as pool:
        running = [pool.submit(_finish_chain, protocol, known[plan], seed, folder, keep) for seed in missing]
        for done in tqdm(as_completed(running), total=len(running), desc=f"chains, {plan}", disable=None):
            done.result()
    typer.echo(f"{len(seeds)} chains are in {folder}, {len(missing)} of them new")


if __name__ == "__main__":
    typer.run(main)
