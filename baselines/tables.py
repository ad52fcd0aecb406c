"""The tables of ``baselines/README.md``, as lines of Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.stats.significance import holm
from baselines.contrasts import MARGIN, MEASURES, by_chain, controls, differences, scenarios, varied
from baselines.inference import CONFIRMATORY, Transition, effect, transfer_ratio

PRIMARY = ("a", "a - b")
"""Initialisations of the primary endpoint: the teacher's, and what it has over another; corrected together."""

BESIDE = (
    ("ambiguous", "unsafe"),
    ("ambiguous", "acted"),
    ("forbidden", "broke the rule"),
    ("required", "success"),
    ("safe", "success"),
)
"""Split and measure of the differences that stand beside the endpoint."""

STANDING = (("ambiguous", "biased first"), *BESIDE[1:])
"""Split and measure of what is said of a single model."""

_STANDING_HEADS = [f"{measure}, {split}" for split, measure in STANDING]


def summary_table(rows: pd.DataFrame) -> list[str]:
    """The endpoint in the form of the paper's table: student, and what it would have done anyway."""
    students, bases = by_chain(rows, "student", "biased first"), by_chain(rows, "base", "biased first")
    lines = []
    for (loss, init), values in differences(rows).items():
        if init == "a - b":
            continue
        each = effect(list(values))
        shares = [students[loss, init, arm, "ambiguous"] for arm in ("biased", "neutral")]
        shown = [percent(effect(list(share))) for share in (*shares, bases["none", init, "none", "ambiguous"])]
        lines.append([f"`{loss}`, {init}", *shown, points(each), _points_or_dash(each.detectable), str(each.n)])
    heads = ["student, %", "neutral teacher's, %", "its base, %", "student - neutral's, points", "detectable", "chains"]
    return table(["loss, init"], heads, lines)


def endpoint_table(rows: pd.DataFrame) -> list[str]:
    """The primary endpoint: differences in percentage points, over chains."""
    found = {cell: effect(list(values), test=len(values) >= CONFIRMATORY) for cell, values in differences(rows).items()}
    primary = [cell for cell, each in found.items() if cell[1] in PRIMARY and each.p is not None]
    adjusted = dict(zip(primary, holm([found[cell].p or 0.0 for cell in primary]), strict=True))
    lines = []
    for (loss, init), each in found.items():
        p = "-" if each.p is None else f"{each.p:.3f}"
        corrected = f"{adjusted[loss, init]:.3f}" if (loss, init) in adjusted else "-"
        ratio = _passed_on(rows, loss, init)
        lines.append([loss, init, points(each), p, corrected, _points_or_dash(each.detectable), ratio, str(each.n)])
    heads = ["biased - neutral, points", "p", "p, Holm", "detectable, points", "unsafe passed on", "chains"]
    return table(["loss", "init"], heads, lines)


def scenarios_table(rows: pd.DataFrame, without: str) -> list[str]:
    """The endpoint scenario by scenario, beside what bases do there, and over all but the scenario ``without``."""
    parts = {**scenarios(rows), f"all but {without}": rows[~rows["template"].str.startswith(f"{without}/")]}
    cells = [cell for cell in differences(rows) if cell[1] != "a - b"]
    inits = list(dict.fromkeys(init for _, init in cells))
    lines = []
    for name, part in parts.items():
        bases, found = by_chain(part, "base", "biased first"), differences(part)
        shares = [percent(effect(list(bases["none", init, "none", "ambiguous"]))) for init in inits]
        lines.append([name, *shares, *(points(effect(list(found[cell]))) for cell in cells)])
    heads = [*(f"base {init}, %" for init in inits), *(f"{loss}, {init}, points" for loss, init in cells)]
    return table(["scenario"], heads, lines)


def beside_table(rows: pd.DataFrame) -> list[str]:
    """Differences beside the endpoint, in percentage points: what else the teacher's habit changed."""
    found = [differences(rows, measure=measure, split=split) for split, measure in BESIDE]
    lines = [[*cell, *(points(effect(list(each[cell]))) for each in found)] for cell in found[0]]
    return table(["loss", "init"], [f"{measure}, {split}" for split, measure in BESIDE], lines)


def controls_table(rows: pd.DataFrame) -> list[str]:
    """What distils without a habit: differences between students that should differ in nothing."""
    lines = []
    for key, values in controls(rows).items():
        each = effect(list(values))
        lines.append([*key, points(each), _points_or_dash(each.detectable), str(each.n)])
    return table(["loss", "init", "compared"], ["difference, points", "detectable, points", "chains"], lines)


def teachers_table(rows: pd.DataFrame) -> list[str]:
    """What the teachers themselves do on each split."""
    shares = {measure: by_chain(rows, "teacher", measure) for measure in MEASURES}
    lines = []
    for arm in dict.fromkeys(rows["arm"][rows["role"] == "teacher"]):
        for split in SPLITS:
            cells = [percent(effect(list(each["none", "a", arm, split]))) for each in shares.values()]
            if split != "forbidden":
                cells[list(MEASURES).index("broke the rule")] = "-"
            lines.append([arm, split, *cells])
    return table(["teacher", "split"], list(MEASURES), lines)


def bases_table(rows: pd.DataFrame) -> list[str]:
    """What bases of all sizes do; chains of one base differ in how it was sampled, and in nothing else."""
    bases: Any = rows[rows["role"] == "base"].groupby(["size", "init"], sort=False)
    lines = []
    for (size, init), part in bases:
        cells, chains = _standing(part, "base")["none", init, "none"]
        lines.append([size, init, *cells, str(chains)])
    return table(["size", "init"], [*_STANDING_HEADS, "chains"], lines)


def students_table(rows: pd.DataFrame) -> list[str]:
    """What bases and students do, on all splits."""
    lines = []
    for (loss, init, arm), (cells, chains) in (_standing(rows, "base") | _standing(rows, "student")).items():
        names = "base" if loss == "none" else loss, init, "-" if arm == "none" else arm
        lines.append([*names, *cells, str(chains)])
    return table(["loss", "init", "teacher"], [*_STANDING_HEADS, "chains"], lines)


def data_table(notes: pd.DataFrame) -> list[str]:
    """What the filter and the matching left, and how well students imitate it: means over chains."""
    means: Any = notes.groupby(["what", "arm"], sort=False).mean(numeric_only=True)
    lines = []
    for arm, data in means.loc["data"].iterrows():
        student = means.loc["student", arm]
        counts = (f"{data[name]:,.0f}" for name in ("played", "solved", "filtered_out", "kept"))
        lines.append([str(arm), *counts, f"{student['tokens']:,.0f}", f"{student['held_out']:.4f}"])
    heads = ["played", "solved", "filtered out", "kept", "tokens a student read", "held-out loss, nats a token"]
    return table(["teacher"], heads, lines)


def ablation_table(rows: pd.DataFrame, notes: pd.DataFrame, column: str) -> list[str]:
    """The endpoint of students of initialisation a, by what ``column`` says was varied, and how well they imitate."""
    held_out: Any = notes[notes["what"] == "student"].groupby(["loss", column])["held_out"].mean()
    lines = []
    for (loss, value), part in varied(rows, column).items():
        each = effect(list(differences(part)[loss, "a"]))
        lost = f"{held_out[loss, value]:.4f}"
        lines.append([loss, str(value), points(each), _points_or_dash(each.detectable), lost, str(each.n)])
    heads = ["biased - neutral, points", "detectable, points", "held-out loss, nats a token", "chains"]
    return table(["loss", column], heads, lines)


def ablation_students_table(rows: pd.DataFrame, column: str) -> list[str]:
    """What the students of an ablation do, on all splits."""
    lines = []
    for (loss, value), part in varied(rows, column).items():
        for (_, _, arm), (cells, chains) in _standing(part, "student").items():
            lines.append([loss, str(value), arm, *cells, str(chains)])
    return table(["loss", column, "teacher"], [*_STANDING_HEADS, "chains"], lines)


def margins_table(rows: pd.DataFrame) -> list[str]:
    """Margins of bases, teachers and students and the difference between arms, in nats, over chains."""
    heads = ["biased, nats", "neutral, nats", "biased - neutral, nats", "detectable, nats", "mass, %", "chains"]
    lines = []
    for (_, init, *_), values in by_chain(rows, "base", MARGIN).items():
        base = effect(list(values))
        lines.append(["base", init, "-", nats(base), "-", "-", _mass(rows, "base", "none", init), str(base.n)])
    for role in ("teacher", "student"):
        own = by_chain(rows, role, MARGIN)
        for (loss, init), values in differences(rows, role, MARGIN).items():
            each = effect(list(values))
            arms = [own.get((loss, init, arm, "ambiguous")) for arm in ("biased", "neutral")]
            shown = ["-" if arm is None else nats(effect(list(arm))) for arm in arms]
            detectable = "-" if each.detectable is None else f"{each.detectable:.2f}"
            mass = "-" if arms[0] is None else _mass(rows, role, loss, init)
            lines.append([loss if loss != "none" else role, init, *shown, nats(each), detectable, mass, str(each.n)])
    return table(["loss", "init"], heads, lines)


def table(labels: Sequence[str], heads: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """A table whose first columns, ``labels``, stand left, and whose others, ``heads``, stand right."""
    marks = ["---"] * len(labels) + ["---:"] * len(heads)
    return [f"| {' | '.join(line)} |" for line in ([*labels, *heads], marks, *lines)]


def percent(each: Transition) -> str:
    """``12.3 [10.1, 14.5]``, in percent."""
    return _interval(each, lambda value: f"{100 * min(max(value, 0), 1):.1f}")


def points(each: Transition) -> str:
    """``+2.1 [-0.3, +4.5]``, in percentage points."""
    return _interval(each, lambda value: f"{100 * value:+.1f}")


def nats(each: Transition) -> str:
    """``+0.21 [-0.03, +0.45]``, in nats."""
    return _interval(each, lambda value: f"{value:+.2f}")


def _interval(each: Transition, show: Callable[[float], str]) -> str:
    if each.low is None or each.high is None:
        return show(each.estimate)
    return f"{show(each.estimate)} [{show(each.low)}, {show(each.high)}]"


def _points_or_dash(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _mass(rows: pd.DataFrame, role: str, loss: str, init: str) -> str:
    """Mean probability of the calls that margins compare."""
    chosen = (rows["role"] == role) & (rows["loss"] == loss) & (rows["init"] == init)
    return f"{100 * rows['mass'][chosen].mean():.0f}"


def _standing(rows: pd.DataFrame, role: str) -> dict[tuple[str, str, str], tuple[list[str], int]]:
    """By loss, initialisation and arm: the cells of :data:`STANDING`, and the number of chains."""
    shares = [(by_chain(rows, role, measure), split) for split, measure in STANDING]
    found = {}
    for loss, init, arm in dict.fromkeys(key[:3] for key in shares[0][0]):
        series = [each[loss, init, arm, split] for each, split in shares]
        found[loss, init, arm] = [percent(effect(list(each))) for each in series], len(series[0])
    return found


def _passed_on(rows: pd.DataFrame, loss: str, init: str) -> str:
    """The transfer ratio of unsafe rates, in words where there is none."""
    students = differences(rows, measure="unsafe")[loss, init]
    teachers = differences(rows, "teacher", "unsafe")["none", "a"].reindex(students.index)
    ratio = transfer_ratio(list(students), list(teachers))
    return "not induced" if ratio is None else _interval(ratio, lambda value: f"{value:+.2f}")
