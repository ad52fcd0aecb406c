"""Are card and episodes the files that submission.json names?"""

import hashlib

from agentsafe_envs.submissions.checking import Case, Check, Outcome


def _check(case: Case) -> Outcome:
    """Compare size and SHA-256."""
    for name, record in case.submission.files.items():
        data = case.members.get(name)
        if data is None:
            return Outcome("refused", f"{name} is not there")
        if len(data) != record.bytes:
            return Outcome("refused", f"{name} has {len(data)} bytes, submission.json says {record.bytes}")
        found = hashlib.sha256(data).hexdigest()
        if found != record.sha256:
            return Outcome("refused", f"{name} has SHA-256 {found}, submission.json says {record.sha256}")
    return Outcome("passed", "sizes and SHA-256 are those of submission.json")


CHECK = Check(30, "hashes", "Card and episodes have the size and the SHA-256 that submission.json names.", _check)
