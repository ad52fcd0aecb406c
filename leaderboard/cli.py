"""Puts the commands of the board together; each stands next to what it serves."""

from __future__ import annotations

import typer

from leaderboard.check_pr import check_pr
from leaderboard.server.commands import admin, serve, work
from leaderboard.server.season_commands import verify_season
from leaderboard.site.commands import board, build

app = typer.Typer(no_args_is_help=True, help="Run and look after a board.")
app.command("check-pr")(check_pr)
app.command()(build)
app.command()(board)
app.command()(serve)
app.command()(work)
app.command("verify-season")(verify_season)
app.add_typer(admin, name="admin")


@app.callback()
def main() -> None:
    """Run and look after a board."""
