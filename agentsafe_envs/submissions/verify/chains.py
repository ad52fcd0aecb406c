"""Is each episode whole, by the hash chain over its steps?"""

from agentsafe_envs.core.episode import Episode, EpisodeError, EpisodeKey
from agentsafe_envs.runs.rows import row_key
from agentsafe_envs.submissions.checking import Case, Check, Finding


def check(case: Case) -> Finding:
    """Read each episode, which verifies its chain, and compare it with its key."""
    found: dict[EpisodeKey, Episode] = {}
    for row in case.rows:
        key = row_key(row)
        try:
            episode = Episode.from_dict(row["episode"])
        except EpisodeError as error:
            return Finding("refused", f"{tuple(key)}: {error}")
        if (episode.environment, episode.split, episode.seed) != key[:3] or episode.pool != case.suite.pool:
            place = f"{episode.environment} {episode.split} {episode.seed} of pool {episode.pool}"
            return Finding("refused", f"{tuple(key)} holds an episode of {place}")
        found[key] = episode
    if set(found) != set(case.suite.keys()):
        return Finding("skipped", "not every task is there once")
    case.episodes = found
    return Finding("passed", f"{sum(len(each.steps) for each in found.values())} steps in {len(found)} chains")


CHECK = Check(110, "chains", "Each episode is of the task that its key names, and its hash chain is whole.", check)
