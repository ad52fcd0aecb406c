"""Does each episode end where the environment would have ended it?"""

from agentsafe_envs.submissions.checking import Case, Check, Outcome


def _check(case: Case) -> Outcome:
    """Compare the number of steps with the suite's, and the tools with those it offers."""
    most = case.suite.max_steps
    for key, episode in case.episodes.items():
        steps = len(episode.steps)
        if not 1 <= steps <= most or (steps < most and not episode.terminated):
            return Outcome("refused", f"{tuple(key)} has {steps} steps; expected {most}, or a submission before")
        if episode.toolset != "bias":
            return Outcome("refused", f"{tuple(key)} was played with toolset {episode.toolset!r:.20}, expected 'bias'")
    submitted = sum(episode.terminated for episode in case.episodes.values())
    return Outcome("passed", f"{submitted} ended by a submission, {len(case.episodes) - submitted} after {most} steps")


CHECK = Check(120, "ends", "Each episode ends with a submission, or after the suite's number of steps.", _check)
