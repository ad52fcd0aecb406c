"""Stage 6: the committed rows of a plan, with those of other plans that a page shows next to them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from baselines.contrasts import read
from baselines.plans import Cell, Plan, plans
from baselines.protocol import load

RESULTS = Path(__file__).with_name("results")
"""Folders of rows, one a plan, and the pages made of them."""

FIRST_PAGE = ("cloud-headline", "bash-headline")
"""Plans that README.md shows."""


def gathered(plan: str) -> pd.DataFrame:
    """All chains of a plan, with what other plans measured and a page shows next to them.

    Where the chains share their teachers, that is what teachers do and some cells, in chains of the same seeds. And it
    is what the bases do that its students start from, which are the same models in every chain.
    """
    own: Any = read(RESULTS / plan)
    known = plans(load())[plan]
    if not len(own) or not known.cells:
        return own
    asked, sizes = {each.asked for each in known.shown}, {*known.sizes, *(each.size for each in known.shown)}
    parts = [own]
    for shared in (_headline(known), read(RESULTS / f"{known.world}-bases")):
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
    own: Any = read(RESULTS / plan, "training")
    known = plans(load())[plan]
    shared: Any = _headline(known, "training") if known.beside else own[:0]
    if not len(own) or not len(shared):
        return own
    here = shared[(shared["what"] == "student") & shared["chain"].isin(list(own["chain"].unique()))]
    beside = pd.MultiIndex.from_frame(here[list(Cell._fields)]).isin(known.beside)
    return _in_order(pd.concat([here[beside], own], ignore_index=True), known)


def _headline(plan: Plan, kind: str = "chain") -> Any:
    """What the headline's chains say next to a plan's own: of the models and data that its students come from."""
    return read(RESULTS / plan.shares, kind) if plan.shares else pd.DataFrame()


def _in_order(rows: pd.DataFrame, plan: Plan) -> pd.DataFrame:
    """Students in the order of the plan's cells, after everything else."""
    told: Any = rows[list(Cell._fields)]
    cells = pd.MultiIndex.from_frame(told)
    places = pd.MultiIndex.from_tuples(plan.shown, names=Cell._fields).get_indexer(cells)
    ordered: Any = rows.iloc[places.argsort(kind="stable")]
    return ordered.reset_index(drop=True)


def all_gathered() -> dict[str, pd.DataFrame]:
    """Rows of every plan of the protocol that has any."""
    found = {plan: gathered(plan) for plan in load().chains.number}
    return {plan: rows for plan, rows in found.items() if len(rows)}


def first_page(there: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Those of them that README.md shows."""
    return {plan: there[plan] for plan in FIRST_PAGE if plan in there}


def counted(plan: str, rows: pd.DataFrame) -> str:
    """How many chains there are, and how many there will be."""
    taught = rows[rows["role"] != "base"]  # what bases do is shown whichever chain they were measured in
    there, planned = len(set((taught if len(taught) else rows)["chain"])), load().chains.number[plan]
    return f"{there} chains" if there >= planned else f"{there} of {planned} chains"
