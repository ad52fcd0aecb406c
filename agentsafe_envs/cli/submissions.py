"""``agentsafe submit`` and ``verify``: each parses, calls the library, and prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentsafe_envs.cli.options import AsJson, SandboxOption
from agentsafe_envs.cli.terminal import printable, say

if TYPE_CHECKING:
    from agentsafe_envs.submissions.verification import VerificationResult


def submit(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a complete run of `agentsafe score`.")],
    name: Annotated[str, typer.Option(help="Name of the agent on the board.")],
    about: Annotated[
        Path, typer.Option(help="TOML with contact and licence. If the file is missing, an example is printed.")
    ],
    out: Annotated[Path, typer.Option(help="New folder for the submission.")],
    card: Annotated[
        Path | None, typer.Option(help="Markdown about the agent; its first line is `# NAME`. Default: a short text.")
    ] = None,
    sign: Annotated[Path | None, typer.Option(help="Ed25519 private key (PEM) to sign with.")] = None,
) -> None:
    """Make a submission to the leaderboard from a complete run of a whole suite.

    It holds the episodes and no number: everything on the board is derived from them. Sends nothing anywhere.
    """
    from agentsafe_envs.submissions.bundle import make_submission, read_about

    made = make_submission(run, out, name=name, about=read_about(about), card=card, key=sign)
    size = sum(file.stat().st_size for file in out.iterdir())
    say(f"{out} holds submission {made.digest()[:16]}, {size / 1e3:.0f} kB. Check it: agentsafe verify {out}")


def verify(
    path: Annotated[Path, typer.Argument(help="A submission's folder or archive, or a folder of many.")],
    workers: Annotated[int, typer.Option(help="Processes that replay at the same time.", min=1)] = 1,
    sandbox: SandboxOption = None,
    among: Annotated[
        Path | None, typer.Option(help="Folder of other submissions; copies and look-alikes of theirs are refused.")
    ] = None,
    reruns: Annotated[Path | None, typer.Option(help="Folder of the maintainers' own runs.")] = None,
    keys: Annotated[Path | None, typer.Option(help="TOML: the name of each listed ed25519 key by its hex.")] = None,
    as_json: AsJson = False,
) -> None:
    """Play a submission's episodes again, judge them here, and derive its numbers.

    Exit status 0: every check passed. 1: one refused. 2: none refused, and one cannot be done on this machine, for
    instance without a sandbox. Nothing that was submitted is run outside the sandbox.
    """
    from agentsafe_envs.cli.progress import progress
    from agentsafe_envs.submissions.folders import find_submissions, is_submission, surroundings_of, verify_many

    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; expected what `agentsafe submit` made, or a folder of many")
    single = is_submission(path)
    paths = [path] if single else find_submissions(path)
    if not paths:
        raise ValueError(f"{path} holds no submission; expected folders of `agentsafe submit`")
    with progress(f"replaying {path.name}", resumes=False) as on_progress:
        surroundings = surroundings_of(
            among=among, verified=paths, reruns=reruns, keys=keys, workers=workers, on_progress=on_progress
        )
        results = list(verify_many(paths, surroundings))
    if as_json:
        documents = [each.document() for each in results]
        typer.echo(json.dumps(documents[0] if single else documents, indent=2))
    elif single:
        show_checks(results[0])
    else:
        show_table(results)
    statuses = {each.exit_status for each in results}
    raise typer.Exit(1 if 1 in statuses else max(statuses))


def show_checks(result: VerificationResult) -> None:
    """A line a check, then the level and the numbers."""
    width = max(len(check.name) for check in result.checks)
    for check in result.checks:
        say(f"{check.status:9} {check.name:{width}}  {check.detail}")
    if result.exit_status == 1:
        say("refused: nothing of it is shown on a board")
        return
    say(f"\nlevel: {result.level}" + (" (some checks cannot be done here)" if result.exit_status == 2 else ""))
    for heading, scorecard in (("derived", result.scorecard), ("maintainers' run", result.rerun)):
        if scorecard:
            say(f"{heading}: {', '.join(_numbers(scorecard.overall))}")


def show_table(results: list[VerificationResult]) -> None:
    """A line a submission."""
    lines = [["submission", "level", "flags", *_HEADINGS]]
    for each in results:
        if each.scorecard is None:
            why = next((f"{check.name}: {check.detail}" for check in each.checks if check.status == "refused"), "")
            lines.append([each.path.name, "refused" if why else "unchecked", why[:60], *["-"] * len(_HEADINGS)])
        else:
            flags = ",".join(check.name for check in each.flags) or "-"
            lines.append([each.path.name, str(each.level), flags, *_shares(each.scorecard.overall)])
    shown = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for line in shown:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


_HEADINGS = {
    "safe success": "safe_success_rate",
    "unsafe": "unsafe_rate",
    "biased first": "biased_first_rate",
    "broke the rule": "override_rate",
}


def _shares(overall: object) -> list[str]:
    rates = [getattr(overall, field) for field in _HEADINGS.values()]
    return [
        ("no conclusion" if rate.n else "-")
        if rate.estimate is None
        else f"{100 * rate.estimate:.0f}% [{100 * rate.low:.0f}-{100 * rate.high:.0f}]"
        for rate in rates
    ]


def _numbers(overall: object) -> list[str]:
    return [f"{heading} {share}" for heading, share in zip(_HEADINGS, _shares(overall), strict=True)]
