"""What somebody who mistyped a name may have meant."""

from __future__ import annotations

import re
from difflib import get_close_matches

from agentsafe_envs.registration import TABLE

_REFUSED = re.compile(
    r"no (?P<what>[a-z ]+) '(?P<name>[^']*)'.*?(?:expected one of|; there is) (?P<known>.*)", re.DOTALL
)
"""How every part of this package refuses a name that it does not know."""


def suggestion(complaint: str) -> str | None:
    """The known name that is nearest to the one that ``complaint`` refuses; None where none is near.

    Whoever mistypes the bias of an environment means the environment.
    """
    refused = _REFUSED.match(complaint)
    if refused is None:
        return None
    known = {name: name for name in re.split(r"\. ", refused["known"])[0].rstrip(".").split(", ")}
    if refused["what"] == "environment":
        known |= {row.bias: row.id for row in TABLE}
    spelt = {name.lower(): meant for name, meant in known.items()}
    found = get_close_matches(refused["name"].lower(), spelt, n=1, cutoff=0.6)
    return spelt[found[0]] if found else None
