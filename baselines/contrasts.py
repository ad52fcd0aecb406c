"""From the rows of chains to one number a chain: shares, margins, and the differences between them.

Everything that is counted over tasks is averaged within its chain here; :mod:`baselines.inference` says what
several chains show.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from baselines.notes import Carrier
from baselines.plans import STARTS, Cell, context_of
from baselines.protocol import load

MEASURES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "biased first": lambda rows: rows["first"] == "biased",
    "acted": lambda rows: rows["first"] != "none",
    "unsafe": lambda rows: rows["unsafe"],
    "success": lambda rows: rows["success"],
    "broke the rule": lambda rows: rows["override"],
}
"""What is said of an episode, yes or no."""

MARGIN = "margin"
"""What is said of a task where probabilities were read, in nats, see :mod:`baselines.margins`."""

VARIED = tuple(name for name in Cell._fields if name not in ("loss", "carrier", "init"))
"""What may be varied next to loss, carrier and initialisation."""

COMPARED = ("biased", "neutral")
"""Teachers whose students the endpoint compares."""

EXCESS = "same - other"
"""In place of an initialisation: how much more there is with the teacher's."""

ByChain = dict[tuple[str, ...], Any]
"""By what tells models and tasks apart, a series over chains."""


def read(folder: Path, kind: str = "chain") -> pd.DataFrame:
    """All chains of a folder, in order; no rows if there are none.

    Args:
        folder: Of one plan.
        kind: ``"chain"`` for episodes, ``"training"`` for what was said of data and training.
    """
    files = sorted(folder.glob(f"{kind}-*.parquet"))
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True) if files else pd.DataFrame()


def labelled(rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with a column ``cell``: what tells a model from others but for teacher, initialisation and chain.

    For instance ``"sft, notes-60"`` and, where adapters are varied, ``"sft, notes-60, rank 2"``. Bases and
    teachers have no loss, so theirs is what they are asked for: ``"notes-60"``, with the size where there are several.
    """
    students: Any = rows[rows["role"] == "student"]
    varied = [name for name in VARIED if name in rows.columns and students[name].nunique() > 1]
    size: Any = rows.get("size", pd.Series(dtype=str))
    sizes = ["size"] if size.nunique() > 1 else []

    def name(row: Any) -> str:
        own = [row["carrier"]] if row["role"] != "student" else [row["loss"], row["carrier"]]
        further = varied if row["role"] == "student" else sizes
        return ", ".join([*own, *(f"{each} {_shown(row[each])}" for each in further)])

    columns = list(dict.fromkeys(["role", "loss", "carrier", *varied, *sizes]))
    known: Any = rows[columns].drop_duplicates()
    known["cell"] = known.apply(name, axis=1) if len(known) else []
    return rows.merge(known, on=columns, how="left")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value) or "usual"


def by_chain(rows: pd.DataFrame, role: str, measure: str) -> ByChain:
    """Share of episodes, or mean margin, by cell, initialisation, arm and split.

    Args:
        rows: Of any number of chains of one plan.
        role: ``"base"``, ``"teacher"`` or ``"student"``.
        measure: One of :data:`MEASURES`, or :data:`MARGIN`.
    """
    named = labelled(rows)
    values = named[MARGIN] if measure == MARGIN else MEASURES[measure](named).astype(float)
    chosen: Any = named.assign(value=values)[(named["role"] == role) & values.notna()]
    told = ["cell", "init", "arm", "split"]
    means = chosen.groupby([*told, "chain"], sort=False)["value"].mean()
    found: dict[tuple[str, ...], dict[int, float]] = {}
    for (*key, chain), mean in zip(means.index, means, strict=True):
        found.setdefault(tuple(key), {})[chain] = mean
    return {key: pd.Series(values, name="value").rename_axis("chain").sort_index() for key, values in found.items()}


def differences(
    rows: pd.DataFrame, role: str = "student", measure: str = "biased first", split: str = "ambiguous"
) -> ByChain:
    """By cell and initialisation, each chain's difference on the tasks of ``split``: biased less neutral.

    Where there are students of both initialisations, the difference of the two stands there as :data:`EXCESS`.
    """
    shares = by_chain(rows, role, measure)
    found: ByChain = {}
    for cell, init in dict.fromkeys(key[:2] for key in shares):
        biased, neutral = (shares.get((cell, init, arm, split)) for arm in COMPARED)
        if biased is not None and neutral is not None:
            found[cell, init] = biased.sub(neutral).dropna()
        if {(cell, start) for start in STARTS} <= found.keys():
            found[cell, EXCESS] = (found[cell, "same"] - found[cell, "other"]).dropna()
    return found


def starts_of(init: str) -> tuple[str, ...]:
    """The initialisations whose students stand behind a number: both behind the excess of one over the other."""
    return STARTS if init == EXCESS else (init,)


def collapsed(rows: pd.DataFrame, acts: float) -> set[tuple[str, ...]]:
    """Cells and initialisations whose endpoint says nothing: students act too seldom, on the mean over chains.

    Students of the control teachers are no part of the endpoint.
    """
    shares = by_chain(rows, "student", "acted")
    return {
        (cell, init)
        for (cell, init, arm, split), each in shares.items()
        if arm in COMPARED and split == "ambiguous" and each.mean() < acts
    }


def collapsed_bases(rows: pd.DataFrame, acts: float) -> dict[tuple[str, ...], list[str]]:
    """By cell and initialisation, the bases whose own students :func:`collapsed`."""
    taught: Any = rows[rows["role"] == "student"]
    found: dict[tuple[str, ...], list[str]] = {}
    for base, own in taught.groupby("base"):
        for key in collapsed(own, acts):
            found.setdefault(key, []).append(str(base))
    return found


def seldom(rows: pd.DataFrame, acts: float) -> dict[tuple[str, ...], tuple[int, int]]:
    """By cell and initialisation, how many single students act too seldom, and of how many."""
    found: dict[tuple[str, ...], tuple[int, int]] = {}
    for key, each in by_chain(rows, "student", "acted").items():
        if key[3] == "ambiguous":
            few, all_of_them = found.get(key[:2], (0, 0))
            found[key[:2]] = few + int((each < acts).sum()), all_of_them + len(each)
    return found


def identical_pairs(rows: pd.DataFrame) -> dict[tuple[str, ...], int]:
    """By cell and initialisation, in how many chains the students of both teachers did the same in every episode.

    Such students learnt from the same data: there was nothing in it by which to tell the teachers apart. Of
    :data:`EXCESS` it is the chains in which that is so of either initialisation.
    """
    named: Any = labelled(rows)
    told = [name for name in ("first", "unsafe", "success", "override", MARGIN) if name in named]
    episode = ["cell", "init", "chain", "split", "task"]
    students = named[named["role"] == "student"]
    one, other = (students[students["arm"] == arm].set_index(episode)[told] for arm in COMPARED)
    one, other = one.align(other)  # what only one of them played stands next to a gap, which is unequal
    equal = (one.eq(other) | (one.isna() & other.isna())).all(axis=1)
    pairs = equal.groupby(level=episode[:3]).all()
    either = pairs.groupby(level=["cell", "chain"]).any().groupby(level="cell").sum()
    found = pairs.groupby(level=episode[:2]).sum().to_dict()
    return found | {(cell, EXCESS): number for cell, number in either.items()}


def asked_of(rows: pd.DataFrame) -> dict[str, Carrier]:
    """By students' cell, which notes they are asked for. Base and teacher next to them are to be asked for the same."""
    named: Any = labelled(rows)
    told = [name for name in ("carrier", "defence") if name in named]
    students = named[named["role"] == "student"].drop_duplicates(["cell"])
    return {cell: context_of(*how) for cell, *how in students[["cell", *told]].itertuples(index=False, name=None)}


def teachers_of(rows: pd.DataFrame) -> dict[str, str]:
    """By students' cell, the size of its teacher; empty for the protocol's."""
    named: Any = labelled(rows)
    students = named[named["role"] == "student"].drop_duplicates(["cell"])
    return dict(zip(students["cell"], students.get("teacher", pd.Series("", students.index)), strict=True))


def controls(rows: pd.DataFrame) -> ByChain:
    """By cell, initialisation and what is compared, each chain's difference in BIASED first on ambiguous tasks.

    A base is one model, the same in every chain that starts from it, so all that was measured of it counts in each, and
    what chains show holds for this base. A student is compared with the base that it was made of, asked for the same
    notes. A larger student is grown out of the small base, and starts from what that one does.
    """
    named: Any = labelled(rows)
    open_tasks = named[named["split"] == "ambiguous"]
    asked, students = asked_of(rows), by_chain(rows, "student", "biased first")
    bases = open_tasks[open_tasks["role"] == "base"]
    bases = bases[bases["size"] == load().models.size] if "size" in bases else bases
    shares = (bases["first"] == "biased").groupby([bases["carrier"], bases["base"]]).mean().to_dict()
    starts = open_tasks[open_tasks["role"] == "student"].drop_duplicates(["cell", "init", "chain"])
    started: dict[tuple[str, str], dict[int, Any]] = {}
    for cell, init, chain, base in starts[["cell", "init", "chain", "base"]].itertuples(index=False, name=None):
        started.setdefault((cell, init), {})[chain] = shares.get((asked[cell], base))
    found: ByChain = {}
    for cell, init in dict.fromkeys(key[:2] for key in students):
        here = (cell, init)
        own = {arm: each for (*kind, arm, split), each in students.items() if (*kind, split) == (*here, "ambiguous")}
        if None not in started[cell, init].values():
            own["base"] = pd.Series(started[cell, init])
        for left, right in (("benign", "neutral"), ("random_benign", "neutral"), ("neutral", "base")):
            if left in own and right in own:
                found[cell, init, f"{left} - {right}"] = own[left].sub(own[right]).dropna()
    return found


def scenarios(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows by the scenario of their task."""
    parts: Any = rows.groupby(rows["template"].str.partition("/")[0])
    return dict(iter(parts))
