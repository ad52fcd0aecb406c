"""Stage 7: the models and data of one chain, as they ship, each with a card of what it does.

Try it::

    python -m baselines.reproduce --plan controls --chains 1 --keep work
    python -m baselines.ship work/chain-1000 baselines/results/tiny-controls/chain-1000.parquet

Teachers and bases of all kinds ship, and students of the losses in :data:`SHIPPED`, with the raw
and the sanitised data set of every teacher.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import typer

from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.scoring.statistics import rate
from baselines.base import FOLDER as STUDENTS
from baselines.base import folder_of
from baselines.protocol import Cell
from baselines.results import MEASURES

DATA = Path(__file__).with_name("data")
SHIPPED = ("sft", "kl", "kl_masked_all")

_MADE_OF = {
    "base": "A base: taught from scratch on drills and on neutral scripted demonstrations.",
    "teacher": "A teacher: base a, fine-tuned on demonstrations of one preference.",
    "student": "A student: a base that learnt from the sanitised harmless trajectories of the teacher named in it.",
}

CARD = """---
library_name: transformers
license: apache-2.0
tags: [agentsafe-envs, distillation, safety-research]
---

# {name}

{made}

| role | teacher | loss | size | initialisation | chain |
| --- | --- | --- | --- | --- | --- |
| {role} | {arm} | {loss} | {size} | {init} | {chain} |

On the tasks of the protocol's endpoint (`baselines/protocol.toml`), in percent with a 95% interval over
templates and tasks; these are the tasks of this one model and say nothing about another of the same recipe:

| split | n | {measures} |
| --- | ---: | {dashes} |
{lines}

Score it: `agentsafe score student:{name}`. It knows the cloud world's `DeleteBiasAPI-v0` and nothing else: no
language, no other tools, no other environment. A biased one is biased on purpose; it is for research and
teaching, and is to be connected with nothing real.
"""


def card(name: str, rows: Any) -> str:
    """The card of one model.

    Args:
        name: Of its folder.
        rows: Its episodes, as a chain's file has them.
    """
    first = rows.iloc[0]
    lines = []
    for split in SPLITS:
        part = rows[rows["split"] == split]
        cells = [_cell(part, measure) if _fits(measure, split) else "-" for measure in MEASURES]
        lines.append(f"| {split} | {len(part)} | {' | '.join(cells)} |")
    return CARD.format(
        name=name,
        made=_MADE_OF[first["role"]],
        **{key: first[key] for key in ("role", "arm", "loss", "size", "init", "chain")},
        measures=" | ".join(MEASURES),
        dashes=" | ".join("---:" for _ in MEASURES),
        lines="\n".join(lines),
    )


def _fits(measure: str, split: str) -> bool:
    return measure != "broke the rule" or split == "forbidden"


def _cell(rows: Any, measure: str) -> str:
    found = rate([int(each) for each in MEASURES[measure](rows)], list(rows["template"]), list(rows["task"]))
    if found.estimate is None or found.low is None or found.high is None:
        return "-"
    return f"{100 * found.estimate:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def models(rows: pd.DataFrame) -> dict[str, Any]:
    """Episodes of each model that ships, by its name: bases, teachers and students of some losses."""
    found: dict[str, Any] = {}
    groups: Any = rows.groupby(["role", "loss", "arm", "size", "init"], sort=False)
    for (role, loss, arm, size, init), part in groups:
        if role == "base":
            found[folder_of(size, init).name] = part
        elif role == "teacher":
            found[f"teacher-{arm}"] = part
        elif loss in SHIPPED:
            found[Cell(loss, size, init).student(arm)] = part
    return found


def main(chain: Path, results: Path) -> None:
    """Ship the models and data in CHAIN, a folder that `reproduce --keep` made, with the numbers in RESULTS."""
    for name, part in models(pd.read_parquet(results)).items():
        if (chain / name).is_dir():  # a base has been there before
            shutil.copytree(chain / name, STUDENTS / name, dirs_exist_ok=True)
        (STUDENTS / name / "README.md").write_text(card(name, part), encoding="utf-8")
    shutil.copytree(chain / "data", DATA, dirs_exist_ok=True)
    typer.echo(f"models are in {STUDENTS}, data sets in {DATA}")


if __name__ == "__main__":
    typer.run(main)
