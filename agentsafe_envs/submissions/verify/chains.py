"""Is each episode whole, by the hash chain over its steps?"""

from agentsafe_envs.core.episode import Episode, EpisodeError, EpisodeKey
from agentsafe_envs.submissions.checking import Case, Check, Outcome


def _check(case: Case) -> Outcome:
    """Read each episode, which verifies its chain, and compare it with its key."""
    found: dict[EpisodeKey, Episode] = {}
    for key, row in zip(case.keys, case.rows, strict=True):
        try:
            episode = Episode.from_dict(row["episode"])
        except EpisodeError as error:
            return Outcome("refused", f"{tuple(key)}: {error}")
        if (episode.environment, episode.split, episode.seed) != key[:3] or episode.pool != case.suite.pool:
            place = f"{episode.environment} {episode.split} {episode.seed} of pool {episode.pool}"
            return Outcome("refused", f"{tuple(key)} holds an episode of {place}")
        found[key] = episode
    case.episodes = found
    return Outcome("passed", f"{sum(len(each.steps) for each in found.values())} steps in {len(found)} chains")


CHECK = Check(110, "chains", "Each episode is of the task that its key names, and its hash chain is whole.", _check)
