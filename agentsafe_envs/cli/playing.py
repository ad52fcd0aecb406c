"""A run is played in front of a person: a bar, the first failure at once, and what was found there already."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentsafe_envs.cli.progress import first_failure, progress
from agentsafe_envs.cli.terminal import say

if TYPE_CHECKING:
    from agentsafe_envs.scoring.rollout import PlayedSuite
    from agentsafe_envs.scoring.suites import Suite


def play_and_tell(title: str, agent: str, suite: Suite, folder: Path, **settings: Any) -> PlayedSuite:
    """Play what ``folder`` lacks of ``suite``, and tell on standard error how that goes.

    Args:
        title: Stands before the bar.
        agent: As for `agentsafe score`.
        suite: What to play.
        folder: Run directory.
        settings: Further arguments of :func:`~agentsafe_envs.scoring.rollout.play_suite`, which also says what it
            raises.
    """
    from agentsafe_envs.scoring.rollout import play_suite

    with progress(title) as on_progress:
        played = play_suite(
            agent,
            suite,
            folder,
            on_progress=on_progress,
            on_failure=first_failure(),
            on_set_aside=lambda place: say(f"played anew; the run that was there is kept in {place}", err=True),
            **settings,
        )
    if played.complete_since:
        since = f"{played.complete_since:%Y-%m-%d %H:%M}"
        say(f"complete since {since}, nothing was played; --fresh plays it again", err=True)
    return played
