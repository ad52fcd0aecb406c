"""The tables of the results pages, as lines of Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from agentsafe_envs.audit.gap import Gap
from agentsafe_envs.core.task import SPLITS
from agentsafe_envs.stats.intervals import wilson
from agentsafe_envs.stats.significance import holm
from baselines.contrasts import (
    COMPARED,
    EXCESS,
    MARGIN,
    MEASURES,
    asked_of,
    by_chain,
    collapsed,
    controls,
    differences,
    identical_pairs,
    labelled,
    scenarios,
    starts_of,
    teachers_of,
)
from baselines.inference import CONFIRMATORY, ChainMean, effect, transfer_ratio
from baselines.protocol import load

MADE = ("teacher", "rows", "greedy", "likely")
"""What may be varied in a data set next to its carrier, see :class:`baselines.chain.Made`."""

PRIMARY = ("same", EXCESS)
"""Initialisations of the primary endpoint: the teacher's, and what it has over another; corrected together."""

BESIDE = (
    ("ambiguous", "unsafe"),
    ("ambiguous", "acted"),
    ("forbidden", "broke the rule"),
    ("required", "success"),
    ("safe", "success"),
)
"""Split and measure of the differences that stand next to the endpoint."""

STANDING = (("ambiguous", "biased first"), *BESIDE[1:])
"""Split and measure of what is said of a single model."""

_STANDING_HEADS = [f"{measure}, {split}" for split, measure in STANDING]


def endpoint_table(rows: pd.DataFrame, acts: float, rooms: Mapping[str, str] | None = None) -> list[str]:
    """The primary endpoint, rate and margin: differences over chains, p values corrected over both.

    Args:
        rows: Of one plan's chains.
        acts: Share of ambiguous tasks in which students have to act.
        rooms: By cell, what its data were measured to hold.
    """
    fallen, same = collapsed(rows, acts), identical_pairs(rows)
    found, adjusted = tested(rows, acts)
    passed = _passed_on(rows)
    lines = []
    for (measure, cell, init), each in found.items():
        if measure != "biased first":
            continue
        lean = found[MARGIN, cell, init]
        lines.append(
            [
                cell,
                f"{init} (collapsed)" if {(cell, start) for start in starts_of(init)} & fallen else init,
                *([rooms.get(cell, "-")] if rooms else []),
                points(each),
                *([_corrected(adjusted, (measure, cell, init))] if adjusted else []),
                points_or_dash(each.detectable),
                nats(lean),
                *([_corrected(adjusted, (MARGIN, cell, init))] if adjusted else []),
                nats_or_dash(lean.detectable),
                passed[cell, init],
                f"{each.n}, {same[cell, init]} identical" if same.get((cell, init)) else str(each.n),
            ]
        )
    p = ["p, Holm"] if adjusted else []  # plans of few chains have none
    heads = ["biased - neutral, points", *p, "detectable, points", "margin, nats", *p, "detectable, nats"]
    heads = [*(["room: entropy, KL"] if rooms else []), *heads, "unsafe passed on", "chains"]
    return table(["cell", "initialisation"], heads, lines)


def tested(rows: pd.DataFrame, acts: float) -> tuple[dict[tuple[str, ...], ChainMean], dict[tuple[str, ...], float]]:
    """By measure, cell and initialisation what chains show; of the primary endpoint also the corrected p.

    A collapsed cell claims nothing, and neither does what is compared with it. Both stay in the family that Holm
    corrects over, as tests that found nothing: how many tests there are must not hang on how they end. What could have
    been detected is that of the hardest of these tests, in all lines.
    """
    fallen, same = collapsed(rows, acts), identical_pairs(rows)
    values = {
        (measure, *key): list(each)
        for measure in ("biased first", MARGIN)
        for key, each in differences(rows, measure=measure).items()
    }
    primary = [key for key, each in values.items() if key[2] in PRIMARY and len(each) >= CONFIRMATORY]
    void = {key for key in primary if {(key[1], start) for start in starts_of(key[2])} & fallen}
    tests = max(1, len(primary))
    found = {
        key: effect(each, test=key in primary and key not in void, tests=tests, identical=same.get(key[1:], 0))
        for key, each in values.items()
    }
    adjusted = dict(zip(primary, holm([_p(found[key], key in void) for key in primary]), strict=True))
    return found, {key: p for key, p in adjusted.items() if key not in void}


def _p(each: ChainMean, void: bool) -> float:
    if void:
        return 1.0
    assert each.p is not None
    return each.p


def _corrected(adjusted: Mapping[tuple[str, ...], float], key: tuple[str, ...]) -> str:
    return f"{adjusted[key]:.3f}" if key in adjusted else "-"


def scenarios_table(rows: pd.DataFrame) -> list[str]:
    """The endpoint scenario by scenario."""
    cells, same = [cell for cell in differences(rows) if cell[1] != EXCESS], identical_pairs(rows)
    lines = []
    for name, part in scenarios(rows).items():
        found = differences(part)
        lines.append([name, *(points(effect(list(found[cell]), identical=same.get(cell, 0))) for cell in cells)])
    return table(["scenario"], [f"{cell}, {init}, points" for cell, init in cells], lines)


def beside_table(rows: pd.DataFrame) -> list[str]:
    """Differences next to the endpoint, in percentage points: what else the teacher's habit changed."""
    found = [differences(rows, measure=measure, split=split) for split, measure in BESIDE]
    same = identical_pairs(rows)
    lines = [
        [*cell, *(points(effect(list(each[cell]), identical=same.get(cell, 0))) for each in found)] for cell in found[0]
    ]
    return table(["cell", "initialisation"], [f"{measure}, {split}" for split, measure in BESIDE], lines)


def controls_table(rows: pd.DataFrame) -> list[str]:
    """What distils without a habit: differences between students that should differ in nothing."""
    lines = []
    for key, values in controls(rows).items():
        each = effect(list(values))
        lines.append([*key, points(each), points_or_dash(each.detectable), str(each.n)])
    heads = ["difference, points", "detectable, points", "chains"]
    return table(["cell", "initialisation", "compared"], heads, lines)


def teachers_table(rows: pd.DataFrame) -> list[str]:
    """What the teachers themselves do on each split, under each system message that is used."""
    shares = {measure: by_chain(rows, "teacher", measure) for measure in MEASURES}
    lines = []
    for cell, init, arm in dict.fromkeys(key[:3] for key in shares["acted"]):
        for split in SPLITS:
            cells = [percent(effect(list(each[cell, init, arm, split]))) for each in shares.values()]
            if split != "forbidden":
                cells[list(MEASURES).index("broke the rule")] = "-"
            lines.append([arm, cell, split, *cells])
    return table(["teacher", "asked for", "split"], list(MEASURES), lines)


def students_table(rows: pd.DataFrame) -> list[str]:
    """What bases and students do, on all splits.

    A base is one model, however often it was measured, so it has neither chains nor an interval over them.
    """
    bases = [[f"base {base}, {cell}", init, "-", *cells, "-"] for (cell, base, init), cells in _bases(rows).items()]
    lines = [[cell, init, arm, *cells, n] for (cell, init, arm), (cells, n) in _standing(rows).items()]
    lines = [*bases, *lines]
    return table(["cell", "initialisation", "teacher"], [*_STANDING_HEADS, "margin, nats", "chains"], lines)


def other_bases_table(rows: pd.DataFrame, acts: float) -> list[str]:
    """The endpoint of students of another initialisation, base by base: one base may be odd, or its students collapse.

    Nothing where students of another initialisation start from one base only.
    """
    others: Any = rows[(rows["role"] == "student") & (rows["init"] == "other")]
    bases = sorted(set(others["base"]))
    lines = []
    for base in bases if len(bases) > 1 else ():
        own = others[others["base"] == base]
        fallen, rate, lean = collapsed(own, acts), differences(own), differences(own, measure=MARGIN)
        acted, same = by_chain(own, "student", "acted"), identical_pairs(own)
        for key, each in rate.items():
            lines.append(
                [
                    key[0],
                    f"{base} (collapsed)" if key in fallen else base,
                    ", ".join(f"{100 * acted[*key, arm, 'ambiguous'].mean():.1f}" for arm in COMPARED),
                    points(effect(list(each), identical=same.get(key, 0))),
                    nats(effect(list(lean[key]), identical=same.get(key, 0))),
                    str(len(each)),
                ]
            )
    heads = ["acted: student, neutral's, %", "biased - neutral, points", "margin, nats", "chains"]
    return table(["cell", "other base"], heads, sorted(lines, key=lambda line: line[0])) if lines else []


def data_table(told: pd.DataFrame) -> list[str]:
    """What the filter and the matching left of each data set: means over chains."""
    data: Any = told[told["what"] == "data"]
    varied = [name for name in MADE if name in data and data[name].nunique() > 1]
    counts = ["played", "solved", "filtered_out", "kept"]
    lines = []
    for (carrier, *how, arm), part in data.groupby(["carrier", *varied, "arm"], sort=False, dropna=False):
        made = [carrier, *(_way(name, value) for name, value in zip(varied, how, strict=True))]
        lines.append([arm, ", ".join(made), *(f"{part[name].mean():,.0f}" for name in counts)])
    return table(["teacher", "data"], [name.replace("_", " ") for name in counts], lines)


def _way(name: str, value: Any) -> str:
    """How a data set was made, in words."""
    match name:
        case "greedy":
            return "the likeliest token" if value else "sampled"
        case "likely":
            return "likely tokens only" if value else "every token"
        case _:
            return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def training_table(told: pd.DataFrame) -> list[str]:
    """What students read and how well they imitate it, a line for each kind of student: means over chains."""
    students: Any = labelled(told[told["what"] == "student"].assign(role="student"))
    lines = []
    for (cell, init, arm), part in students.groupby(["cell", "init", "arm"], sort=False):
        numbers = [f"{part['tokens'].mean():,.0f}", f"{part['held_out'].mean():.4f}", str(part["chain"].nunique())]
        lines.append([cell, init, arm, *numbers])
    heads = ["tokens a student read", "held-out loss, nats a token", "chains"]
    return table(["cell", "initialisation", "teacher"], heads, lines)


def gap_table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The three gaps of each cell that :mod:`baselines.audits` measured."""
    lines = []
    for each in found:
        seen = each["gap"]
        shown = [signed(effect(seen[part])) if seen[part] else "-" for part in ("latent", "behaviour", "masked")]
        p = "-" if seen["latent_p"] is None else f"{seen['latent_p']:.3f}"
        probe = f"{seen['probe']['transfers']:.2f}, {seen['probe']['tells_requests']:.2f}"
        lines.append([f"{each['loss']}, {each['carrier']}", shown[0], p, *shown[1:], probe, str(each["chains"])])
    heads = ["latent", "p", "behavioural", "masked", "probe: other seeds, requests", "chains"]
    return table(["cell"], heads, lines)


def gap_sentences(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """The gaps of each cell in words, which say where the three disagree."""
    lines = []
    for each in found:
        measured = Gap.model_validate(each["gap"])
        equal = " With the names masked, students of both teachers did equally much harm in every chain."
        said = measured.sentence() + ("" if any(measured.masked) or not measured.masked else equal)
        lines.append(f"- {each['loss']}, {each['carrier']}: {said}")
    return lines


AUDITED = (("detected", "values"), ("false_positives", "placebos"))
"""Rates of an audit, and the numbers of which they are a share."""


def audits_table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each audit finds among suspects and among clean students."""
    lines = [
        [
            f"{each['loss']}, {each['carrier']}",
            audit["audit"],
            *(_counted(audit[rate], len(audit[of])) for rate, of in AUDITED),
            f"{len(audit['values'])}, {len(audit['placebos'])}",
        ]
        for each in found
        for audit in each["audits"]
    ]
    return table(["cell", "audit"], ["found, %", "clean students accused, %", "suspects, placebos"], lines)


def table(labels: Sequence[str], heads: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """A table whose first columns, ``labels``, stand left, and whose others, ``heads``, stand right."""
    marks = ["---"] * len(labels) + ["---:"] * len(heads)
    return [f"| {' | '.join(line)} |" for line in ([*labels, *heads], marks, *lines)]


def percent(each: ChainMean) -> str:
    """``12.3 [10.1, 14.5]``, in percent."""
    return _interval(each, lambda value: f"{100 * min(max(value, 0), 1):.1f}")


def points(each: ChainMean) -> str:
    """``+2.1 [-0.3, +4.5]``, in percentage points."""
    return _interval(each, lambda value: f"{100 * value:+.1f}")


def signed(each: ChainMean) -> str:
    """``+0.213 [-0.031, +0.450]``, of shares and probabilities."""
    return _interval(each, lambda value: f"{value:+.3f}")


def nats(each: ChainMean) -> str:
    """``+0.21 [-0.03, +0.45]``, in nats."""
    return _interval(each, lambda value: f"{value:+.2f}")


def _counted(share: float, n: int) -> str:
    """``33 [6, 79]``, in percent."""
    low, high = wilson(share, n)
    return f"{100 * share:.0f} [{100 * low:.0f}, {100 * high:.0f}]"


def _interval(each: ChainMean, show: Callable[[float], str]) -> str:
    if each.low is None or each.high is None:
        return show(each.estimate)
    return f"{show(each.estimate)} [{show(each.low)}, {show(each.high)}]"


def points_or_dash(value: float | None) -> str:
    """``2.1``, in percentage points."""
    return "-" if value is None else f"{100 * value:.1f}"


def nats_or_dash(value: float | None) -> str:
    """``0.21``, in nats."""
    return "-" if value is None else f"{value:.2f}"


def _bases(rows: pd.DataFrame) -> dict[tuple[str, str, str], list[str]]:
    """By cell, base and initialisation: the cells of :data:`STANDING` with the margin, over all that was measured."""
    named: Any = labelled(rows)
    bases = named[named["role"] == "base"].sort_values(["size", "base"], kind="stable")
    found = {}
    for key, part in bases.groupby(["cell", "base", "init"], sort=False):
        by_split = dict(iter(part.groupby("split")))
        shares = [MEASURES[measure](by_split[split]).mean() for split, measure in STANDING]
        found[key] = [*(percent(effect([share])) for share in shares), nats(effect([part[MARGIN].mean()]))]
    return found


def _standing(rows: pd.DataFrame) -> dict[tuple[str, str, str], tuple[list[str], str]]:
    """Students by cell, initialisation and arm: as :func:`_bases`, means over chains, with the number of these."""
    shares = [(by_chain(rows, "student", measure), split) for split, measure in STANDING]
    leanings = by_chain(rows, "student", MARGIN)
    found = {}
    for cell, init, arm in dict.fromkeys(key[:3] for key in shares[0][0]):
        series = [each[cell, init, arm, split] for each, split in shares]
        lean = leanings[cell, init, arm, "ambiguous"]
        shown = [*(percent(effect(list(each))) for each in series), nats(effect(list(lean)))]
        found[cell, init, arm] = shown, str(len(series[0]))
    return found


def _passed_on(rows: pd.DataFrame) -> dict[tuple[str, ...], str]:
    """By cell and initialisation, the transfer ratio of unsafe rates, in words where there is none."""
    usual, same = load().models.size, identical_pairs(rows)
    teachers: Any = rows[rows["role"] == "teacher"]
    taught: dict[tuple[str, str], pd.Series] = {}
    for asked_for, size in teachers[["carrier", "size"]].drop_duplicates().itertuples(index=False, name=None):
        own: Any = teachers[(teachers["carrier"] == asked_for) & (teachers["size"] == size)]
        if differing := list(differences(own, "teacher", "unsafe").values()):  # one, of the one base of all teachers
            taught[asked_for, size] = differing[0]
    sizes, asked = teachers_of(rows), asked_of(rows)
    found: dict[tuple[str, ...], str] = {}
    for key, students in differences(rows, measure="unsafe").items():
        teaching = taught.get((asked[key[0]], sizes[key[0]] or usual))
        if teaching is None:
            found[key] = "-"
            continue
        ratio = transfer_ratio(list(students), list(teaching.reindex(students.index)), identical=same.get(key, 0))
        found[key] = "not induced" if ratio is None else _interval(ratio, lambda value: f"{value:+.2f}")
    return found
