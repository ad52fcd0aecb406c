"""``python -m labs``: build the versions of the labs, grade submissions, look at the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agentsafe_envs.cli.complaints import Complaints
from labs.source import find_lab

app = typer.Typer(
    cls=Complaints, no_args_is_help=True, help="Labs for a course; labs/README.md shows a lecturer the way."
)


@app.command()
def build(
    out: Annotated[Path, typer.Option(help="Gets the folders student and solution, and colab.")] = Path("build/labs"),
    archive: Annotated[str, typer.Option(help="Address of your archive of the package; Colab needs one.")] = "",
) -> None:
    """Build what students get, and the solutions, from the sources."""
    from labs.build import build as build_labs

    files = build_labs(out, archive)
    colab = "student or colab" if archive else "student"
    typer.echo(f"{len(files)} files in {out}; hand out {colab}, and keep solution")
    if not archive:
        typer.echo("nothing for Colab, which needs the address of your archive: --archive, or make labs ARCHIVE=")


@app.command()
def grade(
    lab: Annotated[str, typer.Argument(metavar="LAB", help="Its name or number, for instance 1.")],
    path: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="A script or notebook, or a folder of them.")],
    seed: Annotated[
        int | None,
        typer.Option(
            help="Draws the hidden cases; keep the one of your course to yourself. A trial on one FILE has 0."
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Submissions at the same time.", min=1)] = 2,
    seconds: Annotated[float, typer.Option(help="Of processor time for one answer.", min=0.1)] = 5.0,
    out: Annotated[Path | None, typer.Option(help="Folder for grades.csv, and JSON and feedback by student.")] = None,
    gradescope: Annotated[Path | None, typer.Option(help="Gradescope's results.json, of one FILE.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Grade submissions of LAB: hidden cases in a sandbox, marks worked out outside of it.

    Exit status 0: every submission has its marks. 1: one could not be graded, which its line says. 2: a wrong call, or
    no sandbox on this machine.
    """
    from agentsafe_envs.cli.terminal import say
    from labs.grading import feedback
    from labs.grading.checks import examine
    from labs.grading.grade import grade_many
    from labs.grading.reading import find_submissions
    from labs.grading.sandbox import SubmissionLimits

    found = find_lab(lab)
    files = find_submissions(path, found)
    if gradescope and path.is_dir():
        raise ValueError(f"--gradescope is for one FILE and {path} is a folder; Gradescope grades each by itself")
    if seed is None and (gradescope or path.is_dir()):
        raise ValueError(
            "--seed is missing, a number that only you know: it draws the hidden cases, and those of the seed 0 can be "
            "looked up by everybody who has this repository"
        )
    examine()
    grades = []
    limits = SubmissionLimits(question_s=seconds)
    for each in grade_many(found, files, seed=seed or 0, workers=workers, limits=limits):
        grades.append(feedback.without_names(each) if gradescope else each)
        if not as_json:
            say(feedback.line(each) if path.is_dir() else feedback.text(grades[-1]).rstrip())
    if as_json:
        typer.echo(json.dumps([each.document() for each in grades], indent=2))
    if out:
        feedback.write(grades, out)
    if gradescope:
        gradescope.write_text(json.dumps(feedback.gradescope(grades[0]), indent=2) + "\n", encoding="utf-8")
    raise typer.Exit(int(any(each.status == "ungraded" for each in grades)))


@app.command()
def check() -> None:
    """Look at the sandbox that submissions run in, from inside."""
    from labs.grading.checks import examine

    for promise in examine():
        typer.echo(f"ok  {promise}")


if __name__ == "__main__":
    app(prog_name="python -m labs")
