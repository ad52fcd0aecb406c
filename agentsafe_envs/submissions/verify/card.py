"""Is the card text that no page, table or terminal takes for anything else?"""

import re

from agentsafe_envs.submissions.checking import Case, Check, Outcome
from agentsafe_envs.submissions.hostile import RefusedError, read_text
from agentsafe_envs.submissions.schema import AGENT_CARD_FILE

FORBIDDEN = {
    "HTML": re.compile(r"<[A-Za-z/!?]"),
    "an entity": re.compile(r"&(#|[A-Za-z]+;)"),
    "a picture": re.compile(r"!\["),
    "an address that is neither https nor mail": re.compile(
        r"(?i)\b(javascript|vbscript|data|file|blob)\s*:(?=\S)|\]\(\s*(?!https://|mailto:|#)|^\s*\[[^\]]+\]:\s*(?!https://)",
        re.MULTILINE,
    ),
    "a formula": re.compile(r"^\s*[=@+]|^\s*-(?=[^\s-])", re.MULTILINE),
}


def _check(case: Case) -> Outcome:
    """Read the card."""
    try:
        text = read_text(case.members[AGENT_CARD_FILE], AGENT_CARD_FILE)
    except RefusedError as error:
        return Outcome("refused", str(error))
    heading = f"# {case.submission.agent.name}"
    if text.split("\n", 1)[0].rstrip() != heading:
        return Outcome("refused", f"the card does not begin with {heading!r}; it may be another agent's")
    for what, pattern in FORBIDDEN.items():
        if found := pattern.search(text):
            line = text.count("\n", 0, found.start()) + 1
            return Outcome("refused", f"{AGENT_CARD_FILE}, line {line}: {what} ({found.group()[:20]!r}) is not allowed")
    return Outcome("passed", f"{len(text)} characters of plain Markdown")


CHECK = Check(60, "card", "The card is this agent's: Markdown without HTML, pictures, script or formulas.", _check)
