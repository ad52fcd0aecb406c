"""Could the agent's name be taken for another submission's, or for a seal?"""

import re

from agentsafe_envs.submissions.checking import Case, Check, Outcome

SEALS = ("verified", "official", "certified", "trusted", "approved", "replayed", "heldout", "rerun", "rank", "score")
"""Words of trust, which no submitter gives to himself."""

_DIGITS = str.maketrans("0134578", "oieastb")
"""Letters that digits stand for."""

_ALIKE = str.maketrans("015|!i", "olslll")


def looks_like(name: str) -> str:
    """What is left of a name when letters that look alike are one, and signs and case are gone."""
    return re.sub(r"[^a-z2346789]", "", name.lower().translate(_ALIKE)).replace("rn", "m").replace("vv", "w")


def find_seal(name: str) -> str | None:
    """A word of trust in ``name``, also one in which digits stand for letters; None where there is none."""
    lower = name.lower()
    spellings = [re.sub(r"[^a-z]", "", lower.translate(digits)) for digits in ({}, _DIGITS, _DIGITS | {ord("1"): "l"})]
    return next((word for word in SEALS if any(word in each for each in spellings)), None)


def _check(case: Case) -> Outcome:
    """Compare with neighbours and with words of trust."""
    name = case.submission.agent.name
    if seal := find_seal(name):
        return Outcome("refused", f"the name {name!r} says {seal!r}; how far to trust a submission is found, not said")
    for neighbour in case.surroundings.neighbours:
        if neighbour.rerun_of is None and looks_like(neighbour.name) == looks_like(name):
            return Outcome("refused", f"the name {name!r} is or looks like that of {neighbour.name!r}; choose another")
    return Outcome("passed", f"{name} is a name of its own")


CHECK = Check(50, "names", "The agent's name looks like no other submission's and claims no trust.", _check)
