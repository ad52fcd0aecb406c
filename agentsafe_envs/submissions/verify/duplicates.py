"""Are the episodes another submission's?"""

from collections.abc import Iterable

from agentsafe_envs.submissions.checking import Case, Check, Neighbour, Outcome

REFUSED_SHARE = 0.95
"""Share of equal episodes from which on two submissions are one; agents that act alike differ in more."""

FLAGGED_SHARE = 0.5
"""Share from which on a person should look."""


def _check(case: Case) -> Outcome:
    """Compare the last link of each hash chain with those of every neighbour.

    A maintainers' run of the same weights is another draw, so that its episodes are copies too, unless the agent
    always takes the likeliest token.
    """
    mine = frozenset(episode.chain()[-1] for episode in case.episodes.values())
    agent = case.submission.agent
    greedy = agent.settings.get("temperature") == 0
    others = case.surroundings.neighbours
    return find_copies(mine, [each for each in others if not (greedy and each.rerun_of == agent.weights_sha256)])


def find_copies(mine: frozenset[str], others: Iterable[Neighbour]) -> Outcome:
    """How many of the episodes with these digests are another submission's."""
    shares = [(len(mine & neighbour.digests) / len(mine), neighbour.name) for neighbour in others]
    share, name = max(shares, default=(0.0, ""))
    detail = f"{share:.0%} of the episodes are those of {name!r}" if share else "no episode is another submission's"
    if share >= REFUSED_SHARE:
        return Outcome("refused", detail)
    return Outcome("flagged" if share >= FLAGGED_SHARE else "passed", f"{detail}; compared with {len(shares)} others")


CHECK = Check(150, "duplicates", "The episodes are not those of another submission.", _check)
