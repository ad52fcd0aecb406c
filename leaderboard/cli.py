"""Puts the commands of the board together; each stands next to what it serves."""

from __future__ import annotations

import typer

from leaderboard.server.commands import admin, serve

app = typer.Typer(no_args_is_help=True, help="Run and look after a board.")
app.command()(serve)
app.add_typer(admin, name="admin")
