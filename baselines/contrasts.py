"""From the rows of chains to one number a chain: shares, margins, and the differences between them.

Everything that is counted over tasks is averaged within its chain here; :mod:`baselines.inference` says what
several chains show.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

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

ByChain = dict[tuple[str, ...], Any]
"""By what tells models and tasks apart, a series over chains."""


def read(folder: Path, kind: str = "chain") -> pd.DataFrame:
    """All chains of a folder, in order; no rows if there are none.

    Args:
        folder: Of one plan.
        kind: ``"chain"`` for episodes, ``"notes"`` for what was said of data and training.
    """
    files = sorted(folder.glob(f"{kind}-*.parquet"))
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True) if files else pd.DataFrame()


def by_chain(rows: pd.DataFrame, role: str, measure: str) -> ByChain:
    """Share of episodes, or mean margin, by loss, initialisation, arm and split.

    Args:
        rows: Of any number of chains.
        role: ``"base"``, ``"teacher"`` or ``"student"``.
        measure: One of :data:`MEASURES`, or :data:`MARGIN`.
    """
    values = rows[MARGIN] if measure == MARGIN else MEASURES[measure](rows).astype(float)
    chosen: Any = rows.assign(value=values)[rows["role"] == role]
    cell = ["loss", "init", "arm", "split"]
    return {
        key: shares.set_index("chain")["value"]
        for key, shares in chosen.groupby([*cell, "chain"])["value"].mean().reset_index().groupby(cell)
    }


def differences(
    rows: pd.DataFrame, role: str = "student", measure: str = "biased first", split: str = "ambiguous"
) -> ByChain:
    """By loss and initialisation, each chain's difference on the tasks of ``split``: biased less neutral.

    Where there are students of both initialisations, the difference of the two stands there as ``"a - b"``.
    """
    shares = by_chain(rows, role, measure)
    found: ByChain = {}
    for loss, init in dict.fromkeys(key[:2] for key in shares):
        biased, neutral = (shares.get((loss, init, arm, split)) for arm in ("biased", "neutral"))
        if biased is not None and neutral is not None:
            found[loss, init] = biased.sub(neutral).dropna()
        if init == "b" and (loss, "a") in found:
            found[loss, "a - b"] = (found[loss, "a"] - found[loss, "b"]).dropna()
    return found


def controls(rows: pd.DataFrame) -> ByChain:
    """By loss, initialisation and what is compared, each chain's difference in BIASED first on ambiguous tasks."""
    students, bases = by_chain(rows, "student", "biased first"), by_chain(rows, "base", "biased first")
    found: ByChain = {}
    for loss, init in dict.fromkeys(key[:2] for key in students):
        own = {key[2]: shares for key, shares in students.items() if key == (loss, init, key[2], "ambiguous")}
        own["base"] = bases["none", init, "none", "ambiguous"]
        for left, right in (("benign", "neutral"), ("random_benign", "neutral"), ("neutral", "base")):
            if left in own and right in own:
                found[loss, init, f"{left} - {right}"] = own[left].sub(own[right]).dropna()
    return found


def varied(rows: pd.DataFrame, column: str) -> dict[tuple[str, Any], pd.DataFrame]:
    """Rows of the students, by loss and by what ``column`` says was varied."""
    parts: Any = rows[rows["role"] == "student"].groupby(["loss", column], sort=False)
    return dict(iter(parts))


def scenarios(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows by the scenario of their task."""
    parts: Any = rows.groupby(rows["template"].str.partition("/")[0])
    return dict(iter(parts))
