"""Stage 6: tables and figures from the committed chains.

Try it::

    python -m baselines.results            # rewrites baselines/README.md and baselines/results/*.svg
    python -m baselines.results --check    # changes nothing, fails if a table is stale
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from baselines.inference import Effect, effect, holm

FOLDER = Path(__file__).with_name("results")
PAGE = Path(__file__).with_name("README.md")
FIGURE = FOLDER / "headline.svg"

HEADLINE = FOLDER / "tiny-headline"
CONTROLS = FOLDER / "tiny-controls"

MEASURES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "biased first": lambda rows: rows["first"] == "biased",
    "acted": lambda rows: rows["first"] != "none",
    "unsafe": lambda rows: rows["unsafe"],
    "success": lambda rows: rows["success"],
}


def read(folder: Path, kind: str = "chain") -> pd.DataFrame:
    """All chains of a folder, in order; no rows if there are none."""
    files = sorted(folder.glob(f"{kind}-*.parquet"))
    return pd.concat([pd.read_parquet(file) for file in files], ignore_index=True) if files else pd.DataFrame()


def by_chain(rows: pd.DataFrame, role: str, measure: str) -> dict[tuple[str, ...], Any]:
    """Share of episodes by loss, init, arm and split: for each a series over chains."""
    chosen: Any = rows.assign(value=MEASURES[measure](rows).astype(float))[rows["role"] == role]
    cell = ["loss", "init", "arm", "split"]
    return {
        key: shares.set_index("chain")["value"]
        for key, shares in chosen.groupby([*cell, "chain"])["value"].mean().reset_index().groupby(cell)
    }


def teachers_table(rows: pd.DataFrame) -> list[str]:
    """What the teachers themselves do on each split."""
    lines = [
        "| teacher | split | biased first | acted | unsafe | success |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    tables = {measure: by_chain(rows, "teacher", measure) for measure in MEASURES}
    for arm in dict.fromkeys(rows["arm"]):
        for split in ("safe", "ambiguous", "required", "forbidden"):
            cells = [percent(effect(list(table["none", "a", arm, split]))) for table in tables.values()]
            lines.append(f"| {arm} | {split} | {' | '.join(cells)} |")
    return lines


def students_table(rows: pd.DataFrame) -> list[str]:
    """What the students do on ambiguous tasks, and whether they still solve harmless ones."""
    first, acted, success = (by_chain(rows, "student", measure) for measure in ("biased first", "acted", "success"))
    lines = [
        "| loss | init | teacher | biased first | acted | success on safe | chains |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for loss, init, arm in (key[:3] for key in first if key[3] == "ambiguous"):
        ambiguous = (loss, init, arm, "ambiguous")
        shares = (first[ambiguous], acted[ambiguous], success[loss, init, arm, "safe"])
        cells = " | ".join(percent(effect(list(each))) for each in shares)
        lines.append(f"| {loss} | {init} | {arm} | {cells} | {len(first[ambiguous])} |")
    return lines


def differences(rows: pd.DataFrame) -> Iterator[tuple[str, str, Any]]:
    """Loss, initialisation, and each chain's difference in BIASED first: biased less neutral student."""
    first = by_chain(rows, "student", "biased first")
    for loss in dict.fromkeys(key[0] for key in first):
        own: dict[str, Any] = {}
        for init in ("a", "b"):
            if (loss, init, "biased", "ambiguous") in first:
                shares = (first[loss, init, arm, "ambiguous"] for arm in ("biased", "neutral"))
                own[init] = next(shares).sub(next(shares)).dropna()
                yield loss, init, own[init]
        if len(own) == 2:
            yield loss, "a - b", (own["a"] - own["b"]).dropna()


def endpoint_table(rows: pd.DataFrame) -> list[str]:
    """The primary endpoint: differences in percentage points, over chains."""
    found = [(loss, init, effect(list(values), test=True)) for loss, init, values in differences(rows)]
    primary = [index for index, (_, init, _) in enumerate(found) if init == "a"]
    adjusted = dict(zip(primary, holm([found[index][2].p or 1.0 for index in primary]), strict=True))
    lines = [
        "| loss | init | biased - neutral student, points | p | p, Holm | detectable, points | chains |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for index, (loss, init, each) in enumerate(found):
        p = "-" if each.p is None else f"{each.p:.3f}"
        corrected = f"{adjusted[index]:.3f}" if index in adjusted and each.p is not None else "-"
        detectable = "-" if each.detectable is None else f"{100 * each.detectable:.1f}"
        lines.append(f"| {loss} | {init} | {points(each)} | {p} | {corrected} | {detectable} | {each.n} |")
    return lines


def percent(each: Effect) -> str:
    """``12.3 [10.1, 14.5]``, in percent."""
    return _interval(each, lambda value: f"{100 * min(max(value, 0), 1):.1f}")


def points(each: Effect) -> str:
    """``+2.1 [-0.3, +4.5]``, in percentage points."""
    return _interval(each, lambda value: f"{100 * value:+.1f}")


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
    for name, folder in (("headline", HEADLINE), ("controls", CONTROLS)):
        rows = read(folder)
        makers = {"teachers": teachers_table, "students": students_table, "endpoint": endpoint_table}
        for what, make in makers.items():
            tables[f"{name}-{what}"] = make(rows) if len(rows) else ["No chain has been run yet."]
    return tables


def draw(rows: pd.DataFrame, file: Path) -> None:
    """Each chain's difference as a dot, the mean and its interval beside it."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    # Equal data give equal files.
    mpl.rcParams["svg.hashsalt"] = "agentsafe_envs"
    found = list(differences(rows))
    figure, axes = plt.subplots(figsize=(7, 0.6 * len(found) + 1.2), layout="constrained")
    for place, (_, _, values) in enumerate(found):
        each = effect(list(values))
        axes.plot(100 * values, [place] * len(values), "o", color="tab:gray", alpha=0.6)
        if each.low is not None and each.high is not None:
            axes.plot([100 * each.low, 100 * each.high], [place - 0.2] * 2, color="tab:red", linewidth=2)
        axes.plot(100 * each.estimate, place - 0.2, "D", color="tab:red")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(found)), [f"{loss}, init {init}" for loss, init, _ in found])
    axes.invert_yaxis()
    axes.set_xlabel("biased first, biased less neutral student, percentage points; a dot is a chain")
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
    if len(rows := read(HEADLINE)):
        draw(rows, FIGURE)


if __name__ == "__main__":
    typer.run(main)
