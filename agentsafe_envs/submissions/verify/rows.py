"""Is each line an episode with its key, and nothing that was derived from it?"""

from agentsafe_envs.submissions.checking import Case, Check, Outcome
from agentsafe_envs.submissions.hostile import RefusedError, read_json, read_lines

FIELDS = {"key", "episode"}
OPTIONAL = {"system"}
LONGEST_SYSTEM = 400
"""Characters that say what a Bash episode ran on."""


def _check(case: Case) -> Outcome:
    """Unpack and read the episodes, no more than the suite has."""
    name = case.submission.episodes_file
    most = len(case.suite.keys())
    rows = []
    try:
        for number, line in enumerate(read_lines(name, case.members[name]), 1):
            if number > most:
                return Outcome("refused", f"{name} has more than the suite's {most} episodes")
            row = read_json(line, f"{name}, line {number}")
            if not isinstance(row, dict) or not FIELDS <= row.keys() <= FIELDS | OPTIONAL:
                held = sorted(row) if isinstance(row, dict) else type(row).__name__
                return Outcome("refused", f"{name}, line {number} holds {held!r:.100}, expected {sorted(FIELDS)} alone")
            system = row.get("system", "")
            if not isinstance(system, str) or len(system) > LONGEST_SYSTEM or not (system + " ").isprintable():
                return Outcome("refused", f"{name}, line {number}: system is no short line of text")
            rows.append(row)
    except RefusedError as error:
        return Outcome("refused", str(error))
    case.rows = rows
    return Outcome("passed", f"{len(rows)} lines")


CHECK = Check(90, "rows", "Each line is strict JSON: an episode and its key, without verdict, score or note.", _check)
