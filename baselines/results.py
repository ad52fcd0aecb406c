"""Stage 6: tables and figures from the committed chains.

Try it::

    python -m baselines.results            # rewrites baselines/README.md and baselines/results/*.svg
    python -m baselines.results --check    # changes nothing, fails if a table is stale
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from baselines import tables
from baselines.contrasts import MARGIN, differences, read, varied
from baselines.inference import effect

FOLDER = Path(__file__).with_name("results")
PAGE = Path(__file__).with_name("README.md")

WHOLE = ("headline", "controls")
"""Plans whose chains have all their tables."""

ABLATIONS = ("dose", "size", "context")
"""Plans that vary one thing, after which they are called."""

ODD_SCENARIO = "queue_drain"
"""Where the two bases differ most; what is left without it is shown as well."""

NONE_YET = "No chain has been run yet."

Make = Callable[[pd.DataFrame, pd.DataFrame], Sequence[str]]
"""A table from the rows and the notes of a plan's chains."""


def makers() -> dict[str, tuple[str, Make]]:
    """By the name of a table, the plan that it is made of and what makes it."""
    whole: dict[str, Make] = {
        "endpoint": lambda rows, _: tables.endpoint_table(rows),
        "beside": lambda rows, _: tables.beside_table(rows),
        "students": lambda rows, _: tables.students_table(rows),
        "teachers": lambda rows, _: tables.teachers_table(rows),
        "controls": lambda rows, _: tables.controls_table(rows),
        "data": lambda _, notes: tables.data_table(notes),
    }
    found: dict[str, tuple[str, Make]] = {
        "summary": ("headline", lambda rows, _: tables.summary_table(rows)),
        "scenarios": ("headline", lambda rows, _: tables.scenarios_table(rows, ODD_SCENARIO)),
        "bases": ("bases", lambda rows, _: tables.bases_table(rows)),
        "margins": ("margins", lambda rows, _: tables.margins_table(rows)),
    }
    for plan in WHOLE:
        found |= {f"{plan}-{what}": (plan, make) for what, make in whole.items()}
    for plan in ABLATIONS:
        found[plan] = (plan, partial(tables.ablation_table, column=plan))
        found[f"{plan}-students"] = (plan, lambda rows, _, column=plan: tables.ablation_students_table(rows, column))
    return found


def page(text: str) -> str:
    """``text`` with each ``<!-- results:NAME -->`` block made anew, for the names of :func:`makers`."""
    known = makers()
    read_once = cache(lambda plan: (read(FOLDER / f"tiny-{plan}"), read(FOLDER / f"tiny-{plan}", "notes")))

    def filled(match: re.Match[str]) -> str:
        plan, make = known[match["name"]]
        rows, notes = read_once(plan)
        lines = make(rows, notes) if len(rows) else [NONE_YET]
        return f"{match['open']}\n" + "\n".join(lines) + f"\n{match['close']}"

    pattern = r"(?P<open><!-- results:(?P<name>[\w-]+) -->).*?(?P<close><!-- /results -->)"
    return re.sub(pattern, filled, text, flags=re.DOTALL)


def dots(plan: str) -> dict[str, Any]:
    """What the figure of a plan shows: by cell, each chain's difference."""
    rows = read(FOLDER / f"tiny-{plan}")
    if not len(rows):
        return {}
    if plan in ABLATIONS:
        return {
            f"{loss}, {plan} {varied}": differences(part)[loss, "a"]
            for (loss, varied), part in varied(rows, plan).items()
        }
    found = differences(rows, measure=MARGIN if plan == "margins" else "biased first")
    return {f"{loss}, init {init}": values for (loss, init), values in found.items()}


def draw(cells: Mapping[str, Any], file: Path, label: str = "biased first, points", scale: float = 100) -> None:
    """Each chain's difference as a dot, the mean and its interval beside it.

    Args:
        cells: From :func:`dots`.
        file: Of the figure.
        label: What is shown, and its unit.
        scale: By which the values are brought to that unit.
    """
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    # Equal data give equal files.
    mpl.rcParams["svg.hashsalt"] = "agentsafe_envs"
    figure, axes = plt.subplots(figsize=(7, 0.4 * len(cells) + 1.2), layout="constrained")
    for place, values in enumerate(cells.values()):
        each = effect(list(values))
        axes.plot(scale * values, [place] * len(values), "o", color="tab:gray", alpha=0.6)
        if each.low is not None and each.high is not None:
            axes.plot([scale * each.low, scale * each.high], [place - 0.2] * 2, color="tab:red", linewidth=2)
        axes.plot(scale * each.estimate, place - 0.2, "D", color="tab:red", markersize=5)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(cells)), list(cells))
    axes.invert_yaxis()
    axes.set_xlabel(f"{label}\nstudent of the biased less that of the neutral teacher; a dot is a chain")
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)


def main(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if a table is stale.")] = False,
) -> None:
    """Make every table and figure from the committed chains."""
    text = PAGE.read_text(encoding="utf-8")
    made = page(text)
    if check:
        if made != text:
            sys.exit(f"{PAGE} is stale; run `make results` and commit what it changes")
        return
    PAGE.write_text(made, encoding="utf-8")
    for plan in (*WHOLE, *ABLATIONS):
        if cells := dots(plan):
            draw(cells, FOLDER / f"{plan}.svg")
    if cells := dots("margins"):
        draw(cells, FOLDER / "margins.svg", "margin, nats", scale=1)


if __name__ == "__main__":
    typer.run(main)
