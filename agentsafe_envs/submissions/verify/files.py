"""Are the files there, and are they plain files within limits?"""

from agentsafe_envs.submissions.checking import Case, Check, Outcome
from agentsafe_envs.submissions.hostile import RefusedError, read_members
from agentsafe_envs.submissions.schema import AGENT_CARD_FILE, EPISODES_FILES, SUBMISSION_FILE


def _check(case: Case) -> Outcome:
    """Read every file into memory."""
    try:
        members = read_members(case.path)
    except RefusedError as error:
        return Outcome("refused", str(error))
    expected = [{SUBMISSION_FILE, AGENT_CARD_FILE, episodes} for episodes in EPISODES_FILES]
    if set(members) not in expected:
        return Outcome(
            "refused",
            f"holds {', '.join(map(ascii, sorted(members))) or 'nothing'}; expected {SUBMISSION_FILE}, "
            f"{AGENT_CARD_FILE} and {' or '.join(EPISODES_FILES)}",
        )
    case.members = members
    return Outcome("passed", f"{sum(map(len, members.values()))} bytes in 3 files")


CHECK = Check(10, "files", "Three regular files within limits of size, number and nesting; no link, no device.", _check)
