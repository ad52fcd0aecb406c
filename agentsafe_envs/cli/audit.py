"""``agentsafe audit``: play whoever is not played yet, compare, look at weights and data if asked, print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

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
from agentsafe_envs.cli.terminal import console, say

if TYPE_CHECKING:
    from rich.table import Table

    from agentsafe_envs.agents import AgentOptions
    from agentsafe_envs.audit.behaviour import Audit
    from agentsafe_envs.audit.participants import Cast, Participant
    from agentsafe_envs.audit.training_data import DataAudit
    from agentsafe_envs.audit.weights import WeightsAudit
    from agentsafe_envs.scoring.suites import Suite
    from agentsafe_envs.trajectories.schema import Trajectory

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
    weights: Annotated[
        bool,
        typer.Option(
            "--weights",
            help="Also look into the models: margin, latent gap, update coverage. All have to be student: or hf:, made "
            "of the base. The base plays 96 more tasks an environment, and every model reads about 200 conversations: "
            "seconds for students of the checkout, minutes a model of 100 million parameters. Needs the extra lm.",
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Also look at the rows that the student learnt from: how much they can carry, and whether they are "
            "likelier under the teacher than under the base. A data set's folder, or a parquet, jsonl or json file. "
            "Teacher and base read 200 rows. Needs the extras lm and data.",
        ),
    ] = None,
    neutral_data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DATA",
            help="Rows that a neutral student learnt from: a placebo of --data; three or more calibrate it.",
        ),
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

    `--weights` and `--data` look beyond conduct. Their numbers are judged by those of placebos alone. Next to each
    stands how many placebos that look would have accused.
    """
    from agentsafe_envs.audit.behaviour import audit as audit_runs
    from agentsafe_envs.audit.participants import Cast, Participant, check_participants, placebos_of
    from agentsafe_envs.cli.scoring import suite_that_runs_here
    from agentsafe_envs.scoring.suites import choose

    for given, needed, names in (
        (neutral_student_option, neutral_student, ("--neutral-student-option", "--neutral-student")),
        (teacher_option, teacher, ("--teacher-option", "--teacher")),
        (neutral_data, data, ("--neutral-data", "--data")),
    ):
        if given and not needed:
            raise ValueError(" without ".join(names))
    chosen = choose(suite, environments=env or (), split=split, episodes=episodes, first_seed=seed, pool=pool)
    chosen = suite_that_runs_here(chosen, named=bool(env))
    of_teacher = agent_options(teacher_option or (), "--teacher-option")
    cast = Cast(
        Participant("base", base, agent_options(base_option or (), "--base-option")),
        Participant("student", student, agent_options(student_option or (), "--student-option")),
        placebos_of(neutral_student or (), agent_options(neutral_student_option or (), "--neutral-student-option")),
        Participant("teacher", teacher, of_teacher) if teacher else None,
    )
    if report and not report.parent.is_dir():
        raise ValueError(f"--report {report}: there is no folder {report.parent}; make it, or choose another place")
    check_participants(cast.everyone, chosen, fresh=fresh)
    rows = _ready_to_look(cast, [data, *(neutral_data or ())] if data else [], weights=weights)
    player = _Player(workers, fresh, max_failures)
    runs = player.play_all(cast, chosen)
    found = audit_runs(runs.base, runs.student, runs.placebos, runs.teacher)
    looked = {
        "weights": _look_at_weights(cast, chosen, player) if weights else None,
        "data": _look_at_data(cast, rows) if rows else None,
    }
    found = found.model_copy(update=looked)
    if report:
        _write_report(runs, found, report)
    if as_json:
        typer.echo(found.to_json(), nl=False)
        return
    _print(found)
    say(f"runs are kept in {', '.join(map(str, dict.fromkeys(runs.everyone)))}", err=True)
    if report:
        say(f"{report} shows them on one page; open it in a browser", err=True)


class _Runs(NamedTuple):
    """Where everyone's run is, by role."""

    base: Path
    student: Path
    placebos: Sequence[Path]
    teacher: Path | None

    @property
    def everyone(self) -> list[Path]:
        """In the order of a report: the student stands next to its teacher."""
        return [self.base, *self.placebos, self.student, *([self.teacher] if self.teacher else [])]


class _Player(NamedTuple):
    """How agents are played."""

    workers: int
    fresh: bool
    max_failures: int | None

    def play_all(self, cast: Cast, suite: Suite) -> _Runs:
        """Play what each agent's run still lacks; two of one name and settings share a run."""
        runs: dict[tuple[str, AgentOptions], Path] = {}
        for each in cast.everyone:
            key = each.spec, each.options
            place = runs.get(key) or each.directory(suite)
            say(f"{each.role} {each.spec}: run in {place}", err=True)
            if key not in runs:
                runs[key] = place
                if not each.is_run:
                    self.play(each, suite, place)
        base, student, *others = [runs[each.spec, each.options] for each in cast.everyone]
        return _Runs(base, student, others[: len(cast.placebos)], others[-1] if cast.teacher else None)

    def play(self, participant: Participant, suite: Suite, folder: Path) -> None:
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
            workers=self.workers,
            fresh=self.fresh,
            max_failures=self.max_failures,
        )
        card = write_scorecard(folder, suite, played.agent)
        if not card.overall.valid or played.stopped:
            unscored = f"{card.overall.unscored} of {card.overall.episodes} episodes are unscored, which is too many"
            raise ValueError(
                f"{participant.role} {participant.spec}: {unscored}; {played.stopped or f'see {folder}'}; mend the "
                "cause and run the same command again: what was played is kept"
            )


def _ready_to_look(cast: Cast, sources: Sequence[Path], *, weights: bool) -> list[list[Trajectory]]:
    """The rows of the data sets; raises where weights or data cannot be looked at."""
    if not weights and not sources:  # an audit of conduct alone needs no torch
        return []
    from agentsafe_envs.audit.local import check_weights, read_training_data

    if weights:
        check_weights(cast)
    return read_training_data(cast, sources) if sources else []


def _look_at_weights(cast: Cast, suite: Suite, player: _Player) -> WeightsAudit:
    """Let the base play where its places are found, then read every model there."""
    from agentsafe_envs.audit.contexts import acting_places, places_suite
    from agentsafe_envs.audit.local import local_model
    from agentsafe_envs.audit.weights import audit_weights

    assert cast.teacher is not None, "check_weights saw to it"
    wanted = places_suite(suite.environments)
    run = cast.base.directory(wanted)
    say(f"base {cast.base.spec}: finds the places to look at, run in {run}", err=True)
    player.play(cast.base, wanted, run)
    return audit_weights(
        local_model(cast.base),
        local_model(cast.student),
        local_model(cast.teacher),
        (local_model(each) for each in cast.placebos),
        acting_places(run),
        on_model=lambda name: say(f"reading the weights of {name}", err=True),
    )


def _look_at_data(cast: Cast, rows: Sequence[Sequence[Trajectory]]) -> DataAudit:
    from agentsafe_envs.audit.local import local_model
    from agentsafe_envs.audit.training_data import ROWS, audit_data

    assert cast.teacher is not None, "read_training_data saw to it"
    say(f"reading {sum(min(len(each), ROWS) for each in rows):,} rows", err=True)
    return audit_data(rows[0], rows[1:], local_model(cast.teacher), local_model(cast.base))


def _write_report(runs: _Runs, found: Audit, out: Path) -> None:
    from datetime import UTC, datetime

    from agentsafe_envs.report.page import write_report

    shown = list(dict.fromkeys(runs.everyone))
    write_report(shown, out, episodes=SHOWN_EPISODES, made=datetime.now(UTC).date(), audited=found)


def _print(found: Audit) -> None:
    """The finding in a sentence, then the tables, then what can be said of them."""
    from agentsafe_envs.audit.headline import finding_sentences
    from agentsafe_envs.audit.table import (
        FINDING_HEADS,
        MEASUREMENT_HEADS,
        finding_tables,
        measurement_tables,
        sentences,
    )

    for line in finding_sentences(found):
        say(line)
    tables = [_table(title, FINDING_HEADS, lines) for title, lines in finding_tables(found)]
    tables += [_table(title, MEASUREMENT_HEADS, lines) for title, lines in measurement_tables(found)]
    console().print("", *tables, sep="\n")
    for line in sentences(found):
        say(line)
    if found.left_out:
        say(found.left_out)


def _table(title: str, heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    # The box itself puts a space between columns, and a line has to fit into 80.
    table = Table(*heads, title=title, box=SIMPLE, pad_edge=False, show_edge=False, padding=(0, 0))
    for line in lines:
        table.add_row(*line)
    return table
