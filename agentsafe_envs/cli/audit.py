"""``agentsafe audit``: play whoever is not played yet, compare, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentsafe_envs.cli.options import (
    AsJson,
    EpisodesOption,
    FirstSeedOption,
    OnlyEnvironments,
    OnlySplit,
    PoolOption,
    SandboxOption,
    agent_options,
)
from agentsafe_envs.cli.terminal import say

if TYPE_CHECKING:
    from rich.table import Table

    from agentsafe_envs.agents import AgentOptions
    from agentsafe_envs.audit.behaviour import Audit, Finding
    from agentsafe_envs.audit.participants import Participant
    from agentsafe_envs.scoring.suites import Suite

SHOWN_EPISODES = 60
"""Most episodes that the page of an audit holds, unsafe ones first."""

_WHO = "an agent as for `agentsafe score`, or the directory of its run"


def audit(
    base: Annotated[str, typer.Option(metavar="AGENT", help=f"What the student was made of: {_WHO}.")],
    student: Annotated[str, typer.Option(metavar="AGENT", help="The student: an agent or the directory of its run.")],
    neutral_student: Annotated[
        list[str] | None,
        typer.Option(
            metavar="AGENT",
            help="A placebo: made like the student, from a teacher without the habit. With three or more the audit is "
            "calibrated; may be repeated.",
        ),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(metavar="AGENT", help="The student's teacher; needed to attribute a change to it.")
    ] = None,
    base_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="An option of `agentsafe score` for the base, e.g. `dtype=float32`, `agent-seed=1`; may be repeated.",
        ),
    ] = None,
    student_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="The same for the student.")
    ] = None,
    neutral_student_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="The same for every neutral student.")
    ] = None,
    teacher_option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="The same for the teacher.")
    ] = None,
    suite: Annotated[str, typer.Option(help="The suite to play: quick, standard or full.")] = "standard",
    env: OnlyEnvironments = None,
    split: OnlySplit = None,
    episodes: EpisodesOption = None,
    seed: FirstSeedOption = 0,
    pool: PoolOption = "public",
    workers: Annotated[int, typer.Option(help="Processes that play at the same time.", min=1)] = 1,
    sandbox: SandboxOption = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Play everything again; existing runs are kept under another name.")
    ] = False,
    max_failures: Annotated[
        int | None,
        typer.Option(help="Stop an agent after this many failed episodes, as `agentsafe score` does.", min=1),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also show the agents on one HTML page; an existing file is replaced.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test whether a student changed from its base, more than placebos did, and towards its teacher.

    Agents, extras and suite are checked before anything is played. Runs are kept where `agentsafe score` keeps
    them, and the same command continues them. For an agent that was already scored, give the directory of its run.

    "Changed from base", "exceeds placebos" and "attributable to teacher" each need the agents that they compare
    with. "Uncalibrated" means that there are too few placebos. No result proves that a student is safe, and
    neither does the absence of one.
    """
    from rich.console import Console

    from agentsafe_envs.audit.behaviour import audit as audit_runs
    from agentsafe_envs.audit.headline import finding_sentences
    from agentsafe_envs.audit.participants import PLACEBO_ROLE, Participant, check_participants
    from agentsafe_envs.cli.scoring import suite_that_runs_here
    from agentsafe_envs.scoring.suites import choose

    chosen = choose(suite, environments=env or (), split=split, episodes=episodes, first_seed=seed, pool=pool)
    chosen = suite_that_runs_here(chosen, named=bool(env))
    of_placebos = agent_options(neutral_student_option or (), "--neutral-student-option")
    first = Participant("base", base, agent_options(base_option or (), "--base-option"))
    second = Participant("student", student, agent_options(student_option or (), "--student-option"))
    placebos = [
        Participant(f"{PLACEBO_ROLE} {number}", each, of_placebos)
        for number, each in enumerate(neutral_student or (), start=1)
    ]
    if neutral_student_option and not placebos:
        raise ValueError("--neutral-student-option without --neutral-student")
    if teacher_option and not teacher:
        raise ValueError("--teacher-option without --teacher")
    of_teacher = agent_options(teacher_option or (), "--teacher-option")
    taught_by = [Participant("teacher", teacher, of_teacher)] if teacher else []
    everyone = [first, second, *placebos, *taught_by]
    if report and not report.parent.is_dir():
        raise ValueError(f"--report {report}: there is no folder {report.parent}; make it, or choose another place")
    check_participants(everyone, chosen, fresh=fresh)
    runs: dict[tuple[str, AgentOptions], Path] = {}
    for each in everyone:
        key = each.spec, each.options
        place = runs.get(key) or each.directory(chosen)
        say(f"{each.role} {each.spec}: run in {place}", err=True)
        if key not in runs:
            runs[key] = place
            if not each.is_run:
                _play(each, chosen, place, workers=workers, fresh=fresh, max_failures=max_failures)
    places = [runs[each.spec, each.options] for each in everyone]
    found = audit_runs(places[0], places[1], places[2 : 2 + len(placebos)], places[-1] if taught_by else None)
    if report:
        _write_report([places[0], *places[2 : 2 + len(placebos)], places[1], *places[2 + len(placebos) :]], report)
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
    say(f"runs are kept in {', '.join(map(str, dict.fromkeys(places)))}", err=True)
    if report:
        say(f"{report} shows them on one page; open it in a browser", err=True)


def _write_report(runs: list[Path], out: Path) -> None:
    from datetime import UTC, datetime

    from agentsafe_envs.report.page import write_report

    write_report(list(dict.fromkeys(runs)), out, episodes=SHOWN_EPISODES, made=datetime.now(UTC).date())


def _play(
    participant: Participant, suite: Suite, folder: Path, *, workers: int, fresh: bool, max_failures: int | None
) -> None:
    """Play what the agent's run still lacks.

    Raises:
        ValueError: Too many episodes are unscored.
    """
    from agentsafe_envs.cli.playing import play_and_tell
    from agentsafe_envs.scoring.rollout import write_scorecard

    played = play_and_tell(
        f"{participant.role} {participant.spec}",
        participant.spec,
        suite,
        folder,
        options=participant.options,
        workers=workers,
        fresh=fresh,
        max_failures=max_failures,
    )
    card = write_scorecard(folder, suite, played.agent)
    if not card.overall.valid or played.stopped:
        raise ValueError(
            f"{participant.role} {participant.spec}: {card.overall.unscored} of {card.overall.episodes} episodes are "
            f"unscored, which is too many; {played.stopped or f'see {folder}'}; mend the cause and run the same "
            "command again: what was played is kept"
        )


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
    acting = [rate for number, rate in enumerate(each.placebos, start=1) if f"placebo {number}" not in each.idle]
    lowest, highest = (_percent(end(acting)) if acting else "-" for end in (min, max))
    silent = "no conclusion" in each.words
    return [
        _name(each),
        str(each.tasks),
        _rate(each, "base", each.base),
        _rate(each, "student", each.student),
        "idle" if each.placebos and not acting else lowest if lowest == highest else f"{lowest} to {highest}",
        _rate(each, "teacher", each.teacher),
        "-" if silent else _points(each),
        "-" if silent or each.p is None else f"{each.p:.3f}" if each.p >= 0.001 else "<0.001",
        "-" if each.detectable is None else f"{100 * each.detectable:.0f}",
    ]


def _name(each: Finding) -> str:
    return f"required {each.measure}" if each.split == "required" else each.measure.replace("_", " ")


def _rate(each: Finding, role: str, rate: float | None) -> str:
    """In percent; of an agent that never acted no rate is shown, since its 0 would be no finding."""
    return "idle" if role in each.idle else _percent(rate)


def _words(found: Audit) -> list[str]:
    """One line a finding of which something can be said, and what the rest means."""
    from agentsafe_envs.audit.behaviour import ACTS, PLACEBOS

    speaking = [each for each in found.findings if each.words]
    lines = [f"{each.id}, {_name(each)}: {', '.join(each.words)}" for each in speaking]
    if quiet := len(found.findings) - len(speaking):
        lines.append(f"no change seen in {quiet} of {len(found.findings)}; what is smaller than detectable is not seen")
    if idle := {role: None for each in found.findings for role in each.idle}:
        lines.append(f"idle, so that no rate of it says anything about the habit: {', '.join(idle)}")
    seldom = sorted({each.id for each in found.findings if each.acted is not None and 0 < each.acted < ACTS})
    if seldom:
        lines.append(f"the student acts in under {ACTS:.0%} of tasks, so its rates say little: {', '.join(seldom)}")
    if len(found.placebos) < PLACEBOS:
        lines.append(
            f"placebos: {len(found.placebos)} of at least {PLACEBOS}; without them a habit cannot be told from what "
            "distilling does to any student"
        )
    return lines


def _percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.0f}"


def _points(each: Finding) -> str:
    if each.difference is None or each.low is None or each.high is None:
        return "-"
    return f"{100 * each.difference:+.0f} [{100 * each.low:.0f}, {100 * each.high:.0f}]"
