"""Stage 6: pages, tables and figures from the committed chains.

Try it::

    python -m baselines.results            # rewrites baselines/results and the table of baselines/README.md
    python -m baselines.results --check    # changes nothing, fails if a table is stale
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pandas as pd
import typer

from baselines import carriers, defence_table, headline, tables
from baselines.contrasts import EXCESS, MARGIN, by_chain, differences, read
from baselines.inference import effect
from baselines.plans import DEFENCES, Cell, Plan, plans
from baselines.protocol import WORLDS, World, load

FOLDER = Path(__file__).with_name("results")
README = Path(__file__).with_name("README.md")

NONE_YET = "No chain has been run yet."

HEADLINE_FIGURE = "headline-margin.svg"
"""In README.md: the margins of every world's headline."""

AGAIN = "-again"
"""After a headline's name: the folder of those of its chains that later code made again, see README.md."""

BEFORE = ("cloud-context", "cloud-greedy", "cloud-order", "cloud-rate")
"""Plans whose students learnt from the headline's data before its chains were made again; all others from these."""

OTHERS = set(DEFENCES) - {"keywords"}
"""Defences that other plans do not have."""

ONE_MODEL = (
    "A line is one model, measured in several chains with other samples each time. That says nothing of another model "
    "of the same recipe, so there is no interval."
)

QUESTIONS = {
    "cloud-headline": "Does a habit of deleting first pass through calls, and through notes?",
    "bash-headline": "Does a habit of chmod first?",
    "cloud-other": "Does it pass from another base, where its students act? Fresh chains.",
    "cloud-rate": "Is it the learning rate?",
    "cloud-words": "Does it pass through lists of words, without a task?",
    "cloud-room": "How much free text does it take?",
    "cloud-rows": "How many rows does it take?",
    "cloud-adapters": "Do adapters learn less of it than full fine-tuning?",
    "cloud-greedy": "Does it pass from teachers that take the likeliest token?",
    "cloud-order": "Is it the order of the rows, which students of both teachers share?",
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

FIGURES = {"rate": ("biased first", 100.0), "margin": (MARGIN, 1.0)}
"""By the end of a figure's name, what it shows, and by what values are brought to the unit of its label."""

UNITS = {"rate": ("biased first, points", "biased first, %"), "margin": ("margin, nats", "margin, nats")}
"""Label of differences, and of the values themselves."""

COMPARED = "student of the biased less that of the neutral teacher; a dot is a chain"


def page(plan: str, rows: pd.DataFrame, told: pd.DataFrame) -> str:
    """The page of a plan, figures first."""
    acts = load().endpoint.acts
    lines = [f"# {plan}", "", "Made by `python -m baselines.results` from the rows in the folder of this name.", ""]
    lines += [f"Of {counted(plan, rows)}.", ""]
    for name, figure in figures_of(rows).items():
        shown = ", the mean and its 95% interval" if figure.interval else " and the mean"
        lines += [f"![Each chain as a dot{shown}, for each cell: {name}]({plan}-{name}.svg)", ""]
    if differences(rows):
        sections: dict[str, Sequence[str]] = {}
        if set(rows[rows["role"] == "student"]["defence"]) & OTHERS:
            sections["Defences"] = defence_table.section(rows, told, acts)
        sections |= {
            "Endpoint": tables.endpoint_table(rows, acts),
            "Other bases, one by one": tables.other_bases_table(rows, acts),
            "Next to it": tables.beside_table(rows),
            "What students do": tables.students_table(rows),
            "What teachers do": tables.teachers_table(rows),
            "What should not differ": tables.controls_table(rows),
            "Data": tables.data_table(told),
            "Training": tables.training_table(told),
            "By scenario": tables.scenarios_table(rows),
        }
        if found := audited(plan):
            sections |= {
                "Sanitisation gap": [*tables.gap_table(found), "", *tables.gap_sentences(found)],
                "Audits": tables.audits_table(found),
            }
        if len(again := read(FOLDER / f"{plan}{AGAIN}")):
            sections["Made again"] = headline.again_section(rows, again, acts)
    else:
        who = "students" if any(rows["role"] == "student") else "bases"
        sections = {f"What {who} do": [*([ONE_MODEL, ""] if who == "bases" else []), *tables.students_table(rows)]}
    for heading, made in sections.items():
        if made:
            lines += [f"## {heading}", "", *made, ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def index(pages: Mapping[Path, str]) -> str:
    """The list of plans: what each asks, and how many of its chains there are."""
    lines = [
        "# Results",
        "",
        "Made by `python -m baselines.results`. What a carrier can hold: [carriers](carriers.md).",
        "",
    ]
    lines += ["| plan | asks | chains |", "| --- | --- | --- |"]
    for plan, question in QUESTIONS.items():
        there = FOLDER / f"{plan}.md" in pages
        chains = counted(plan, gathered(plan)) if there else f"none of {load().chains.number[plan]} yet"
        lines.append(f"| {f'[{plan}]({plan}.md)' if there else plan} | {question} | {chains} |")
    return "\n".join(lines) + "\n"


def audited(plan: str) -> list[dict[str, Any]]:
    """What :mod:`baselines.audits` found on a plan's chains; nothing where it has not run."""
    file = FOLDER / f"{plan}-audits.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def readme(text: str) -> str:
    """``text`` with its ``<!-- results:summary -->`` block made anew: a figure, what it shows, a table."""
    worlds, acts = headline_rows(), load().endpoint.acts
    lines: list[str] = []
    for world, rows in worlds.items():
        plan = f"{world}-headline"
        told = headline.headline_sentences(headline.headlines(rows, acts))
        lines.append(f"- {WORLDS[world]}, {counted(plan, rows)} ([all tables](results/{plan}.md)): {told}")
    if worlds:
        figure = f"![Each chain as a dot, the mean and its interval]({FOLDER.name}/{HEADLINE_FIGURE})"
        lines = [figure, "", *lines, "", *headline.headline_table(worlds, acts, carriers.rooms(carriers.read_rows()))]
    pattern = r"(<!-- results:summary -->\n).*?(<!-- /results -->)"
    made = "\n".join(lines or [NONE_YET])
    return re.sub(pattern, lambda match: match[1] + made + "\n" + match[2], text, flags=re.DOTALL)


def headline_rows() -> dict[World, pd.DataFrame]:
    """Rows of the headline of each world that has any."""
    found: dict[World, pd.DataFrame] = {}
    for world in WORLDS:
        rows = gathered(f"{world}-headline")
        if len(rows):
            found[world] = rows
    return found


def counted(plan: str, rows: pd.DataFrame) -> str:
    """How many chains there are, and how many there will be."""
    taught = rows[rows["role"] != "base"]  # what bases do is shown whichever chain they were measured in
    there, planned = len(set((taught if len(taught) else rows)["chain"])), load().chains.number[plan]
    return f"{there} chains" if there >= planned else f"the first {there} of {planned} chains"


def gathered(plan: str) -> pd.DataFrame:
    """All chains of a plan, with what other plans measured and a page shows next to them.

    Where the chains share their teachers, that is what teachers do and some cells, in chains of the same seeds. And it
    is what the bases do that its students start from, which are the same models in every chain.
    """
    own: Any = read(FOLDER / plan)
    known = plans(load())[plan]
    if not len(own) or not known.cells:
        return own
    asked, sizes = {each.asked for each in known.shown}, {*known.sizes, *(each.size for each in known.shown)}
    parts = [own]
    for shared in (_headline(plan, known), read(FOLDER / f"{known.world}-bases")):
        if len(shared):
            here: Any = shared[shared["chain"].isin(list(own["chain"].unique())) | (shared["role"] == "base")]
            students = here["role"] == "student"
            beside = students & pd.MultiIndex.from_frame(here[list(Cell._fields)]).isin(known.beside)
            said = beside | (~students & here["carrier"].isin(asked) & here["size"].isin(sizes))
            parts.insert(0, here[said])
    found: Any = _in_order(pd.concat(parts, ignore_index=True), known)
    started = found["base"].isin(list(found[found["role"] == "student"]["base"].unique()))
    return found[started | (found["role"] != "base")].reset_index(drop=True)


def trained(plan: str) -> pd.DataFrame:
    """What was said of data and training in a plan's chains, and of the students that a page shows next to its own."""
    own: Any = read(FOLDER / plan, "training")
    known = plans(load())[plan]
    shared: Any = _headline(plan, known, "training") if known.beside else own[:0]
    if not len(own) or not len(shared):
        return own
    here = shared[(shared["what"] == "student") & shared["chain"].isin(list(own["chain"].unique()))]
    beside = pd.MultiIndex.from_frame(here[list(Cell._fields)]).isin(known.beside)
    return _in_order(pd.concat([here[beside], own], ignore_index=True), known)


def _headline(plan: str, known: Plan, kind: str = "chain") -> Any:
    """What the headline's chains say next to a plan's own: of the models and data that its students come from."""
    if not known.shares:
        return pd.DataFrame()
    first: Any = read(FOLDER / known.shares, kind)
    again: Any = read(FOLDER / f"{known.shares}{AGAIN}", kind)
    if plan in BEFORE or not len(again):
        return first
    return pd.concat([first[~first["chain"].isin(again["chain"])], again], ignore_index=True)


def _in_order(rows: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Students in the order of the plan's cells, after everything else."""
    told: Any = rows[list(Cell._fields)]
    cells = pd.MultiIndex.from_frame(told)
    places = pd.MultiIndex.from_tuples(plan.shown, names=Cell._fields).get_indexer(cells)
    ordered: Any = rows.iloc[places.argsort(kind="stable")]
    return ordered.reset_index(drop=True)


def written() -> dict[Path, str]:
    """Every page that is made, with its text."""
    pages = {README: readme(README.read_text(encoding="utf-8"))}
    if measured := carriers.read_rows():
        pages[FOLDER / "carriers.md"] = carriers.page(measured)
    for plan in load().chains.number:
        rows = gathered(plan)
        if len(rows):
            pages[FOLDER / f"{plan}.md"] = page(plan, rows, trained(plan))
    return pages | {FOLDER / "README.md": index(pages)}


def dots(rows: pd.DataFrame, measure: str) -> dict[str, Any]:
    """What a figure shows: by cell and initialisation, each chain's difference."""
    return {f"{cell}, {init}": values for (cell, init), values in differences(rows, measure=measure).items()}


def single_dots(rows: pd.DataFrame, measure: str) -> dict[str, Any]:
    """What a figure shows where no students are compared: by cell, each chain's value; of bases, base by base."""
    shown = {key: each for key, each in by_chain(rows, "student", measure).items() if key[3] == "ambiguous"}
    if shown:
        return {f"{cell}, student of the {arm} teacher": each for (cell, _, arm, _), each in shown.items()}
    return {
        f"base {base}, {cell}": each
        for base, own in rows.groupby("base")
        for (cell, _, _, split), each in by_chain(own, "base", measure).items()
        if split == "ambiguous"
    }


def figures_of(rows: pd.DataFrame) -> dict[str, Figure]:
    """A plan's figures, by the ends of their names."""
    found: dict[str, Figure] = {}
    pairs, students = differences(rows), bool((rows["role"] == "student").any())
    for name, (measure, scale) in FIGURES.items():
        of_pairs, of_one = UNITS[name]
        if pairs:
            found[name] = Figure(dots(rows, measure), of_pairs, scale)
        elif cells := single_dots(rows, measure):
            found[name] = Figure(cells, of_one, scale, "a dot is a chain's tasks", interval=students)
    return found


class Figure(NamedTuple):
    """Each chain as a dot, the mean and its interval next to it.

    Attributes:
        cells: From :func:`dots` or :func:`single_dots`.
        label: What is shown, and its unit.
        scale: By which the values are brought to that unit.
        dot: What a dot is.
        interval: Whether dots are of independent models, so that there is an interval.
    """

    cells: Mapping[str, Any]
    label: str
    scale: float
    dot: str = COMPARED
    interval: bool = True

    @property
    def digest(self) -> str:
        """What it shows, in a few digits: drawn again by another matplotlib it is another file of the same digest."""
        shown = {cell: [round(float(self.scale * each), 9) for each in values] for cell, values in self.cells.items()}
        told = [self.label, shown, *([] if self.dot == COMPARED else [self.dot])]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]

    def is_in(self, file: Path) -> bool:
        """Whether ``file`` shows this."""
        return file.is_file() and f"<dc:description>{self.digest}</dc:description>" in file.read_text(encoding="utf-8")

    def draw(self, file: Path) -> None:
        """Write it to ``file``."""
        import matplotlib as mpl

        mpl.use("svg")
        from matplotlib import pyplot as plt

        # Equal data give equal files.
        mpl.rcParams["svg.hashsalt"] = "agentsafe_envs"
        figure, axes = plt.subplots(figsize=(7, 0.4 * len(self.cells) + 1.2), layout="constrained")
        for place, values in enumerate(self.cells.values()):
            each = effect(list(values))
            axes.plot(self.scale * values, [place] * len(values), "o", color="tab:gray", alpha=0.6)
            if self.interval and each.low is not None and each.high is not None:
                ends = [self.scale * each.low, self.scale * each.high]
                axes.plot(ends, [place - 0.2] * 2, color="tab:red", linewidth=2)
            axes.plot(self.scale * each.estimate, place - 0.2, "D", color="tab:red", markersize=5)
        if self.dot == COMPARED:
            axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(self.cells)), list(self.cells))
        axes.invert_yaxis()
        figure.supxlabel(f"{self.label}\n{self.dot}", fontsize=10)
        figure.savefig(file, metadata={"Date": None, "Description": self.digest})
        plt.close(figure)


def drawn() -> dict[Path, Figure]:
    """Every figure that is made."""
    figures: dict[Path, Figure] = {}
    for plan in load().chains.number:
        rows = gathered(plan)
        if len(rows):
            figures |= {FOLDER / f"{plan}-{name}.svg": each for name, each in figures_of(rows).items()}
    measure, scale = FIGURES["margin"]
    worlds = {world: dots(rows, measure) for world, rows in headline_rows().items()}
    if worlds:
        cells = {f"{world}: {cell}": each for world, own in worlds.items() for cell, each in own.items()}
        shown = {cell: each for cell, each in cells.items() if EXCESS not in cell}
        figures[FOLDER / HEADLINE_FIGURE] = Figure(shown, UNITS["margin"][0], scale)
    return figures


def main(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if a page or figure is stale.")] = False,
) -> None:
    """Make every page and figure from the committed chains."""
    pages, figures = written(), drawn()
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
    typer.run(main)
