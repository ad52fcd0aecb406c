"""What an audit found as lines of cells and sentences, the same in a terminal and on a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agentsafe_envs.agents.prompts import ROLE
from agentsafe_envs.audit.behaviour import ACTS, CAPABILITY, PLACEBOS, Audit, Finding
from agentsafe_envs.audit.measurement import Measurement, what_is_unknown
from agentsafe_envs.scoring.measures import MEASURES, NO_CONCLUSION

FINDING_HEADS = ("", "n", "base", "student", "placebos", "teacher", "student - base", "p", "detectable")

MEASUREMENT_HEADS = ("", "base", "student", "placebos", "teacher", "p", "false positives")

ASKED = {"role": "system messages", "prompt_style": "prompt styles", "temperature": "temperatures"}
"""Settings of models in which they should agree: else what they do may differ by that alone."""


def finding_tables(found: Audit) -> list[tuple[str, list[list[str]]]]:
    """A title and lines with :data:`FINDING_HEADS` for each environment."""
    return [
        (
            f"{environment}: percent, points [95% interval], p after Holm",
            [_finding_cells(each) for each in found.findings if each.id == environment],
        )
        for environment in dict.fromkeys(each.id for each in found.findings)
    ]


def measurement_tables(found: Audit) -> list[tuple[str, list[list[str]]]]:
    """The same with :data:`MEASUREMENT_HEADS` for weights and for data, as far as they were looked at."""
    tables = []
    if found.weights:
        own = found.weights.findings
        many = len({each.id for each in own if each.id}) > 1
        lines = [_measurement_cells(each, f"{each.id} " if many and each.id else "") for each in own]
        tables.append(("weights: nats, probability and cosine, p one-sided after Holm", lines))
    if found.data:
        lines = [_measurement_cells(each) for each in found.data.findings]
        tables.append(("training data: nats a row, p one-sided", lines))
    return tables


def sentences(found: Audit) -> list[str]:
    """One for each finding of which something can be said, and what the rest means."""
    speaking = [each for each in found.findings if each.words]
    lines = [f"{each.id}, {_name(each)}: {', '.join(each.words)}{_accused(each)}" for each in speaking]
    if quiet := len(found.findings) - len(speaking):
        lines.append(f"no change seen in {quiet} of {len(found.findings)}; what is smaller than detectable is not seen")
    if silent := {role: None for each in found.findings for role in each.never_acted}:
        lines.append(f"{NO_CONCLUSION}, since in none of these tasks it acted: {', '.join(silent)}")
    seldom = sorted({each.id for each in found.findings if each.acted is not None and 0 < each.acted < ACTS})
    if seldom:
        lines.append(f"the student acts in under {ACTS:.0%} of tasks, so its rates say little: {', '.join(seldom)}")
    if len(found.placebos) < PLACEBOS:
        lines.append(
            f"placebos: {len(found.placebos)} of at least {PLACEBOS}; without them a habit cannot be told from what "
            "distilling does to any student"
        )
    return [*lines, *_asked_differently(found), *_of_weights(found), *_of_data(found)]


def _asked_differently(found: Audit) -> list[str]:
    """One line for each of :data:`ASKED` in which models differ; of what is no model nothing is known."""
    placebos = {f"neutral student {number}": each for number, each in enumerate(found.placebos, start=1)}
    everyone = {"base": found.base, "student": found.student, **placebos, "teacher": found.teacher}
    models = {role: each.settings for role, each in everyone.items() if each and "prompt_style" in each.settings}
    lines = []
    for setting, plural in ASKED.items():
        values: dict[object, list[str]] = {}
        for role, settings in models.items():
            values.setdefault(settings.get(setting, ROLE if setting == "role" else None), []).append(role)
        if len(values) > 1:
            shown = "; ".join(f"{', '.join(roles)}: {value}" for value, roles in values.items())
            lines.append(f"asked under different {plural}, which alone may make them differ ({shown})")
    return lines


def _accused(each: Finding) -> str:
    return "" if each.false_positives is None else f"; false positives {each.rate}"


def _of_weights(found: Audit) -> list[str]:
    if not found.weights:
        return []
    lines = [line for each in found.weights.findings for line in _of_measurement(each)]
    if quiet := sum(not each.words for each in found.weights.findings):
        lines.append(f"usual among placebos: {quiet} of {len(found.weights.findings)} numbers of the weights")
    unknown = what_is_unknown(len(found.placebos), "placebos of the weights")
    return [*lines, *([unknown] if unknown else [])]


def _of_data(found: Audit) -> list[str]:
    if not found.data:
        return []
    lines = [line for each in found.data.findings for line in _of_measurement(each)]
    unknown = what_is_unknown(len(found.data.findings[0].placebos), "placebos of the data")
    return [*found.data.meter.sentences(), *lines, *([unknown] if unknown else [])]


def _of_measurement(each: Measurement) -> list[str]:
    said = [*each.words, *([each.remark] if each.remark else [])]
    return [f"{f'{each.id}, ' if each.id else ''}{each.audit}: {'; '.join(said)}"] if said else []


def _measurement_cells(each: Measurement, before: str = "") -> list[str]:
    return [
        f"{before}{each.audit}",
        _number(each.base),
        _number(each.suspect),
        _ends(each.placebos, _number),
        _number(each.teacher),
        _p(each.p),
        each.rate,
    ]


def _finding_cells(each: Finding) -> list[str]:
    acting = [rate for number, rate in enumerate(each.placebos, start=1) if f"placebo {number}" not in each.never_acted]
    silent = "no conclusion" in each.words
    return [
        _name(each),
        str(each.tasks),
        _rate(each, "base", each.base),
        _rate(each, "student", each.student),
        NO_CONCLUSION if each.placebos and not acting else _ends(acting, _percent),
        _rate(each, "teacher", each.teacher),
        "-" if silent else _points(each),
        "-" if silent else _p(each.p),
        "-" if each.detectable is None else f"{100 * each.detectable:.0f}",
    ]


def _ends(values: Sequence[float], shown: Callable[[float], str]) -> str:
    if not values:
        return "-"
    lowest, highest = shown(min(values)), shown(max(values))
    return lowest if lowest == highest else f"{lowest} to {highest}"


def _name(each: Finding) -> str:
    heading = next((measure.heading for measure in MEASURES if measure.name == each.measure), each.measure)
    return f"required {heading}" if each.split == CAPABILITY else heading


def _rate(each: Finding, role: str, rate: float | None) -> str:
    """In percent; of an agent that never acted no rate is shown, since its 0 would be no finding."""
    return NO_CONCLUSION if role in each.never_acted else _percent(rate)


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.0f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value >= 0.001 else "<0.001"


def _points(each: Finding) -> str:
    if each.difference is None or each.low is None or each.high is None:
        return "-"
    return f"{100 * each.difference:+.0f} [{100 * each.low:.0f}, {100 * each.high:.0f}]"
