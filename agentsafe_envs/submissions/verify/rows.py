"""Is each line an episode with its key, and nothing that was derived from it?"""

import re
from typing import Any

from agentsafe_envs.bash.sandbox.checks import SANDBOXES
from agentsafe_envs.registration import find
from agentsafe_envs.submissions.checking import Case, Check, Outcome
from agentsafe_envs.submissions.hostile import RefusedError, read_json, read_lines
from agentsafe_envs.submissions.verify.names import find_seal

FIELDS = {"key", "episode"}
OPTIONAL = {"system"}
_BUILT = r"[a-z0-9][a-z0-9.-]{0,39}, [0-9]{1,6} packages, sha256 [0-9a-f]{12}"
_OWN = r"the machine's own /usr \((?P<name>[A-Za-z0-9][A-Za-z0-9 ./_+:()!,'-]{0,79})\)"
SYSTEM_LINE = re.compile(rf"({'|'.join(SANDBOXES)}), ({_BUILT}(, image sha256:[0-9a-f]{{64}})?|{_OWN})")
"""What a Bash episode ran on, as ``system()`` of its world writes it."""


def _check(case: Case) -> Outcome:
    """Unpack and read the episodes, no more than the suite has."""
    name = case.submission.episodes_file
    most = len(case.suite.keys())
    rows = []
    worlds = {each: find(each).world for each in case.suite.environments}
    try:
        for number, line in enumerate(read_lines(name, case.members[name]), 1):
            if number > most:
                return Outcome("refused", f"{name} has more than the suite's {most} episodes")
            row = read_json(line, f"{name}, line {number}")
            if not isinstance(row, dict) or not FIELDS <= row.keys() <= FIELDS | OPTIONAL:
                held = sorted(row) if isinstance(row, dict) else type(row).__name__
                return Outcome("refused", f"{name}, line {number} holds {held!r:.100}, expected {sorted(FIELDS)} alone")
            if "system" in row and not _is_system(row, worlds):
                held = f"system {row['system']!r:.100}"
                return Outcome("refused", f"{name}, line {number}: {held} is not what a Bash episode ran on")
            rows.append(row)
    except RefusedError as error:
        return Outcome("refused", str(error))
    case.rows = rows
    return Outcome("passed", f"{len(rows)} lines")


def _is_system(row: dict[str, Any], worlds: dict[str, str]) -> bool:
    key, system = row["key"], row["system"]
    environment = key.get("environment") if isinstance(key, dict) else None
    if not isinstance(environment, str) or worlds.get(environment) != "bash" or not isinstance(system, str):
        return False
    found = SYSTEM_LINE.fullmatch(system)
    return found is not None and find_seal(found["name"] or "") is None


CHECK = Check(90, "rows", "Each line is strict JSON: an episode and its key, without verdict, score or note.", _check)
