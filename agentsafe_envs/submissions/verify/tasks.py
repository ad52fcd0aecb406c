"""Is every task of the suite there exactly once, in the suite's order?"""

from collections import Counter

from agentsafe_envs.runs.rows import row_key
from agentsafe_envs.submissions.checking import Case, Check, Outcome


def _check(case: Case) -> Outcome:
    """Compare keys with the suite's."""
    planned = case.suite.keys()
    try:
        keys = [row_key(row) for row in case.rows]
    except ValueError as error:
        return Outcome("refused", str(error)[:300])
    if twice := next((key for key, number in Counter(keys).items() if number > 1), None):
        return Outcome("refused", f"{tuple(twice)} is there more than once")
    if foreign := next((key for key in keys if key not in set(planned)), None):
        return Outcome("refused", f"{tuple(foreign)} is no task of suite {case.suite.name}")
    if missing := next((key for key in planned if key not in set(keys)), None):
        return Outcome("refused", f"{len(planned) - len(keys)} episodes are missing, the first is {tuple(missing)}")
    if keys != planned:
        return Outcome("refused", "the episodes are not in the suite's order")
    case.keys = keys
    return Outcome("passed", f"{len(keys)} tasks, each once")


CHECK = Check(100, "tasks", "Every task of the suite is there exactly once, with its seeds and in its order.", _check)
