"""What may reach a person's terminal.

What agents, servers and files of others wrote can hold commands to a terminal: other colours, another
title, lines overwritten or turned backwards. Whoever prints it for people prints it through here.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

import typer


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
