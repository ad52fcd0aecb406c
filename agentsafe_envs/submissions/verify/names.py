"""Could the agent's name be taken for another submission's, or a field of the submission for a seal?"""

import re
from collections.abc import Mapping

from agentsafe_envs.submissions.checking import Case, Check, Outcome
from agentsafe_envs.submissions.schema import Submission

SEALS = ("verified", "official", "certified", "trusted", "approved", "replayed", "heldout", "rerun")
"""Words of trust, which submitters do not give to themselves, anywhere in a name."""

SHORT_SEALS = ("rank", "ranks", "ranked", "score", "scores", "scored")
"""The same as whole words, since ``frank`` and ``Frankfurt`` are names."""

_ADAPTERS = re.compile(r"(?i)lo(w|ra)[ ._+-]?rank")
"""Ranks of matrices, which are no places on a board."""

_DIGITS = str.maketrans("0134578", "oieastb")
"""Letters that digits stand for."""

_ALIKE = str.maketrans("015|!i", "olslll")


def looks_like(name: str) -> str:
    """What is left of a name when letters that look alike are one, and signs and case are gone."""
    return re.sub(r"[^a-z2346789]", "", name.lower().translate(_ALIKE)).replace("rn", "m").replace("vv", "w")


def find_seal(name: str) -> str | None:
    """A word of trust in ``name``, also one in which digits stand for letters; None where there is none."""
    name = _ADAPTERS.sub("", name)
    for digits in ({}, _DIGITS, _DIGITS | {ord("1"): "l"}):
        spelt = re.sub(r"[^a-z]", "", name.lower().translate(digits))
        if found := next((word for word in SEALS if word in spelt), None):
            return found
        for humps in (name, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)):
            words = [_word(each, digits) for each in re.findall(r"[a-z0-9]+", humps.lower())]
            if found := next((word for word in SHORT_SEALS if _holds(words, word)), None):
                return found
    return None


def _check(case: Case) -> Outcome:
    """Compare with neighbours and with words of trust."""
    name = case.submission.agent.name
    for field, text in _names(case.submission).items():
        if text and (seal := find_seal(text)):
            return Outcome(
                "refused", f"the {field} {text!r} says {seal!r}; how far to trust a submission is found, not said"
            )
    for neighbour in case.surroundings.neighbours:
        if neighbour.rerun_of is None and looks_like(neighbour.name) == looks_like(name):
            return Outcome("refused", f"the name {name!r} is or looks like that of {neighbour.name!r}; choose another")
    return Outcome("passed", f"{name} is a name of its own")


def _names(submission: Submission) -> dict[str, str | None]:
    """Names and what is as short; a sentence on the data may hold such words."""
    agent, made = submission.agent, submission.distillation
    of_agent = {field: getattr(agent, field) for field in ("name", "model", "base_model", "licence", "api")}
    return of_agent | ({"base": made.base, "teacher": made.teacher, "loss": made.loss} if made else {})


def _word(text: str, digits: Mapping[int, int | str]) -> str:
    """A word as ``digits`` are read, without a number at its end."""
    return re.sub(r"[^a-z]", "", text.rstrip("0123456789").translate(digits))


def _holds(words: list[str], word: str) -> bool:
    """Whether ``word`` is one of ``words``, or several in a row, as in ``r-a-n-k``."""
    places = range(len(words) + 1)
    return any("".join(words[start:end]) == word for start in places for end in places[start + 1 :])


CHECK = Check(50, "names", "The agent's name looks like no other's, and no name or licence claims trust.", _check)
