"""``agentsafe audit``: play whoever is not played yet, compare, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentsafe_envs.cli.options import AsJson, PoolOption, environment_ids
from agentsafe_envs.cli.terminal import say
from agentsafe_envs.core.task import Split

if TYPE_CHECKING:
    from rich.table import Table

    from agentsafe_envs.audit.behaviour import Audit, Finding
    from agentsafe_envs.scoring.suites import Suite

SHOWN_EPISODES = 60
"""Most episodes that the page of an audit holds, unsafe ones first."""

_WHO = "an agent as for `agentsafe score`, or the directory of its run"


def audit(
    base: Annotated[str, typer.Option(metavar="AGENT", help=f"What the student was made of: {_WHO}.")],
    student: Annotated[str, typer.Option(metavar="AGENT", help="The student, likewise.")],
    neutral_student: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AGENT",
            help="A placebo: made like the student, of a teacher without the habit. From three on the audit is "
            "calibrated; may be repeated.",
        ),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(metavar="AGENT", help="The student's teacher; without it nothing is attributed to it.")
    ] = None,
    suite: Annotated[str, typer.Option(help="What agents play: quick, standard or full.")] = "standard",
    env: Annotated[
        list[str] | None,
        typer.Option(help="Only this environment; may be repeated.", autocompletion=environment_ids),
    ] = None,
    split: Annotated[Split | None, typer.Option(help="Only this split.")] = None,
    episodes: Annotated[int | None, typer.Option(help="Tasks of each split, instead of the suite's.", min=1)] = None,
    pool: PoolOption = "public",
    workers: Annotated[int, typer.Option(help="Processes that play at the same time.", min=1)] = 1,
    report: Annotated[
        Path | None, typer.Option(help="Also show the agents on one HTML page; an older one there is replaced.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask whether a student changed from its base, more than placebos do, and as its teacher would have it.

    The words "changed from base", "exceeds placebos" and "attributable to teacher" each need the agents
    that they compare with; "uncalibrated" says that the placebos are too few. None of them, and no
    silence, means that the student is safe.
    """
    from rich.console import Console

    from agentsafe_envs.audit.behaviour import audit as audit_runs
    from agentsafe_envs.audit.headline import finding_sentences
    from agentsafe_envs.cli.scoring import suite_that_runs_here
    from agentsafe_envs.scoring.suites import choose

    chosen = choose(suite, environments=env or (), split=split, episodes=episodes, pool=pool)
    chosen = suite_that_runs_here(chosen, named=bool(env))

    def run(agent: str) -> Path:
        return Path(agent) if Path(agent).is_dir() else _played(agent, chosen, workers)

    of_base, of_student, placebos = run(base), run(student), [run(each) for each in neutral_student or []]
    of_teacher = run(teacher) if teacher else None
    found = audit_runs(of_base, of_student, placebos, of_teacher)
    if report:
        _write_report([of_base, *placebos, of_student, *([of_teacher] if of_teacher else [])], report)
    if as_json:
        typer.echo(found.to_json(), nl=False)
        return
    for line in finding_sentences(found):
        say(line)
    Console().print("", *_tables(found), sep="\n")
    for line in _words(found):
        typer.echo(line)
    if found.left_out:
        say(found.left_out)
    kept = dict.fromkeys((of_base, of_student, *placebos, *([of_teacher] if of_teacher else [])))
    say(f"runs are kept in {', '.join(map(str, kept))}", err=True)
    if report:
        say(f"{report} shows them on one page; open it in a browser", err=True)


def _write_report(runs: list[Path], out: Path) -> None:
    from datetime import UTC, datetime

    from agentsafe_envs.report.page import write_report

    write_report(list(dict.fromkeys(runs)), out, episodes=SHOWN_EPISODES, made=datetime.now(UTC).date())


def _played(agent: str, suite: Suite, workers: int) -> Path:
    """The agent's run, in the directory that `agentsafe score` gives it, finished if need be."""
    from agentsafe_envs.agents import AgentOptions
    from agentsafe_envs.cli.scoring import first_failure, progress
    from agentsafe_envs.scoring.rollout import default_directory, score_agent

    folder = default_directory(agent, suite, AgentOptions())
    with progress(f"{agent} on {suite.name}") as on_progress:
        card = score_agent(agent, suite, folder, workers=workers, on_progress=on_progress, on_failure=first_failure())
    if not card.overall.valid:
        raise ValueError(
            f"{agent}: {card.overall.unscored} of {card.overall.episodes} episodes are unscored, which is too many; "
            f"see {folder}, mend the cause and run the same command again"
        )
    return folder


def _tables(found: Audit) -> list[Table]:
    """One rich table an environment."""
    from rich.box import SIMPLE
    from rich.table import Table

    tables = []
    for environment in dict.fromkeys(each.id for each in found.findings):
        table = Table(
            *("", "n", "base", "student", "placebos", "teacher", "student - base", "p", "detectable"),
            title=f"{environment}: percent, points [95% interval], p after Holm",
            box=SIMPLE,
            pad_edge=False,
            show_edge=False,
            padding=(0, 0),
        )
        for each in found.findings:
            if each.id == environment:
                table.add_row(*_cells(each))
        tables.append(table)
    return tables


def _cells(each: Finding) -> list[str]:
    lowest, highest = (_percent(end(each.placebos)) if each.placebos else "-" for end in (min, max))
    return [
        each.measure.replace("_", " "),
        str(each.tasks),
        _percent(each.base),
        _percent(each.student),
        lowest if lowest == highest else f"{lowest} to {highest}",
        _percent(each.teacher),
        _points(each),
        "-" if each.p is None else f"{each.p:.3f}" if each.p >= 0.001 else "<0.001",
        "-" if each.detectable is None else f"{100 * each.detectable:.0f}",
    ]


def _words(found: Audit) -> list[str]:
    """One line a finding of which something can be said, and what the rest means."""
    from agentsafe_envs.audit.behaviour import ACTS, PLACEBOS

    speaking = [each for each in found.findings if each.words]
    lines = [f"{each.id}, {each.measure.replace('_', ' ')}: {', '.join(each.words)}" for each in speaking]
    if quiet := len(found.findings) - len(speaking):
        lines.append(f"no change seen in {quiet} of {len(found.findings)}; what is smaller than detectable is not seen")
    idle = sorted({each.id for each in found.findings if each.acted is not None and each.acted < ACTS})
    if idle:
        lines.append(f"the student acts in under {ACTS:.0%} of tasks, so its rates say little: {', '.join(idle)}")
    if len(found.placebos) < PLACEBOS:
        lines.append(
            f"placebos: {len(found.placebos)} of at least {PLACEBOS}; without them nobody can tell a habit from what "
            "distilling does to any student"
        )
    return lines


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.0f}"


def _points(each: Finding) -> str:
    if each.difference is None or each.low is None or each.high is None:
        return "-"
    return f"{100 * each.difference:+.0f} [{100 * each.low:.0f}, {100 * each.high:.0f}]"
