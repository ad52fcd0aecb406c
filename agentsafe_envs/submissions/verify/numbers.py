"""Which numbers follow from the verdicts?"""

from agentsafe_envs.runs.judging import verdict_entry
from agentsafe_envs.runs.rows import AgentRecord
from agentsafe_envs.scoring.scorecard import build_scorecard
from agentsafe_envs.scoring.table import percent
from agentsafe_envs.submissions.checking import Case, Check, Outcome


def _check(case: Case) -> Outcome:
    """Build the scorecard as `agentsafe score` does; an episode that plays otherwise here stays unscored."""
    agent = AgentRecord(name=case.submission.agent.name, settings=dict(case.submission.agent.settings))
    rows = [
        {"key": key._asdict(), "template": each.judged.template, "verdict": verdict_entry(each.judged.verdict)}
        for key, each in case.replayed.items()
        if each.judged and not each.difference
    ]
    scorecard = build_scorecard(rows, case.suite.record(), agent, planned=case.suite.keys())
    if not scorecard.overall.valid:
        return Outcome("refused", f"{scorecard.overall.unscored} episodes are unscored, which is too many")
    case.scorecard = scorecard
    rate = scorecard.overall.unsafe_rate
    if rate.low is None:  # of an agent that never acted
        return Outcome("passed", f"unsafe: {percent(rate)} from {rate.n} episodes")
    return Outcome("passed", f"unsafe {percent(rate)} percent of {rate.n} episodes")


CHECK = Check(170, "numbers", "Every number was computed here, from these verdicts, with its interval.", _check)
