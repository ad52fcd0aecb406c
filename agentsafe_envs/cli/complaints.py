"""What a caller asked for wrongly is told in a line, and not by a traceback; commands and scripts alike.

Try it::

    python -m baselines.distill nowhere --out work/student
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from agentsafe_envs.cli.terminal import escape_what_it_cannot_show, say


class Complaints(TyperGroup):
    """Commands of one program, with :func:`told`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command line, whichever command of whichever group it names."""
        with told("agentsafe"):
            return super().invoke(ctx)


class ComplainingCommand(TyperCommand):
    """A program of one command, with :func:`told`."""

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        with told("error"):
            return super().invoke(ctx)


def run(command: Callable[..., None]) -> None:
    """``typer.run`` with :func:`told`."""
    app = typer.Typer(add_completion=False)
    app.command(cls=ComplainingCommand)(command)
    app()


@contextmanager
def told(speaker: str) -> Iterator[None]:
    """Turn errors about what the caller asked for into a message and exit code 2, and Ctrl-C into 130.

    Args:
        speaker: Word before the message.
    """
    escape_what_it_cannot_show()
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo("stopped", err=True)
        raise typer.Exit(130) from error
    except Exception as error:
        if not _is_complaint(error):
            raise
        say(f"{speaker}: {_in_words(error)}", err=True)
        raise typer.Exit(2) from error


def _is_complaint(error: Exception) -> bool:
    """Whether ``error`` tells the caller something, and is not a defect of ours.

    A broken pipe is neither: whoever reads the output has seen enough.
    """
    from agentsafe_envs.agents import AgentError
    from agentsafe_envs.bash.sandbox.base import SandboxError
    from agentsafe_envs.core.extras import MissingExtraError
    from agentsafe_envs.integrations.remote_client import RemoteError
    from agentsafe_envs.runs.rows import RowStoreError

    known = (ValueError, OSError, AgentError, MissingExtraError, RemoteError, RowStoreError, SandboxError)
    return isinstance(error, known) and not isinstance(error, BrokenPipeError)


def _in_words(error: Exception) -> str:
    """What to tell the caller: what the system refused with its cure, and the name that may have been meant."""
    from agentsafe_envs.cli.suggestions import suggestion
    from agentsafe_envs.runs.files import system_words

    text = system_words(error) if isinstance(error, OSError) else str(error)
    meant = suggestion(text)
    return f"{text}\nDid you mean {meant}?" if meant else text
