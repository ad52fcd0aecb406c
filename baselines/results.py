"""Stage 6: tables and figures from the committed chains.

Try it::

    python -m baselines.results            # rewrites baselines/README.md and baselines/results/*.svg
    python -m baselines.results --check    # changes nothing, fails if a table is stale
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.scoring.significance import holm
from baselines.inference import CONFIRMATORY, Effect, effect, transfer_ratio

FOLDER = Path(__file__).with_name("results")
PAGE = Path(__file__).with_name("README.md")

WHOLE = ("headline", "controls")
"""Plans whose chains have all their tables."""

ABLATIONS = ("dose", "size", "context")
"""Plans that vary one thing, after which they are called."""

MARGINS = "margins"
"""The plan whose rows hold probabilities, see :mod:`baselines.margins`."""

NONE_YET = "No chain has been run yet."

MEASURES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "biased first": lambda rows: rows["first"] == "biased",
    "acted": lambda rows: rows["first"] != "none",
    "unsafe": lambda rows: rows["unsafe"],
    "success": lambda rows: rows["success"],
    "broke the rule": lambda rows: rows["override"],
}

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


BASES = (("ambiguous", "biased first"), *BESIDE[1:])
"""Likewise, of what stands in the table of bases."""

Differences = dict[tuple[str, str], Any]
"""By loss and initialisation, a series over chains."""


def read(folder: Path, kind: str = "chain") -> pd.DataFrame:
    """All chains of a folder, in order; no rows if there are none."""
    files = sorted(folder.glob(f"{kind}-*.parquet"))
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True) if files else pd.DataFrame()


def by_chain(rows: pd.DataFrame, role: str, measure: str) -> dict[tuple[str, ...], Any]:
    """Share of episodes, or mean margin, by loss, init, arm and split: for each a series over chains."""
    values = rows["margin"] if measure == "margin" else MEASURES[measure](rows).astype(float)
    chosen: Any = rows.assign(value=values)[rows["role"] == role]
    cell = ["loss", "init", "arm", "split"]
    return {
        key: shares.set_index("chain")["value"]
        for key, shares in chosen.groupby([*cell, "chain"])["value"].mean().reset_index().groupby(cell)
    }


def teachers_table(rows: pd.DataFrame) -> list[str]:
    """What the teachers themselves do on each split."""
    lines = [
        "| teacher | split | biased first | acted | unsafe | success | broke the rule |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    tables = {measure: by_chain(rows, "teacher", measure) for measure in MEASURES}
    for arm in dict.fromkeys(rows["arm"][rows["role"] == "teacher"]):
        for split in SPLITS:
            cells = [percent(effect(list(table["none", "a", arm, split]))) for table in tables.values()]
            if split != "forbidden":
                cells[-1] = "-"
            lines.append(f"| {arm} | {split} | {' | '.join(cells)} |")
    return lines


def bases_table(rows: pd.DataFrame) -> list[str]:
    """What bases of all sizes do; chains of one base differ in how it was sampled, and in nothing else."""
    lines = [
        f"| size | init | {' | '.join(f'{measure}, {split}' for split, measure in BASES)} | chains |",
        f"| --- | --- | {' | '.join('---:' for _ in BASES)} | ---: |",
    ]
    bases: Any = rows[rows["role"] == "base"].groupby(["size", "init"], sort=False)
    for (size, init), part in bases:
        shares = [by_chain(part, "base", measure)["none", init, "none", split] for split, measure in BASES]
        cells = " | ".join(percent(effect(list(each))) for each in shares)
        lines.append(f"| {size} | {init} | {cells} | {len(shares[0])} |")
    return lines


def students_table(rows: pd.DataFrame) -> list[str]:
    """What bases and students do on ambiguous tasks, and whether they still solve harmless ones."""
    first, acted, success = (
        by_chain(rows, "base", measure) | by_chain(rows, "student", measure)
        for measure in ("biased first", "acted", "success")
    )
    lines = [
        "| loss | init | teacher | biased first | acted | success on safe | chains |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for loss, init, arm in (key[:3] for key in first if key[3] == "ambiguous"):
        ambiguous = (loss, init, arm, "ambiguous")
        shares = (first[ambiguous], acted[ambiguous], success[loss, init, arm, "safe"])
        cells = " | ".join(percent(effect(list(each))) for each in shares)
        names = "base" if loss == "none" else loss, init, "-" if arm == "none" else arm
        lines.append(f"| {' | '.join(names)} | {cells} | {len(first[ambiguous])} |")
    return lines


def beside_table(rows: pd.DataFrame) -> list[str]:
    """Differences beside the endpoint, in percentage points: what else the teacher's habit changed."""
    lines = [
        f"| loss | init | {' | '.join(f'{measure}, {split}' for split, measure in BESIDE)} |",
        f"| --- | --- | {' | '.join('---:' for _ in BESIDE)} |",
    ]
    found = [differences(rows, measure=measure, split=split) for split, measure in BESIDE]
    for loss, init in found[0]:
        cells = [points(effect(list(each[loss, init]))) for each in found]
        lines.append(f"| {loss} | {init} | {' | '.join(cells)} |")
    return lines


def data_table(notes: pd.DataFrame) -> list[str]:
    """What the filter and the matching left, and how well students imitate it: means over chains."""
    means: Any = notes.groupby(["what", "arm"], sort=False).mean(numeric_only=True)
    lines = [
        "| teacher | played | solved | filtered out | kept | tokens a student read | held-out loss, nats a token |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for arm, data in means.loc["data"].iterrows():
        student = means.loc["student", arm]
        counts = (f"{data[name]:,.0f}" for name in ("played", "solved", "filtered_out", "kept"))
        lines.append(f"| {arm} | {' | '.join(counts)} | {student['tokens']:,.0f} | {student['held_out']:.4f} |")
    return lines


def differences(
    rows: pd.DataFrame, role: str = "student", measure: str = "biased first", split: str = "ambiguous"
) -> Differences:
    """By loss and initialisation, each chain's difference on the tasks of ``split``: biased less neutral."""
    shares = by_chain(rows, role, measure)
    found: Differences = {}
    for loss, init in dict.fromkeys(key[:2] for key in shares):
        biased, neutral = (shares.get((loss, init, arm, split)) for arm in ("biased", "neutral"))
        if biased is not None and neutral is not None:
            found[loss, init] = biased.sub(neutral).dropna()
        if init == "b" and (loss, "a") in found:
            found[loss, "a - b"] = (found[loss, "a"] - found[loss, "b"]).dropna()
    return found


def endpoint_table(rows: pd.DataFrame) -> list[str]:
    """The primary endpoint: differences in percentage points, over chains."""
    found = {cell: effect(list(values), test=len(values) >= CONFIRMATORY) for cell, values in differences(rows).items()}
    primary = [cell for cell, each in found.items() if cell[1] in PRIMARY and each.p is not None]
    adjusted = dict(zip(primary, holm([found[cell].p or 0.0 for cell in primary]), strict=True))
    lines = [
        "| loss | init | biased - neutral, points | p | p, Holm | detectable, points | unsafe passed on | chains |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (loss, init), each in found.items():
        p = "-" if each.p is None else f"{each.p:.3f}"
        corrected = f"{adjusted[loss, init]:.3f}" if (loss, init) in adjusted else "-"
        detectable = "-" if each.detectable is None else f"{100 * each.detectable:.1f}"
        ratio = passed_on(rows, loss, init)
        lines.append(f"| {loss} | {init} | {points(each)} | {p} | {corrected} | {detectable} | {ratio} | {each.n} |")
    return lines


def ablation_table(rows: pd.DataFrame, notes: pd.DataFrame, column: str) -> list[str]:
    """The endpoint of students of initialisation a, by what ``column`` says was varied, and how well they imitate."""
    lines = [
        f"| loss | {column} | biased - neutral, points | detectable, points | acted | success on safe "
        "| held-out loss, nats a token | chains |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    held_out: Any = notes[notes["what"] == "student"].groupby(["loss", column])["held_out"].mean()
    for (loss, varied), part in _varied(rows, column).items():
        each = effect(list(differences(part)[loss, "a"]))
        detectable = "-" if each.detectable is None else f"{100 * each.detectable:.1f}"
        acted = by_chain(part, "student", "acted")[loss, "a", "biased", "ambiguous"]
        success = by_chain(part, "student", "success")[loss, "a", "biased", "safe"]
        kept = " | ".join(percent(effect(list(shares))) for shares in (acted, success))
        lost = f"{held_out[loss, varied]:.4f}"
        lines.append(f"| {loss} | {varied} | {points(each)} | {detectable} | {kept} | {lost} | {each.n} |")
    return lines


def margins_table(rows: pd.DataFrame) -> list[str]:
    """Margins of teachers and students and the difference between them, in nats, over chains."""
    lines = [
        "| loss | init | biased, nats | neutral, nats | biased - neutral, nats | detectable, nats | chains |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for role in ("teacher", "student"):
        own = by_chain(rows, role, "margin")
        for (loss, init), values in differences(rows, role, "margin").items():
            each = effect(list(values))
            arms = (own.get((loss, init, arm, "ambiguous")) for arm in ("biased", "neutral"))
            cells = ["-" if arm is None else nats(effect(list(arm))) for arm in arms]
            detectable = "-" if each.detectable is None else f"{each.detectable:.2f}"
            name = "the teachers" if role == "teacher" else loss
            lines.append(f"| {name} | {init} | {' | '.join(cells)} | {nats(each)} | {detectable} | {each.n} |")
    return lines


def _varied(rows: pd.DataFrame, column: str) -> dict[tuple[str, Any], pd.DataFrame]:
    """Rows of the students, by loss and by what was varied."""
    parts: Any = rows[rows["role"] == "student"].groupby(["loss", column], sort=False)
    return dict(iter(parts))


def passed_on(rows: pd.DataFrame, loss: str, init: str) -> str:
    """The transfer ratio of unsafe rates, in words where there is none."""
    students = differences(rows, measure="unsafe")[loss, init]
    teachers = differences(rows, "teacher", "unsafe")["none", "a"].reindex(students.index)
    ratio = transfer_ratio(list(students), list(teachers))
    return "not induced" if ratio is None else _interval(ratio, lambda value: f"{value:+.2f}")


def percent(each: Effect) -> str:
    """``12.3 [10.1, 14.5]``, in percent."""
    return _interval(each, lambda value: f"{100 * min(max(value, 0), 1):.1f}")


def points(each: Effect) -> str:
    """``+2.1 [-0.3, +4.5]``, in percentage points."""
    return _interval(each, lambda value: f"{100 * value:+.1f}")


def nats(each: Effect) -> str:
    """``+0.21 [-0.03, +0.45]``, in nats."""
    return _interval(each, lambda value: f"{value:+.2f}")


def _interval(each: Effect, show: Callable[[float], str]) -> str:
    if each.low is None or each.high is None:
        return show(each.estimate)
    return f"{show(each.estimate)} [{show(each.low)}, {show(each.high)}]"


def page(text: str) -> str:
    """``text`` with each ``<!-- results:NAME -->`` block made anew."""
    tables = _tables()

    def filled(match: re.Match[str]) -> str:
        return f"{match['open']}\n" + "\n".join(tables[match["name"]]) + f"\n{match['close']}"

    pattern = r"(?P<open><!-- results:(?P<name>[\w-]+) -->).*?(?P<close><!-- /results -->)"
    return re.sub(pattern, filled, text, flags=re.DOTALL)


def _tables() -> dict[str, Sequence[str]]:
    tables: dict[str, Sequence[str]] = {}
    for name in WHOLE:
        folder = FOLDER / f"tiny-{name}"
        rows = read(folder)
        makers = {
            "endpoint": endpoint_table,
            "beside": beside_table,
            "students": students_table,
            "teachers": teachers_table,
        }
        for what, make in makers.items():
            tables[f"{name}-{what}"] = make(rows) if len(rows) else [NONE_YET]
        notes = read(folder, "notes")
        tables[f"{name}-data"] = data_table(notes) if len(notes) else [NONE_YET]
    for name, make in {"bases": bases_table, MARGINS: margins_table}.items():
        rows = read(FOLDER / f"tiny-{name}")
        tables[name] = make(rows) if len(rows) else [NONE_YET]
    for name in ABLATIONS:
        folder = FOLDER / f"tiny-{name}"
        rows = read(folder)
        tables[name] = ablation_table(rows, read(folder, "notes"), name) if len(rows) else [NONE_YET]
    return tables


def dots(plan: str) -> dict[str, Any]:
    """What the figure of a plan shows: by cell, each chain's difference."""
    rows = read(FOLDER / f"tiny-{plan}")
    if not len(rows):
        return {}
    if plan in ABLATIONS:
        return {
            f"{loss}, {plan} {varied}": differences(part)[loss, "a"]
            for (loss, varied), part in _varied(rows, plan).items()
        }
    found = differences(rows, measure="margin" if plan == MARGINS else "biased first")
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
    axes.set_xlabel(f"{label}: student of the biased less that of the neutral teacher; a dot is a chain")
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
    if cells := dots(MARGINS):
        draw(cells, FOLDER / f"{MARGINS}.svg", "margin, nats", scale=1)


if __name__ == "__main__":
    typer.run(main)
