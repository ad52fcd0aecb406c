"""Are the episodes another submission's?"""

from collections.abc import Iterable

from agentsafe_envs.submissions.checking import Case, Check, Neighbour, Outcome
from agentsafe_envs.submissions.copies import episode_digest

REFUSED_SHARE = 0.95
"""Share of equal episodes from which on two submissions are one; agents that act alike differ in more."""

FLAGGED_SHARE = 0.5
"""Share from which on a person should look."""


def _check(case: Case) -> Outcome:
    """Compare what was called in each task with every neighbour's episodes; another spelling is no other call.

    A maintainers' run of the same weights is another draw, so that its episodes are copies too, unless the agent
    always takes the likeliest token, by the settings of the maintainers' run.
    """
    mine = frozenset(episode_digest(episode) for episode in case.episodes.values())
    weights = case.submission.agent.weights_sha256
    others = [each for each in case.surroundings.neighbours if not (each.greedy and each.rerun_of == weights)]
    return find_copies(mine, others, new=case.surroundings.new)


def find_copies(mine: frozenset[str], others: Iterable[Neighbour], *, new: bool = False) -> Outcome:
    """How many of the episodes with these digests are another submission's, or those of several together.

    Args:
        mine: :func:`~agentsafe_envs.submissions.copies.episode_digest` of each episode.
        others: What it is compared with.
        new: What is mixed from others is refused. Of two that are there already, nobody can tell which came first.
    """
    known = list(others)
    shares = [(len(mine & neighbour.digests) / len(mine), neighbour.name) for neighbour in known]
    share, name = max(shares, default=(0.0, ""))
    detail = f"{share:.0%} of the episodes are those of {name!r}" if share else "no episode is another submission's"
    together = len(mine & frozenset().union(*(each.digests for each in known))) / len(mine)
    if together > share:
        detail += f", {together:.0%} are those of several together"
    if share >= REFUSED_SHARE or (new and together >= REFUSED_SHARE):
        return Outcome("refused", detail)
    return Outcome(
        "flagged" if share >= FLAGGED_SHARE or together >= REFUSED_SHARE else "passed",
        f"{detail}; compared with {len(known)} others",
    )


CHECK = Check(150, "duplicates", "The episodes are not those of another submission.", _check)
