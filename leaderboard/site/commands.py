"""``python -m leaderboard build`` and ``board``: each parses, calls the library, and prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentsafe_envs.cli.terminal import say

HERE = Path(__file__).parent.parent

Submissions = Annotated[Path, typer.Option(help="Folder of submissions.")]
Reruns = Annotated[Path, typer.Option(help="Folder of the maintainers' own runs.")]
Keys = Annotated[Path, typer.Option(help="TOML with the name of each listed key.")]
Out = Annotated[Path, typer.Option(help="Folder for the pages; an older board there is replaced.")]
Keep = Annotated[Path | None, typer.Option(help="Folder in which results are kept; by default in the user's cache.")]
Workers = Annotated[int, typer.Option(help="Processes that replay at the same time.", min=1)]
Home = Annotated[str, typer.Option(help="Public address of the board, for the downloads.")]

SUBMISSIONS, RERUNS, KEYS = HERE / "submissions", HERE / "reruns", HERE / "keys.toml"


def build(
    out: Out,
    submissions: Submissions = SUBMISSIONS,
    reruns: Reruns = RERUNS,
    keys: Keys = KEYS,
    keep: Keep = None,
    workers: Workers = 1,
    home: Home = "",
) -> None:
    """Verify the submissions and write the board: a folder of pages that needs no server.

    The first time takes about a minute for each 1,000 episodes; what was found is kept for the next time. Exit
    status 1 where a submission was refused; the others are on the board.
    """
    refused = _build(out, submissions, reruns, keys, keep, workers, home)
    if refused:
        raise typer.Exit(1)


def board(
    out: Out = Path("results/board"),
    submissions: Submissions = SUBMISSIONS,
    reruns: Reruns = RERUNS,
    keys: Keys = KEYS,
    keep: Keep = None,
    workers: Workers = 2,
    port: Annotated[int, typer.Option(help="Port of this machine; 0 takes a free one.", min=0, max=65_535)] = 0,
    open_browser: Annotated[bool, typer.Option("--open/--no-open", help="Open a browser.")] = True,
) -> None:
    """Build the board, serve it on this machine, and open it."""
    from leaderboard.site.serving import serve_folder

    _build(out, submissions, reruns, keys, keep, workers, "")
    serve_folder(out, port, open_browser=open_browser, say=say)


def _build(out: Path, submissions: Path, reruns: Path, keys: Path, keep: Path | None, workers: int, home: str) -> int:
    from leaderboard.site.build import build_site
    from leaderboard.site.collecting import default_keep

    def told(name: str, known: bool) -> None:
        say(f"{name}: {'verified before' if known else 'verifying'}", err=True)

    found = build_site(
        submissions,
        out,
        keep=keep or default_keep(),
        reruns=reruns if reruns.is_dir() else None,
        keys=keys if keys.is_file() else None,
        workers=workers,
        home=home,
        on_submission=told,
    )
    for each in found.refused:
        say(f"refused {each.name}: {each.reason}", err=True)
    say(f"{out / 'index.html'} shows {len(found.results)} agents")
    return len(found.refused)
