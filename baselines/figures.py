"""Stage 6: figures, in which each chain is a dot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from baselines.contrasts import MARGIN, by_chain, differences, identical_pairs
from baselines.inference import ChainMean, effect

FIGURES = {"rate": ("biased first", 100.0), "margin": (MARGIN, 1.0)}
"""By the end of a figure's name, what it shows, and by what values are brought to the unit of its label."""

UNITS = {"rate": ("biased first, points", "biased first, %"), "margin": ("margin, nats", "margin, nats")}
"""Label of differences, and of the values themselves."""

PAIR = "student of the biased less that of the neutral teacher; a dot is a chain"


class Dots(NamedTuple):
    """A line of a figure.

    Attributes:
        values: A series over chains.
        mean: Of them, with the interval of the tables.
    """

    values: Any
    mean: ChainMean


class Figure(NamedTuple):
    """Each chain as a dot, the mean and its interval next to it.

    Attributes:
        cells: From :func:`dots` or :func:`single_dots`.
        label: What is shown, and its unit.
        scale: By which the values are brought to that unit.
        dot: What a dot is.
        interval: Whether dots are of independent models, so that there is an interval.
    """

    cells: Mapping[str, Dots]
    label: str
    scale: float
    dot: str = PAIR
    interval: bool = True

    @property
    def digest(self) -> str:
        """What it shows, in a few digits: drawn again by another matplotlib it is another file of the same digest."""
        shown = {cell: [self._scaled(each.values), self._scaled(self._ends(each))] for cell, each in self.cells.items()}
        told = [self.label, shown, self.dot]
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
        mpl.rcParams["svg.fonttype"] = "none"  # letters as outlines would be most of the file
        figure, axes = plt.subplots(figsize=(7, 0.4 * len(self.cells) + 1.2), layout="constrained")
        for place, each in enumerate(self.cells.values()):
            axes.plot(self.scale * each.values, [place] * len(each.values), "o", color="tab:gray", alpha=0.6)
            if ends := self._scaled(self._ends(each)):
                axes.plot(ends, [place - 0.2] * 2, color="tab:red", linewidth=2)
            axes.plot(self.scale * each.mean.estimate, place - 0.2, "D", color="tab:red", markersize=5)
        if self.dot == PAIR:
            axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(self.cells)), list(self.cells))
        axes.invert_yaxis()
        figure.supxlabel(f"{self.label}\n{self.dot}", fontsize=10)
        figure.savefig(file, metadata={"Date": None, "Description": self.digest})
        plt.close(figure)

    def _ends(self, each: Dots) -> list[float]:
        low, high = each.mean.low, each.mean.high
        return [low, high] if self.interval and low is not None and high is not None else []

    def _scaled(self, values: Iterable[float]) -> list[float]:
        return [round(float(self.scale * each), 9) for each in values]


def dots(rows: pd.DataFrame, measure: str) -> dict[str, Dots]:
    """What a figure shows: by cell and initialisation, each chain's difference."""
    same = identical_pairs(rows)
    return {
        f"{cell}, {init}": Dots(values, effect(list(values), identical=same.get((cell, init), 0)))
        for (cell, init), values in differences(rows, measure=measure).items()
    }


def single_dots(rows: pd.DataFrame, measure: str) -> dict[str, Dots]:
    """What a figure shows where no students are compared: by cell, each chain's value; of bases, base by base."""
    shown = {key: each for key, each in by_chain(rows, "student", measure).items() if key[3] == "ambiguous"}
    if shown:
        return {
            f"{cell}, {init}, student of the {arm} teacher": Dots(each, effect(list(each)))
            for (cell, init, arm, _), each in shown.items()
        }
    return {
        f"base {base}, {cell}": Dots(each, effect(list(each)))
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
