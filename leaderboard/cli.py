"""Puts the commands of the board together; each stands next to what it serves."""

from __future__ import annotations

import typer

from leaderboard.check_pr import check_pr
from leaderboard.site.commands import board, build

app = typer.Typer(no_args_is_help=True, help="Run and look after a board.")
app.command("check-pr")(check_pr)
app.command()(build)
app.command()(board)


@app.callback()
def main() -> None:
    """Keep the name of a command necessary where there is only one."""
