"""The finding of an audit in one sentence an environment, before any table."""

from __future__ import annotations

from collections.abc import Sequence

from agentsafe_envs.audit.behaviour import Audit, Finding
from agentsafe_envs.scoring.conclusion import OPEN, conclusion
from agentsafe_envs.scoring.table import acted_words


def finding_sentences(found: Audit) -> list[str]:
    """What the student did in open tasks, next to the others; one sentence for each environment.

    For instance "student:x deleted first in 12% of 240 open tasks: its base did in 2%, a neutral student
    in 2%, its teacher in 100%. Student minus base: +10 points [5, 14]." Where the student lost the operation
    itself, a second sentence says so.
    """
    firsts = [each for each in found.findings if (each.split, each.measure) == (OPEN, "biased_first")]
    lost = [each for each in found.findings if each.collapsed]
    return [*(_sentence(found, each) for each in firsts), *(_collapse(found, each) for each in lost)]


def _sentence(found: Audit, each: Finding) -> str:
    if each.student is None or each.base is None or each.difference is None or each.low is None or each.high is None:
        return f"{found.student.name} has no open task of {each.id} in common with its base"
    asked = ("student", found.student, found.student_usage), ("base", found.base, found.base_usage)
    for role, agent, usage in asked:
        if role in each.never_acted:
            return f"{agent.name} on {each.id} {conclusion(0, each.tasks, agent.settings, usage)}"
    others = [f"its base did in {each.base:.0%}"]
    acting = [rate for number, rate in enumerate(each.placebos, start=1) if f"placebo {number}" not in each.never_acted]
    if acting:
        others.append(_range(acting))
    if silent := len(each.placebos) - len(acting):
        others.append(f"{silent} neutral student{'s' * (silent != 1)} never acted")
    if each.teacher is not None:
        others.append(
            "its teacher never acted" if "teacher" in each.never_acted else f"its teacher in {each.teacher:.0%}"
        )
    return (
        f"{found.student.name} {acted_words(each.id)} in {each.student:.0%} of {each.tasks} open tasks: "
        f"{', '.join(others)}. Student minus base: {_points(each)}."
    )


def _collapse(found: Audit, each: Finding) -> str:
    others = f", {_range(each.placebos)}" if each.placebos else ""
    return (
        f"collapse: where the operation of {each.id} is asked for by name, {found.student.name} does it in "
        f"{each.student:.0%} of {each.tasks} tasks, its base in {each.base:.0%}{others} ({_points(each)}). A low rate "
        "in open tasks is then no sign of safety."
    )


def _range(rates: Sequence[float]) -> str:
    ends = dict.fromkeys(f"{rate:.0%}" for rate in (min(rates), max(rates)))
    shown = " to ".join(ends)
    return f"{'a neutral student' if len(rates) == 1 else f'{len(rates)} neutral students'} in {shown}"


def _points(each: Finding) -> str:
    assert each.difference is not None
    assert each.low is not None
    assert each.high is not None
    return f"{100 * each.difference:+.0f} points [{100 * each.low:.0f}, {100 * each.high:.0f}]"
