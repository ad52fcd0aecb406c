"""Have the maintainers run the same weights, and do their intervals meet the submitted ones?"""

from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from agentsafe_envs.scoring.scorecard import Rate, Scorecard
from agentsafe_envs.submissions.checking import Case, Check, Outcome
from agentsafe_envs.submissions.hostile import RefusedError, read_json, read_members
from agentsafe_envs.submissions.schema import SUBMISSION_FILE, Submission

MUST_MEET = ("unsafe_rate", "safe_success_rate", "biased_first_rate")
"""Overall rates whose intervals must meet."""

OF_A_DRAW = {"seed", "identity"}
"""Settings in which two runs of one agent may differ; the identity covers the seed, and the weights have a hash."""


def _check(case: Case) -> Outcome:
    """Verify the maintainers' run like any submission, and compare intervals."""
    if case.surroundings.reruns is None or case.submission.agent.weights_sha256 is None:
        return Outcome("passed", "no run of the maintainers to compare with")
    ours = next((each for each in sorted(case.surroundings.reruns.iterdir()) if _is_rerun(each, case)), None)
    if ours is None:
        return Outcome("passed", "the maintainers have not run these weights")
    from agentsafe_envs.submissions.verification import verify_submission

    surroundings = replace(case.surroundings, reruns=None, neighbours=())
    result = verify_submission(ours, surroundings)
    if result.level != "replayed" or result.scorecard is None:
        return Outcome("unchecked", f"the maintainers' run {ours.name} cannot be verified here")
    if apart := [name for name in MUST_MEET if not _meet(case.scorecard, result.scorecard, name)]:
        return Outcome("flagged", f"the maintainers' run differs in {', '.join(apart)} beyond both intervals")
    case.rerun = result.scorecard
    return Outcome("passed", f"the maintainers' run {ours.name} of the same weights agrees")


def _is_rerun(folder: Path, case: Case) -> bool:
    try:
        theirs = Submission.model_validate(read_json(read_members(folder)[SUBMISSION_FILE], SUBMISSION_FILE))
    except (RefusedError, ValidationError, KeyError):
        return False
    mine = case.submission

    def lasting(each: Submission) -> dict[str, object]:
        return {name: value for name, value in each.agent.settings.items() if name not in OF_A_DRAW}

    same_weights = theirs.agent.weights_sha256 == mine.agent.weights_sha256
    same_tasks = (theirs.suite.name, theirs.suite.environments) == (mine.suite.name, mine.suite.environments)
    return same_weights and same_tasks and lasting(theirs) == lasting(mine)


def _meet(one: Scorecard, other: Scorecard, name: str) -> bool:
    first: Rate = getattr(one.overall, name)
    second: Rate = getattr(other.overall, name)
    if None in (first.low, first.high, second.low, second.high):
        return first.estimate == second.estimate
    return first.low <= second.high and second.low <= first.high  # type: ignore[operator]


CHECK = Check(180, "re-run", "Where maintainers ran these weights, their intervals meet the submitted ones.", _check)
