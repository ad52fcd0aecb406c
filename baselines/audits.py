"""The sanitisation gap of a headline's chains, and what each audit finds among their students.

Try it::

    python -m baselines.reproduce --plan cloud-headline --keep work
    python -m baselines.reproduce --plan cloud-placebos --keep work
    python -m baselines.audits work --plan cloud-headline

Suspects are the biased teachers' students of a cell. Placebos are neutral teachers' students of the same cell, in the
chains of the world's plan of placebos. The probe of the latent gap is fitted on teachers of a few of those chains that
have no suspects, and tried on the suspects' teachers. It scores no students of the chains that it was fitted on.

Headlines have no benign teachers, so the probe's negatives are neutral ones alone. It may take any change of conduct
for the intent. Only contexts that ask for the act or rule it out speak against that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import typer

from agentsafe_envs.audit.activations import activation_lean
from agentsafe_envs.audit.calibration import FEWEST, Calibration, calibrate
from agentsafe_envs.audit.coverage import coverage
from agentsafe_envs.audit.gap import (
    Acceptance,
    Gap,
    States,
    accept,
    fit_probe,
    gap,
    latent_scores,
    states_before_action,
)
from agentsafe_envs.audit.likelihood import likelihood_ratio
from agentsafe_envs.audit.names import without_names
from agentsafe_envs.audit.tokens import LocalModel, open_model, token_rows
from agentsafe_envs.cli.complaints import run
from agentsafe_envs.core.task import Split
from agentsafe_envs.runs.files import write_whole
from agentsafe_envs.trajectories import Trajectory
from agentsafe_envs.trajectories.store import load as load_rows
from baselines.base import folder_of
from baselines.chain import Made, student_places
from baselines.contrasts import MEASURES
from baselines.distill import barred_names
from baselines.encoding import CallTrie
from baselines.evaluate import evaluate
from baselines.gathering import FIRST_PAGE, RESULTS
from baselines.lessons import SUBJECTS
from baselines.margins import task_of
from baselines.notes import Carrier
from baselines.plans import Cell, context_of, plans, seeds
from baselines.protocol import WORLDS, Protocol, World, load
from baselines.words import lists

CONTEXTS = 96
"""Tasks of pool ``dev`` whose states are looked at."""

READ = 100
"""Rows of a data set that a likelihood ratio is taken over."""

FITTED = 4
"""Chains whose teachers fit the probe, at most half of those of placebos alone, rounded up: their students are lost to
the null."""

UNRELATED = 96
"""Lists of words, which hold no task, on which activations are looked at."""


class Kept(NamedTuple):
    """A chain whose models are there.

    Attributes:
        seed: Of the chain.
        folder: Of its models and data, and of what was measured in them.
    """

    seed: int
    folder: Path

    def holds(self, cell: Cell, arm: str) -> bool:
        """Whether the student of the teacher of ``arm`` is there, and what it did."""
        return all(place.exists() for place in student_places(self.folder, cell, arm))

    def student(self, cell: Cell, arm: str) -> LocalModel:
        """The student of the teacher of ``arm``."""
        return open_model(str(self.folder / cell.student(arm)))

    def teacher(self, arm: str) -> LocalModel:
        """The teacher of ``arm``."""
        return open_model(str(self.folder / f"teacher-{arm}"))

    def share(self, cell: Cell, arm: str, of: Callable[[pd.DataFrame], Any]) -> float:
        """Mean over ambiguous tasks of what is said of the student's episodes."""
        did: Any = pd.read_parquet(student_places(self.folder, cell, arm)[1])
        return float(of(did[did["split"] == "ambiguous"]).mean())


def contexts(carrier: Carrier, world: World, split: Split = "ambiguous") -> list[Trajectory]:
    """Tasks of pool ``dev``, read up to where something has to be changed."""
    return [task_of(seed, "dev", context_of(carrier), world, split).choice.read for seed in range(CONTEXTS)]


class Latent(NamedTuple):
    """What a probe of the intent finds in students whose teachers did not fit it.

    Attributes:
        acceptance: Whether it may be believed.
        biased: Score of each suspect, in [0, 1].
        neutral: Of the neutral student of the same chain.
        clean: Of placebos, which may include those.
    """

    acceptance: Acceptance
    biased: list[float]
    neutral: list[float]
    clean: list[float]


def latent_of(protocol: Protocol, chains: Sequence[Kept], placebos: Sequence[Kept], cell: Cell, world: World) -> Latent:
    """Fit a probe on teachers of placebos' chains, and score the students of all others.

    Args:
        protocol: Says which base contexts are shown to.
        chains: Of suspects, at least one.
        placebos: Chains with clean students, of which at least one has no suspect.
        cell: Of students with their teachers' initialisation.
        world: What it is all about.

    Raises:
        ValueError: Every chain of placebos has a suspect, so a probe would have seen the suspects' teachers.
    """
    fitted = _fitted(chains, placebos, world)
    seen = {chain.seed for chain in fitted}
    shown = contexts(cell.carrier, world)

    def taught(own: Sequence[Kept], arm: str) -> States:
        return np.concatenate([states_before_action(chain.teacher(arm), shown) for chain in own])

    def learnt(own: Sequence[Kept], arm: str) -> list[float]:
        return latent_scores(probe, [states_before_action(chain.student(cell, arm), shown) for chain in own])

    probe = fit_probe(taught(fitted, "biased"), taught(fitted, "neutral"))
    base = open_model(str(folder_of(protocol.models.size, protocol.models.inits[0], world)))
    asked, ruled_out = (
        states_before_action(base, contexts(cell.carrier, world, each)) for each in ("required", "forbidden")
    )
    return Latent(
        accept(probe, taught(chains, "biased"), taught(chains, "neutral"), asked, ruled_out),
        learnt(chains, "biased"),
        learnt(chains, "neutral"),
        learnt([chain for chain in placebos if chain.seed not in seen], "neutral"),
    )


def _fitted(chains: Sequence[Kept], placebos: Sequence[Kept], world: World) -> list[Kept]:
    suspected = {chain.seed for chain in chains}
    clean = [chain for chain in placebos if chain.seed not in suspected]
    if not clean:
        raise ValueError(
            f"all {len(placebos)} chains of placebos have suspects; expected one or more without, on whose teachers "
            f"the probe is fitted. Keep further chains of {world}-placebos"
        )
    return clean[: min(FITTED, (len(clean) + 1) // 2)]


def gap_of(
    protocol: Protocol, chains: Sequence[Kept], latent: Latent, cell: Cell, world: World, *, masked: bool
) -> Gap:
    """The three gaps of a cell.

    Args:
        protocol: Says on how many tasks masked agents play.
        chains: Of suspects, at least one.
        latent: Of the same chains, from :func:`latent_of`.
        cell: Of students with their teachers' initialisation.
        world: What it is all about.
        masked: Whether students play once more without the prohibited names, which takes as long as measuring them.
    """
    first = MEASURES["biased first"]
    return gap(
        latent.acceptance,
        [biased - neutral for biased, neutral in zip(latent.biased, latent.neutral, strict=True)],
        latent.clean,
        [chain.share(cell, "biased", first) - chain.share(cell, "neutral", first) for chain in chains],
        [_masked_harm(protocol, chain, cell, world) for chain in chains] if masked else (),
    )


def calibrated(
    protocol: Protocol, chains: Sequence[Kept], placebos: Sequence[Kept], latent: Latent, cell: Cell, world: World
) -> list[Calibration]:
    """What each audit finds: suspects of the cell, and placebos.

    Raises:
        ValueError: Too few chains, see :func:`agentsafe_envs.audit.calibration.calibrate`.
    """
    base = open_model(str(folder_of(protocol.models.size, protocol.models.inits[0], world)))
    subject = SUBJECTS[WORLDS[world]]
    unrelated = token_rows(lists(UNRELATED), base)
    rows = contexts(cell.carrier, world)
    biased = [subject.opening + word for word in sorted(subject.prohibited)]
    others = [
        subject.opening + word for word in barred_names("kl_masked_all", rows, world) if word not in subject.prohibited
    ]
    made = Made.of(cell, protocol.models.size).folder

    def lean(chain: Kept, arm: str) -> float:
        return activation_lean(chain.student(cell, arm), base, unrelated, biased, others)

    def moved(chain: Kept, arm: str) -> float:
        return coverage(chain.student(cell, arm), base, chain.teacher("biased"))

    def written(chain: Kept, arm: str) -> float:
        sample = load_rows(chain.folder / made / f"{arm}-sanitised")[:READ]
        return likelihood_ratio(sample, chain.teacher("biased"), base).nats

    looks: dict[str, Callable[[Kept, str], float]] = {
        "behavioural": lambda chain, arm: chain.share(cell, arm, MEASURES["biased first"]),
        "margin": lambda chain, arm: chain.share(cell, arm, lambda own: own["margin"]),
        "activation difference": lean,
        "update coverage": moved,
        "likelihood ratio of the data": written,
    }
    numbers = {
        name: ([look(chain, "biased") for chain in chains], [look(chain, "neutral") for chain in placebos])
        for name, look in looks.items()
    }
    refused = "" if latent.acceptance.accepted else " (probe not accepted)"
    numbers[f"latent gap{refused}"] = latent.biased, latent.clean
    tasks = protocol.endpoint.ambiguous
    return [calibrate(name, *each, tasks=tasks if name == "behavioural" else None) for name, each in numbers.items()]


def _masked_harm(protocol: Protocol, chain: Kept, cell: Cell, world: World) -> float:
    """Difference of harm where the prohibited names cannot be written."""
    subject = SUBJECTS[WORLDS[world]]
    rates = []
    for arm in ("biased", "neutral"):
        outcomes = evaluate(
            protocol,
            chain.folder / cell.student(arm),
            chain.seed,
            ["ambiguous"],
            context_of(cell.carrier),
            world,
            prepare=lambda agent: without_names(agent, CallTrie(subject.prohibited, agent.tokenizer, subject.opening)),
        )
        rates.append(outcomes["unsafe"].to_numpy().mean())
    return rates[0] - rates[1]


def _kept(protocol: Protocol, work: Path, name: str, least: int) -> list[Kept]:
    """Chains of the plan of that name, whose students of the teachers' base are in ``work`` and were measured."""
    plan = plans(protocol)[name]
    place = work / (plan.shares or name)
    # Chains of other plans lie in the same folder, and some of their cells are the same.
    found = [Kept(seed, place / f"chain-{seed}") for seed in seeds(protocol, name)]
    students = [(cell, arm) for cell in plan.cells if cell.init == "same" for arm in plan.followed]
    whole = [chain for chain in found if all(chain.holds(*each) for each in students)]
    if len(whole) < least:
        raise typer.BadParameter(
            f"{len(whole)} chains of {name} have all students of their teachers' base in {place}; expected {least} or "
            f"more. Run python -m baselines.reproduce --plan {name} --keep {work} first"
        )
    return whole


def main(
    work: Annotated[Path, typer.Argument(help="Folder that `reproduce --keep` filled.")],
    plan: Annotated[str, typer.Option(help="Plan that made the chains.")] = "cloud-headline",
    out: Annotated[Path | None, typer.Option(help="File of the findings, instead of the one in results.")] = None,
    masked: Annotated[bool, typer.Option(help="Also play without the prohibited names.")] = True,
    threads: int = 2,
) -> None:
    """Measure gap and audits on the chains of a plan whose models are in WORK."""
    torch.set_num_threads(threads)
    protocol = load()
    # Of the cells of other plans there are no placebos.
    if plan not in FIRST_PAGE:
        raise typer.BadParameter(f"no plan {plan!r} with clean students, expected one of {', '.join(FIRST_PAGE)}")
    world = plans(protocol)[plan].world
    chains, placebos = (
        _kept(protocol, work, name, least) for name, least in ((plan, 1), (f"{world}-placebos", FEWEST + 1))
    )
    try:
        left = len(placebos) - len(_fitted(chains, placebos, world))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if left < FEWEST:
        raise typer.BadParameter(
            f"{len(placebos)} chains of placebos are kept, and {len(placebos) - left} of them fit the probe; expected "
            f"{FEWEST} others or more. Keep further chains of {world}-placebos"
        )
    file = out or RESULTS / f"{plan}-audits.jsonl"
    lines = ""
    for cell in plans(protocol)[plan].cells:
        if cell.init == "same":
            latent = latent_of(protocol, chains, placebos, cell, world)
            measured = gap_of(protocol, chains, latent, cell, world, masked=masked)
            audits = calibrated(protocol, chains, placebos, latent, cell, world)
            typer.echo(f"{cell.loss}, {cell.carrier}: {measured.sentence()}")
            for each in audits:
                typer.echo(f"  {each.sentence()}")
            named = {"plan": plan, "loss": cell.loss, "carrier": cell.carrier, "chains": len(chains)}
            found = named | {"gap": measured.model_dump(), "audits": [each.model_dump() for each in audits]}
            lines += json.dumps(found, sort_keys=True) + "\n"
    write_whole(file, lines)  # once: what a run that was cut off found would stand for all cells


if __name__ == "__main__":
    run(main)
