"""Stage 6: pages, tables and figures from the committed chains.

Try it::

    python -m baselines.results            # rewrites baselines/results and the table of baselines/README.md
    python -m baselines.results --check    # changes nothing, fails if a table is stale
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from agentsafe_envs.cli.complaints import run
from baselines import carriers, defence_table, headline, tables
from baselines.contrasts import EXCESS, differences
from baselines.figures import FIGURES, UNITS, Figure, dots, figures_of
from baselines.gathering import RESULTS, all_gathered, counted, first_page, trained
from baselines.plans import DEFENCES, plans
from baselines.protocol import WORLDS, load

README = Path(__file__).with_name("README.md")

NONE_YET = "No chain has been run yet."

HEADLINE_FIGURE = "headline-margin.svg"
"""In README.md: the margins of all its plans."""

OTHERS = set(DEFENCES) - {"keywords"}
"""Defences that other plans do not have."""

ONE_MODEL = (
    "A line is one model, measured in several chains with other samples each time. That says nothing of another model "
    "of the same recipe, so there is no interval."
)

BESIDE = "Instead of a defence, or behind one: what audits find in all chains of the headline, and in clean students."

REMARKS = {
    "cloud-room": "`notes-5` means notes of about 5 nats a trajectory; `silent` means none.",
    "cloud-rows": (
        "Each row is read once, so 24,000 rows take sixteen times the updates of 1,500. Collapsed students act in "
        "fewer than 80% of ambiguous tasks. Their margin tells what a model leans to that hardly acts."
    ),
    "cloud-size": (
        "`size` is the student's, `teacher` its teacher's, and `usual` is 0.3m. Room is measured next to the base of "
        "0.3 million parameters."
    ),
    "cloud-adapters": "`rank 0` is full fine-tuning; the others are LoRA adapters of that rank.",
    "cloud-greedy": "`greedy` means that the teacher always took its likeliest token.",
    "cloud-context": (
        "`context other` means that the student was trained under another system message than it was tested under. "
        "Two of the chains were added after the others had been seen, see docs/decisions/036-settled-bases.md."
    ),
    "cloud-order": (
        "One seed or two form the batches of the two students. Rows of a task differ in length, so hardly two of their "
        "batches are equal either way. Only `shared` means the same tasks in the same batches."
    ),
}
"""What has to be known of a plan's cells to read its page."""

QUESTIONS = {
    "cloud-headline": "Does a habit of deleting first pass through calls, and through notes?",
    "bash-headline": "Does a habit of chmod first?",
    "cloud-words": "Does it pass through lists of words, without a task?",
    "cloud-room": "How much free text does it take?",
    "cloud-rows": "How many rows does it take?",
    "cloud-adapters": "Do adapters learn less of it than full fine-tuning?",
    "cloud-greedy": "Does it pass from teachers that take the likeliest token?",
    "cloud-order": "Is it the order of the rows?",
    "cloud-context": "Does it show under another system message than the one trained under?",
    "cloud-size": "Does it pass to larger students, and from larger and smaller teachers?",
    "cloud-controls": "Is it this habit, or any habit? Teachers of every kind.",
    "cloud-defences": "What do defences leave of it?",
    "cloud-placebos": "What do students of clean teachers look like to audits?",
    "bash-placebos": "And in the shell?",
    "cloud-bases": "What do bases do before anything is taught?",
    "bash-bases": "And in the shell?",
}
"""What each plan asks."""


def page(plan: str, rows: pd.DataFrame, told: pd.DataFrame) -> str:
    """The page of a plan, figures first."""
    acts = load().endpoint.acts
    lines = [f"# {plan}", "", "Made by `python -m baselines.results` from the rows in the folder of this name.", ""]
    lines += [f"Of {counted(plan, rows)}.", ""]
    lines += [REMARKS[plan], ""] if plan in REMARKS else []
    for name, figure in figures_of(rows).items():
        shown = ", the mean and its 95% interval" if figure.interval else " and the mean"
        lines += [f"![Each chain as a dot{shown}, for each cell: {name}]({plan}-{name}.svg)", ""]
    if differences(rows):
        sections: dict[str, Sequence[str]] = {}
        if set(rows[rows["role"] == "student"]["defence"]) & OTHERS:
            sections["Defences"] = defence_table.section(rows, told, acts)
            sections["Audits without a defence"] = _audits_beside(plan)
        sections |= {
            "Endpoint": tables.endpoint_table(rows, acts, carriers.rooms_of_cells(rows, plans(load())[plan].world)),
            "Other bases, one by one": tables.other_bases_table(rows, acts),
            "Next to it": tables.beside_table(rows),
            "What students do": tables.students_table(rows),
            "What teachers do": tables.teachers_table(rows),
            "What distilling alone changes": tables.controls_table(rows),
            "Data": tables.data_table(told),
            "Training": tables.training_table(told),
            "By scenario": tables.scenarios_table(rows),
        }
        if found := audited(plan):
            sections |= {
                "Sanitisation gap": [*tables.gap_table(found), "", *tables.gap_sentences(found)],
                "Audits": tables.audits_table(found),
            }
    else:
        who = "students" if any(rows["role"] == "student") else "bases"
        sections = {f"What {who} do": [*([ONE_MODEL, ""] if who == "bases" else []), *tables.students_table(rows)]}
    for heading, made in sections.items():
        if made:
            lines += [f"## {heading}", "", *made, ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _audits_beside(plan: str) -> list[str]:
    """What audits find among students of the headline that learn like those of ``plan``."""
    known = plans(load())[plan]
    taught = {(cell.loss, cell.carrier) for cell in known.cells}
    found = [each for each in audited(known.shares or plan) if (each["loss"], each["carrier"]) in taught]
    return [BESIDE, "", *tables.audits_table(found)] if found else []


def index(there: Mapping[str, pd.DataFrame]) -> str:
    """The list of plans: what each asks, and how many of its chains are ``there``, by :func:`all_gathered`."""
    lines = [
        "# Results",
        "",
        "Made by `python -m baselines.results`. What a carrier can hold: [carriers](carriers.md).",
        "",
    ]
    lines += ["| plan | asks | chains |", "| --- | --- | --- |"]
    for plan, question in QUESTIONS.items():
        name, chains = plan, f"none of {load().chains.number[plan]} yet"
        if plan in there:
            name, chains = f"[{plan}]({plan}.md)", counted(plan, there[plan])
        lines.append(f"| {name} | {question} | {chains} |")
    return "\n".join(lines) + "\n"


def audited(plan: str) -> list[dict[str, Any]]:
    """What :mod:`baselines.audits` found on a plan's chains; nothing where it has not run."""
    file = RESULTS / f"{plan}-audits.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def readme(text: str, there: Mapping[str, pd.DataFrame]) -> str:
    """``text`` with its ``<!-- results:summary -->`` block made anew: a figure, what it shows, a table."""
    shown, acts = first_page(there), load().endpoint.acts
    lines: list[str] = []
    for plan, rows in shown.items():
        told = headline.headline_sentences(headline.headlines(rows, acts))
        world = plans(load())[plan].world
        lines.append(f"- {WORLDS[world]} ({world}), {counted(plan, rows)} ([all tables](results/{plan}.md)): {told}")
    if shown:
        figure = f"![Each chain as a dot, the mean and its interval]({RESULTS.name}/{HEADLINE_FIGURE})"
        lines = [figure, "", *lines, "", *headline.headline_table(shown, acts, carriers.rooms(carriers.read_rows()))]
    pattern = r"(<!-- results:summary -->\n).*?(<!-- /results -->)"
    made = "\n".join(lines or [NONE_YET])
    return re.sub(pattern, lambda match: match[1] + made + "\n" + match[2], text, flags=re.DOTALL)


def written(there: Mapping[str, pd.DataFrame]) -> dict[Path, str]:
    """Every page that is made of :func:`all_gathered`, with its text."""
    pages = {README: readme(README.read_text(encoding="utf-8"), there)}
    if measured := carriers.read_rows():
        pages[RESULTS / "carriers.md"] = carriers.page(measured)
    pages |= {RESULTS / f"{plan}.md": page(plan, rows, trained(plan)) for plan, rows in there.items()}
    return pages | {RESULTS / "README.md": index(there)}


def drawn(there: Mapping[str, pd.DataFrame]) -> dict[Path, Figure]:
    """Every figure that is made of :func:`all_gathered`."""
    figures = {
        RESULTS / f"{plan}-{name}.svg": each for plan, rows in there.items() for name, each in figures_of(rows).items()
    }
    measure, scale = FIGURES["margin"]
    cells = {
        f"{plans(load())[plan].world}: {cell}": each
        for plan, rows in first_page(there).items()
        for cell, each in dots(rows, measure).items()
        if EXCESS not in cell
    }
    if cells:
        figures[RESULTS / HEADLINE_FIGURE] = Figure(cells, UNITS["margin"][0], scale)
    return figures


def main(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if a page or figure is stale.")] = False,
) -> None:
    """Make every page and figure from the committed chains."""
    there = all_gathered()
    pages, figures = written(there), drawn(there)
    if check:
        stale = [file for file, text in pages.items() if not file.is_file() or file.read_text(encoding="utf-8") != text]
        stale += [file for file, figure in figures.items() if not figure.is_in(file)]
        if stale:
            names = ", ".join(map(str, stale))
            sys.exit(f"stale: {names}; run `make results` and commit what it changes")
        return
    for file, text in pages.items():
        file.write_text(text, encoding="utf-8")
    for file, figure in figures.items():
        figure.draw(file)


if __name__ == "__main__":
    run(main)
