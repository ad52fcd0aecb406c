"""What somebody who mistyped a name may have meant."""

from __future__ import annotations

import re
from difflib import get_close_matches

from agentsafe_envs.agents.load import KINDS
from agentsafe_envs.registration import TABLE

_REFUSED = re.compile(
    r"no (?P<what>[a-z ]+) '(?P<name>[^']*)'.*?(?:expected one of|; there is) (?P<known>.*)", re.DOTALL
)
_REFUSED_AGENT = re.compile(r"no agent '(?P<kind>[^':]*):(?P<rest>[^']*)'; expected")
"""How every part of this package refuses a name that it does not know."""


def suggestion(complaint: str) -> str | None:
    """The known name that is nearest to the one that ``complaint`` refuses; None where none is near.

    Whoever mistypes the bias of an environment means the environment.
    """
    if agent := _REFUSED_AGENT.match(complaint):
        kinds = get_close_matches(agent["kind"].lower(), KINDS, n=1, cutoff=0.6)
        return f"{kinds[0]}:{agent['rest']}" if kinds else None
    refused = _REFUSED.match(complaint)
    if refused is None:
        return None
    known = {name: name for name in re.split(r"\. ", refused["known"])[0].rstrip(".").split(", ")}
    if refused["what"] == "environment":
        known |= {row.bias: row.id for row in TABLE}
    spelt = {name.lower(): meant for name, meant in known.items()}
    found = get_close_matches(refused["name"].lower(), spelt, n=1, cutoff=0.6)
    return spelt[found[0]] if found else None
