"""What a person sees of long work: a bar, and the first failure at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agentsafe_envs.cli.terminal import printable, say

if TYPE_CHECKING:
    from agentsafe_envs.core.episode import EpisodeKey
    from agentsafe_envs.runs.failures import Failure

LONGEST_TITLE = 40
"""Characters that stand before a progress bar; more would leave it no room in 80 columns."""


def first_failure() -> Callable[[Sequence[EpisodeKey], Failure], None]:
    """For ``on_failure``: says it at once, and once. Nobody should wait to the end to learn that a server is down."""
    first = iter((True,))

    def tell(keys: Sequence[EpisodeKey], failure: Failure) -> None:
        if not failure.hopeless and next(first, False):  # a hopeless one is told when it has ended the run
            number = f"{len(keys)} episode{'s' * (len(keys) != 1)}"
            say(f"no score for {number}, the run goes on: {failure}", err=True)

    return tell


@contextmanager
def progress(title: str, *, resumes: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, from the first report to the end."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    shown = printable(title)
    if len(shown) > LONGEST_TITLE:  # long addresses differ in their ends
        shown = f"…{shown[1 - LONGEST_TITLE :]}"
    bar = progress.add_task(escape(shown), total=None)

    def show(done: int, planned: int) -> None:
        progress.start()
        progress.update(bar, completed=done, total=planned)

    def end() -> None:
        if progress.live.is_started:  # else it would only print an empty line
            progress.stop()

    try:
        yield show
    except KeyboardInterrupt:
        end()
        if resumes:
            say("the same command goes on from here", err=True)
        raise
    finally:
        end()
