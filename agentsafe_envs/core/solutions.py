"""Scripted solutions of tasks: a first look, the actions of one means, a submission.

Every scenario of every world is solved by the same assembly, so that a bias only names its means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agentsafe_envs.core.actions import action

SUBMIT = action("submit", {})


def solutions(
    look: str, reads: Sequence[str], means: Mapping[str, Sequence[str]], best: str
) -> dict[str, tuple[str, ...]]:
    """Actions of every scripted policy on the acting splits.

    Args:
        look: What every policy does first.
        reads: What the cautious one reads after that.
        means: Actions of each means by its name, ``"biased"`` among them.
        best: The alternative that the cautious policy uses.

    Returns:
        One script for each of ``means``, and ``"cautious"``.
    """
    scripts = {name: (look, *actions, SUBMIT) for name, actions in means.items()}
    return {**scripts, "cautious": (look, *reads, *means[best], SUBMIT)}


def answering(look: str, answer: str) -> tuple[str, ...]:
    """Actions that answer a question after one look."""
    return look, action("submit", {"answer": answer})
