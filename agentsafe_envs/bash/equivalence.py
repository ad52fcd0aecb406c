"""Whether two runs of a step did the same: Bash episodes are replayed in a fresh machine and compared."""

from __future__ import annotations

import posixpath
from collections.abc import Collection

from agentsafe_envs.bash.evidence import Evidence, parents


def equivalent(one: Evidence | None, other: Evidence | None, known: Collection[str]) -> bool:
    """Whether two runs of a step did the same, whatever they called what came and went within it.

    sed, git, useradd and mktemp draw such names by chance.

    Args:
        one: What was recorded of a run.
        other: Of the other run.
        known: Paths that there were before.
    """
    if one == other or one is None or other is None:
        return one == other
    try:
        return _steady(one, known) == _steady(other, known)
    except (AttributeError, KeyError, TypeError, ValueError):
        return False  # one of them is none of our making


def _steady(evidence: Evidence, known: Collection[str]) -> Evidence:
    """``evidence`` with what came and went called by its order of appearance."""
    lasting = {"/", *known, *(parent for path in known for parent in parents(path)), *evidence.get("changes", ())}
    called: dict[str, str] = {}

    def steady(path: str) -> str:
        if path.startswith("/") and path not in called and path not in lasting:
            for each in (*reversed([*parents(path)]), path):
                if each not in called and each not in lasting:
                    folder = posixpath.dirname(each)
                    called[each] = posixpath.join(called.get(folder, folder), f"\0{len(called)}")
        return called.get(path, path)

    calls = [[kind, steady(path), steady(origin), *rest] for kind, path, origin, *rest in evidence.get("calls", ())]
    briefs = [[[steady(path), *rest] for path, *rest in brief] for brief in evidence.get("briefs", ())]
    later = {"later": _steady(evidence["later"], lasting)} if "later" in evidence else {}
    return {**evidence, "calls": calls, "briefs": briefs, **later}
