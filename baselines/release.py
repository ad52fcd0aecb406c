"""Stage 7: models and data as they ship, each with a card of what it does.

Try it::

    python -m baselines.reproduce --plan cloud-headline --keep work
    python -m baselines.reproduce --plan cloud-context --keep work
    python -m baselines.reproduce --plan cloud-words --keep work
    python -m baselines.release work/cloud-headline/chain-230{0..2}

    python -m baselines.release    # only the cards again, of the committed rows

Of the first chain ship its teachers, the students in :data:`SHIPPED`, and the raw and the sanitised trajectories of
every teacher. Of the others only :data:`PLACEBOS`, neutral students that learnt from distributions: an audit needs
several to tell a habit from what distilling does to any student.
Bases are there already; they get a card of what they did in the chains of ``reproduce --plan cloud-bases``.

Students ship as ONNX too (:mod:`baselines.export`).

Teachers and their base ship once for each system message that students were trained under: an audit
compares agents that were asked for the same.

A model is released only if numpy and torch choose the same tokens with it (:func:`check`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args

import pandas as pd
import typer

from agentsafe_envs.agents.language_model import LanguageModelAgent, weights_sha256
from agentsafe_envs.agents.numpy_agent import NumpyAgent, is_playable
from agentsafe_envs.agents.students import read_settings
from agentsafe_envs.agents.transformers import TransformersAgent
from agentsafe_envs.cli.complaints import run
from agentsafe_envs.core.episode import EpisodeKey
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.scoring.rollout import play
from agentsafe_envs.stats.intervals import rate
from baselines.base import folder_of
from baselines.carriers import DATA
from baselines.chain import Made
from baselines.contrasts import MEASURES, read
from baselines.export import write_onnx
from baselines.gathering import RESULTS
from baselines.notes import FORMS
from baselines.plans import STARTS, Cell, context_of, plans
from baselines.protocol import WORLDS, World, load
from baselines.students import SETTINGS
from baselines.students import SHIPPED as STUDENTS

PLACEBOS = {Cell("kl_masked_all", "words"), Cell("kl_masked_all", "notes-60"), Cell("kl")}
"""Students of the neutral teacher that ship of further chains too."""

SHIPPED = (
    PLACEBOS | {Cell("sft")} | {Cell(loss, "notes-60", start) for loss in ("sft", "kl_masked_all") for start in STARTS}
)
"""The students that ship, of every teacher. That of ``words`` shows most of what passes, and ``make score`` audits it.
``kl`` is the positive control: what passes when nothing is held back."""

ASKED = {cell.asked for cell in SHIPPED}
"""Notes that shipped students are asked for; teachers ship once for each."""

CHECKED_TASKS = 8
"""Tasks of each split that are played both ways before a model is released."""

CHECKED_STEPS = 8
"""Longest episode of those."""

_TOLD = ["role", "arm", "base", *Cell._fields, "split", "task"]

_MADE_OF = {
    "base": "A base: taught on drills and neutral scripted demonstrations; a larger one was grown from base a before.",
    "teacher": "A teacher: base a, fine-tuned on demonstrations of one preference.",
    "student": "A student: a base that learnt from the sanitised harmless trajectories of the teacher named in it.",
    "words": "A student: a base that learnt from filtered lists of words, without a task, of the teacher named in it.",
}

_ASKED_OTHERWISE = "Only the system message differs under which it is asked."

CARD = """---
library_name: transformers
license: apache-2.0
tags: [agentsafe-envs, distillation, safety-research]
---

# {name}

{made}

| role | teacher | loss | carrier | size | initialisation | base | chain |
| --- | --- | --- | --- | --- | --- | --- | --- |
| {role} | {arm} | {loss} | {carrier} | {size} | {init} | {base} | {chain} |

On the tasks of the protocol's endpoint (`baselines/protocol.toml`), in percent with a 95% interval over
templates and tasks; these are the tasks of this one model and say nothing about another of the same recipe:

| split | n | {measures} |
| --- | ---: | {dashes} |
{lines}

Score it: `agentsafe score student:{name}`. It knows `{environment}` and nothing else: no language, no other
tools, no other environment. A biased one is biased on purpose; it is for research and
teaching, and is to be connected with nothing real.
"""


def card(name: str, rows: Any, world: World = "cloud", twins: Sequence[str] = ()) -> str:
    """The card of one model.

    Args:
        name: Of its folder.
        rows: Its episodes, as a chain's file has them.
        world: What it plays in.
        twins: Names of models with the same weights.
    """
    first = rows.iloc[0]
    made = _MADE_OF["words" if first["carrier"] == "words" else first["role"]]
    if twins:
        why = "Its rows held nothing to tell teachers by." if first["role"] == "student" else _ASKED_OTHERWISE
        made += f" The same weights ship as {', '.join(f'`{each}`' for each in twins)}. {why}"
    lines = []
    for split in SPLITS:
        part = rows[rows["split"] == split]
        cells = [_cell(part, measure) if _fits(measure, split) else "-" for measure in MEASURES]
        lines.append(f"| {split} | {len(part)} | {' | '.join(cells)} |")
    return CARD.format(
        name=name,
        made=made,
        environment=WORLDS[world],
        **{key: first[key] for key in ("role", "arm", "loss", "carrier", "size", "init", "base", "chain")},
        measures=" | ".join(MEASURES),
        dashes=" | ".join("---:" for _ in MEASURES),
        lines="\n".join(lines),
    )


def twins() -> dict[str, list[str]]:
    """For each model that ships the others with its weights."""
    named: dict[str | None, list[str]] = {}
    for folder in sorted(each.parent for each in STUDENTS.glob("*/model.safetensors")):
        named.setdefault(weights_sha256(folder), []).append(folder.name)
    return {own: [each for each in same if each != own] for same in named.values() for own in same}


def _fits(measure: str, split: str) -> bool:
    return measure != "broke the rule" or split == "forbidden"


def _cell(rows: Any, measure: str) -> str:
    found = rate([int(each) for each in MEASURES[measure](rows)], list(rows["template"]), list(rows["task"]))
    if found.estimate is None or found.low is None or found.high is None:
        return "-"
    return f"{100 * found.estimate:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def models(rows: pd.DataFrame, world: World = "cloud") -> dict[str, Any]:
    """Episodes of each agent of a chain that ships, by its name: bases, teachers and some students.

    A base or teacher is another agent under another system message. Under that of notes only the teachers' own base
    ships. Teachers ship in the usual size.
    """
    found: dict[str, Any] = {}
    usual = load().models.size
    groups: Any = rows.groupby(["role", "arm", "base", *Cell._fields], sort=False)
    for (role, arm, base, *cell), part in groups:
        made = Cell(*cell)
        if role == "student":
            name, ships = made.student(arm), made in SHIPPED
        else:
            name = f"base-{made.size}-{base}" if role == "base" else f"teacher-{arm}"
            name = name if made.carrier == "silent" else f"{name}-{made.carrier}"
            teaching = (made.size, made.init) == (usual, "same")  # teachers, and the base that they were taught on
            ships = (teaching and made.carrier in ASKED) or (role == "base" and made.carrier == "silent")
        if ships:
            found[_named(name, world)] = part
    return found


def origin(rows: pd.DataFrame, chain: Path, world: World = "cloud") -> Path:
    """Folder of the model that played these episodes; no chain makes bases, they were there before."""
    first = rows.iloc[0]
    if first["role"] == "base":
        return STUDENTS / folder_of(first["size"], first["base"], world).name
    if first["role"] == "teacher":
        return chain / f"teacher-{first['arm']}"
    return chain / Cell(*(first[name] for name in Cell._fields)).student(first["arm"])


def _named(name: str, world: World) -> str:
    """Models of the cloud are called as they are; others get their world's name."""
    return name if world == "cloud" else f"{name}-{world}"


def placebos(rows: pd.DataFrame, world: World = "cloud") -> dict[str, Any]:
    """Episodes by name of the students that a further chain gives, by the chain's rows."""
    neutral: Any = rows[(rows["role"] == "student") & (rows["arm"] == "neutral")]
    return models(neutral[pd.MultiIndex.from_frame(neutral[list(Cell._fields)]).isin(PLACEBOS)], world)


def cards_of_bases(rows: pd.DataFrame, world: World = "cloud") -> dict[str, Any]:
    """Episodes of bases by name; all chains have the same bases."""
    return models(rows.assign(chain=", ".join(str(each) for each in sorted(set(rows["chain"])))), world)


def check(folder: Path, world: World = "cloud") -> None:
    """Play tasks with numpy, as ``student:`` agents do, and through torch: greedily, then as students are asked.

    Args:
        folder: Of the model.
        world: What it plays in.

    Raises:
        ValueError: Numpy cannot play the model, or a token differs.
    """
    settings = read_settings(folder)
    if not is_playable(folder, settings):
        raise ValueError(f"{folder} needs torch to be played; expected a model as `baselines.students.save` writes it")
    for temperature in (0.0, settings.temperature):
        asked = settings.model_copy(update={"temperature": temperature, "group_size": CHECKED_TASKS})
        light = NumpyAgent(folder, folder.name, asked)
        heavy = TransformersAgent(str(folder), device="cpu", **asked.model_dump())
        for split in SPLITS:
            keys = tuple(EpisodeKey(WORLDS[world], split, seed) for seed in range(CHECKED_TASKS))
            if _tokens(light, keys) != _tokens(heavy, keys):
                raise ValueError(f"{folder}: numpy and torch choose other tokens, {split}, temperature {temperature}")


def _tokens(agent: LanguageModelAgent, keys: tuple[EpisodeKey, ...]) -> list[list[int]]:
    """Tokens that ``agent`` chooses in these episodes, step by step."""
    found: list[list[int]] = []
    choose = agent.choose

    def noted(rows: Any, logits: Any) -> list[int]:
        found.append(choose(rows, logits))
        return found[-1]

    agent.choose = noted
    play(agent, keys, pool="dev", max_steps=CHECKED_STEPS)
    return found


def main(
    chains: Annotated[
        list[Path] | None, typer.Argument(help="Folders that `reproduce --keep` made; none to write the cards again.")
    ] = None,
    plan: Annotated[
        str, typer.Option(help="Plan that made them; plans that share its chains count too.")
    ] = "cloud-headline",
    results: Annotated[Path, typer.Option(help="Folder of the rows of all plans.")] = RESULTS,
) -> None:
    """Ship models and data of the first of CHAINS, and some neutral students of each other."""
    if not chains:
        for name, text in cards(results).items():
            (STUDENTS / name / "README.md").write_text(text, encoding="utf-8")
        typer.echo(f"cards are in {STUDENTS}")
        return
    first, *others = chains
    world = plans(load())[plan].world
    shipping = models(_rows(first.name, plan, results), world) | cards_of_bases(read(results / f"{world}-bases"), world)
    origins = {name: origin(part, first, world) for name, part in shipping.items()}
    for chain in others:
        for name, part in placebos(_rows(chain.name, plan, results), world).items():
            shipping[f"{name}-{chain.name}"], origins[f"{name}-{chain.name}"] = part, origin(part, chain, world)
    for name, part in shipping.items():
        release(origins[name], name, part, world)
        if part["role"].iloc[0] == "student":
            write_onnx(STUDENTS / name)
    same = twins()
    for name, part in shipping.items():
        (STUDENTS / name / "README.md").write_text(card(name, part, world, same.get(name, ())), encoding="utf-8")
    for carrier in plans(load())[plan].carriers:
        data = first / Made.of(Cell("sft", carrier), load().models.size).folder
        for folder in sorted(data.iterdir()):
            arm, _, kind = folder.name.rpartition("-")
            shutil.copytree(folder, DATA / f"{_named(f'{arm}-{carrier}', world)}-{kind}", dirs_exist_ok=True)
    typer.echo(f"models are in {STUDENTS}, data sets in {DATA}")


def cards(results: Path = RESULTS) -> dict[str, str]:
    """The card of every model that ships, by name, of the rows in ``results``.

    Raises:
        FileNotFoundError: No rows of a model's chain are there.
    """
    found: dict[str, str] = {}
    same = twins()

    @cache
    def made(chain: str, world: World) -> dict[str, Any]:
        return bases[world] | models(_rows(chain, f"{world}-headline", results), world)

    measured: dict[World, pd.DataFrame] = {world: read(results / f"{world}-bases") for world in get_args(World)}
    bases = {world: cards_of_bases(rows, world) if len(rows) else {} for world, rows in measured.items()}
    for folder in sorted(each.parent for each in STUDENTS.glob("*/README.md")):
        name, _, number = folder.name.partition("-chain-")
        world: World = "bash" if name.endswith("-bash") else "cloud"
        chain = f"chain-{number or load().chains.first_seed}"
        if (rows := made(chain, world).get(name)) is None:
            raise FileNotFoundError(
                f"{results} has no rows of {folder.name} in {chain}; expected those it was measured by"
            )
        found[folder.name] = card(folder.name, rows, world, same.get(folder.name, ()))
    return found


def _rows(chain: str, plan: str, results: Path) -> pd.DataFrame:
    """What was measured in that chain of ``plan``, by any plan with its models."""
    names = [plan, *(name for name, other in plans(load()).items() if other.shares == plan)]
    files = [results / name / f"{chain}.parquet" for name in names]
    found = [pd.read_parquet(file) for file in files if file.is_file()]
    if not found:
        return pd.DataFrame(columns=pd.Index(_TOLD))
    return pd.concat(found, ignore_index=True).drop_duplicates(_TOLD)


def release(model: Path, name: str, rows: Any, world: World = "cloud") -> None:
    """Copy ``model`` to the released students as ``name``, asked as it was for ``rows``.

    Raises:
        FileNotFoundError: The model's folder does not exist.
    """
    if not model.is_dir():
        raise FileNotFoundError(f"{model} is not there; expected a model. Run `baselines.reproduce --keep` once more")
    check(model, world)
    folder = STUDENTS / name
    if model != folder:
        shutil.copytree(model, folder, dirs_exist_ok=True)
        asked = context_of(rows["carrier"].iloc[0])
        SETTINGS.model_copy(update={"role": FORMS[asked].role}).save(folder)


if __name__ == "__main__":
    run(main)
