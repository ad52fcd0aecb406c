"""Does every action lead to what was recorded when it is played again here?"""

from agentsafe_envs.registration import find
from agentsafe_envs.scoring.scorecard import UNSCORED_LIMIT
from agentsafe_envs.submissions.checking import Case, Check, Outcome
from agentsafe_envs.submissions.replaying import replay_all


def _check(case: Case) -> Outcome:
    """Play every episode again: the cloud's exactly, Bash's to the same effects and end.

    What a Bash command did may depend on chance. Up to the share of episodes that any run may lack, one that
    plays otherwise here stays unscored; more of them refuse the submission.
    """
    replayed = replay_all(case.episodes, case.surroundings.workers, case.surroundings.on_progress)
    case.replayed = replayed
    other = {key: each.difference for key, each in replayed.items() if each.difference}
    in_cloud = [key for key in other if find(key.environment).world == "cloud"]
    in_bash = [key for key in other if key not in in_cloud]
    allowed = UNSCORED_LIMIT * sum(find(key.environment).world == "bash" for key in replayed)
    if refused := in_cloud or (in_bash if len(in_bash) > allowed else []):
        return Outcome("refused", f"{len(refused)} of {len(replayed)}: {tuple(refused[0])}: {other[refused[0]]:.300}")
    if unchecked := [key for key, each in replayed.items() if each.unchecked]:
        return Outcome(
            "unchecked",
            f"not checked here: {len(unchecked)} of {len(replayed)} episodes: {replayed[unchecked[0]].unchecked:.200}",
        )
    masked = [key for key, each in replayed.items() if each.masked]
    notes = []
    if in_bash:
        notes.append(f"{len(in_bash)} Bash episodes play otherwise here and stay unscored, first {tuple(in_bash[0])}")
    if masked:
        first = replayed[masked[0]].masked
        notes.append(f"{len(masked)} Bash episodes differ in what the masks cover, first {tuple(masked[0])}: {first}")
    same = f"{len(replayed) - len(in_bash) - len(masked)} of {len(replayed)} episodes replay to the letter"
    return Outcome("flagged" if notes else "passed", "; ".join([same, *notes]))


CHECK = Check(130, "replay", "Every action was played again here and led to what was recorded.", _check)
