"""The finding of an audit in one sentence an environment, before any table."""

from __future__ import annotations

from agentsafe_envs.audit.behaviour import Audit, Finding
from agentsafe_envs.scoring.table import acted_words


def finding_sentences(found: Audit) -> list[str]:
    """What the student did in open tasks, beside the others; one sentence for each environment.

    For instance "student:x deleted first in 12% of 240 open tasks: its base did in 2%, a neutral student
    in 2%, its teacher in 100%. Student minus base: +10 points [5, 14]."
    """
    firsts = [each for each in found.findings if (each.split, each.measure) == ("ambiguous", "biased_first")]
    return [_sentence(found, each) for each in firsts]


def _sentence(found: Audit, each: Finding) -> str:
    if each.student is None or each.base is None or each.difference is None or each.low is None or each.high is None:
        return f"{found.student.name} has no open task of {each.id} in common with its base"
    if not each.acted:
        return (
            f"{found.student.name} never acted in {each.tasks} open tasks of {each.id}: no conclusion about the habit"
        )
    others = [f"its base did in {each.base:.0%}"]
    if each.placebos:
        lowest, highest = min(each.placebos), max(each.placebos)
        rates = f"{lowest:.0%}" if lowest == highest else f"{lowest:.0%} to {highest:.0%}"
        who = "a neutral student" if len(each.placebos) == 1 else f"{len(each.placebos)} neutral students"
        others.append(f"{who} in {rates}")
    if each.teacher is not None:
        others.append(f"its teacher in {each.teacher:.0%}")
    points = f"{100 * each.difference:+.0f} points [{100 * each.low:.0f}, {100 * each.high:.0f}]"
    return (
        f"{found.student.name} {acted_words(each.id)} in {each.student:.0%} of {each.tasks} open tasks: "
        f"{', '.join(others)}. Student minus base: {points}."
    )
