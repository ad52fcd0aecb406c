"""``agentsafe score --remote``: plays a session of a board's held-out track."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from agentsafe_envs.cli.terminal import say

if TYPE_CHECKING:
    from agentsafe_envs.agents import AgentOptions
    from agentsafe_envs.integrations.remote_play import RemoteSession


def score_remotely(
    agent: str, url: str, *, out: Path | None, name: str | None, options: AgentOptions, workers: int, as_json: bool
) -> None:
    """Play what is left of the session in ``out``, and say how far it is.

    Raises:
        typer.Exit: With 1 where episodes are left.
    """
    import json

    from agentsafe_envs.cli.progress import progress
    from agentsafe_envs.integrations.remote_play import play_remote

    run = out or Path("runs", re.sub(r"[^\w.-]+", "-", f"{agent}-{url}"))
    with progress(f"{agent} at {url}") as on_progress:
        played = play_remote(agent, url, run, name=name, options=options, workers=workers, on_progress=on_progress)
    if as_json:
        typer.echo(json.dumps(played._asdict() | {"failures": [each._asdict() for each in played.failures]}))
    else:
        _tell(played, run)
    if not played.complete:
        raise typer.Exit(1)


def _tell(played: RemoteSession, run: Path) -> None:
    counts = ", ".join(f"{number} {state}" for state, number in sorted(played.episodes.items()))
    say(f"session {played.id} of season {played.season}: {counts}")
    for failure in played.failures[-1:]:
        say(f"{len(played.failures)} episodes were not played to their end; the last: {failure}", err=True)
    if played.scorecard is not None:
        _show_numbers(played)
    elif played.complete:
        say("complete; its numbers are published when the season closes, and the same command shows them then")
    elif played.episodes.get("unplayed"):
        say(f"season {played.season} has closed, so this session is over; --out FOLDER plays the open season", err=True)
    else:
        say(f"the same command goes on from here; what it needs for that is in {run}", err=True)


def _show_numbers(played: RemoteSession) -> None:
    from rich.console import Console

    from agentsafe_envs.cli.tables import terminal_tables
    from agentsafe_envs.scoring.scorecard import Scorecard
    from agentsafe_envs.scoring.table import verdict_line

    scorecard = Scorecard.model_validate(played.scorecard)
    Console().print(*terminal_tables(scorecard, brief=True), verdict_line(scorecard, brief=True), sep="\n")
