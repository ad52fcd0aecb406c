"""What may reach a person's terminal.

What agents, servers and files of others wrote can hold commands to a terminal: other colours, another
title, lines overwritten or turned backwards. Whoever prints it for people prints it through here.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

NO_END = 10_000
"""Characters of a line where no terminal breaks it."""


def escape_what_it_cannot_show() -> None:
    """Let a terminal of an old encoding, Latin-1 say, show escapes instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """``text`` with escapes in place of whatever commands a terminal, reorders its line or cannot be printed."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text
    )


def say(text: str, *, err: bool = False) -> None:
    """Print ``text`` and a line break, on standard error if ``err``."""
    typer.echo(printable(text), err=err)


def say_columns(lines: Sequence[Sequence[str]]) -> None:
    """Print lines of cells in columns; no cell is cut, as a table of rich would be in a pipe of 80 columns."""
    shown = [[printable(cell) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for line in shown:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def console() -> Console:
    """Where tables go: as wide as the terminal, or without end where there is none, so that a pipe cuts no cell."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=NO_END)


def say_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table that fits a terminal; where the output is none, columns in which no cell is cut."""
    from rich.table import Table
    from rich.text import Text

    out = console()
    if not out.is_terminal:
        say_columns([heads, *lines])
        return
    table = Table(*heads)
    for line in lines:
        table.add_row(*(Text(printable(cell), overflow="fold") for cell in line))
    out.print(table)
