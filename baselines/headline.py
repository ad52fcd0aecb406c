"""What the chains of a headline show, in a word for each cell, in sentences, and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from agentsafe_envs.stats.power import ALPHA
from baselines.contrasts import (
    EXCESS,
    MARGIN,
    by_chain,
    collapsed,
    collapsed_bases,
    differences,
    identical_pairs,
    seldom,
    starts_of,
)
from baselines.inference import ChainMean, effect
from baselines.plans import plans
from baselines.protocol import World, load
from baselines.tables import nats, nats_or_dash, points, points_or_dash, table, tested

PASSES = "passes"
"""Rate or margin lies above 0 by Holm's p."""

SUGGESTED = "suggested"
"""It lies above 0 by an interval that is not corrected: of few chains, or of no primary cell. No base has collapsed."""

NOT_SHOWN = "not shown"
COLLAPSED = "collapsed"


class Headline(NamedTuple):
    """What the chains of a cell show, from one initialisation or as the excess of one over the other.

    Attributes:
        cell: Loss and carrier.
        init: Where students start, or :data:`baselines.contrasts.EXCESS`.
        finding: :data:`PASSES`, :data:`SUGGESTED`, :data:`NOT_SHOWN` or :data:`COLLAPSED`.
        rate: Difference in biased first.
        margin: Difference in margin.
        by: What passes, or is suggested: rate, margin or both, with the corrected p where there is one.
    """

    cell: str
    init: str
    finding: str
    rate: ChainMean
    margin: ChainMean
    by: str


def headlines(rows: pd.DataFrame, acts: float) -> list[Headline]:
    """Every cell of a headline, from the teacher's initialisation, from another, and the excess of the first.

    Args:
        rows: Of its chains.
        acts: Share of ambiguous tasks below which students have collapsed.
    """
    found, adjusted = tested(rows, acts)
    fallen, in_part = collapsed(rows, acts), collapsed_bases(rows, acts)
    told = []
    for cell, init in differences(rows):
        keys = {name: (measure, cell, init) for name, measure in (("rate", "biased first"), ("margin", MARGIN))}
        by: list[str] = []
        if {(cell, start) for start in starts_of(init)} & fallen:
            finding = COLLAPSED
        elif any(key in adjusted for key in keys.values()):
            by = [
                f"{name} p = {adjusted[key]:.3f}"
                for name, key in keys.items()
                if found[key].estimate > 0 and adjusted[key] < ALPHA
            ]
            finding = PASSES if by else NOT_SHOWN
        else:
            # Students of a base that collapsed are half of such a number, so it suggests nothing.
            whole = not any((cell, start) in in_part for start in starts_of(init))
            by = [name for name, key in keys.items() if whole and (found[key].low or 0.0) > 0]
            finding = SUGGESTED if by else NOT_SHOWN
        told.append(Headline(cell, init, finding, found[keys["rate"]], found[keys["margin"]], " and ".join(by)))
    return told


def headline_sentences(told: Sequence[Headline]) -> str:
    """What passes, what is not shown, and of what nothing can be said; excess over a collapsed cell goes without."""
    said = []
    for finding in (PASSES, SUGGESTED, NOT_SHOWN, COLLAPSED):
        starts: dict[str, list[str]] = {}
        for each in told:
            if each.finding == finding and (finding, each.init) != (COLLAPSED, EXCESS):
                starts.setdefault(each.cell, []).append(f"{each.init}: {each.by}" if each.by else each.init)
        if starts:
            cells = (f"`{cell.replace(', ', ' on ')}` ({'; '.join(each)})" for cell, each in starts.items())
            said.append(f"**{finding}** {', '.join(cells)}")
    return "; ".join(said) + "."


def headline_table(
    shown: Mapping[str, pd.DataFrame], acts: float, rooms: Mapping[tuple[World, str], str] | None = None
) -> list[str]:
    """The endpoint in the form of the paper's table: student, and what it would have done anyway.

    Args:
        shown: Rows by plan.
        acts: See :func:`headlines`.
        rooms: By world and carrier, what it was measured to hold.
    """
    lines = []
    for plan, rows in shown.items():
        world = plans(load())[plan].world
        students = by_chain(rows, "student", "biased first")
        told = headlines(rows, acts)
        same, few, in_part = identical_pairs(rows), seldom(rows, acts), collapsed_bases(rows, acts)
        excess = {each.cell: each for each in told if each.init == EXCESS}
        for each in told:
            if each.init == EXCESS:
                continue
            key = each.cell, each.init
            shares = [effect(list(students[*key, arm, "ambiguous"])) for arm in ("biased", "neutral")]
            remarks = [
                *([f"{same[key]} of {each.rate.n} pairs identical"] if same[key] else []),
                *([f"{few[key][0]} of {few[key][1]} act too seldom"] if few[key][0] else []),
                *(f"base {base} collapsed" for base in in_part.get(key, ()) if each.finding != COLLAPSED),
            ]
            more = excess.get(each.cell) if each.init == "same" else None
            lines.append(
                [
                    f"{world}, `{each.cell}`, {each.init}",
                    ", ".join([f"{each.finding} ({each.by})" if each.by else each.finding, *remarks]),
                    (rooms or {}).get((world, each.cell.split(", ")[1]), "-"),
                    ", ".join(f"{100 * share.estimate:.1f}" for share in shares),
                    points(each.rate),
                    points_or_dash(each.rate.detectable),
                    nats(each.margin),
                    nats_or_dash(each.margin.detectable),
                    "-" if more is None else COLLAPSED if more.finding == COLLAPSED else nats(more.margin),
                    str(each.rate.n),
                ]
            )
    heads = ["room: entropy, KL", "biased first: student, neutral's, %", "difference, points", "detectable"]
    heads += ["margin, nats", "detectable", "more than other, nats", "chains"]
    return table(["world, loss, carrier, initialisation", "finding"], heads, lines)
