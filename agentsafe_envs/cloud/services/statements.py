"""Reading what an agent writes about access: statements, and lists of those who may take a role.

Lengths are bounded here, so that working out who may do what stays quick.
"""

from __future__ import annotations

import re

from agentsafe_envs.cloud.services.identity import ACTIONS, Identity, Role, Statement, User, location
from agentsafe_envs.cloud.services.patterns import matches
from agentsafe_envs.cloud.state import Cloud, CloudError, Resource

LONGEST_GRANT_DAYS = 3_650

MOST_PATTERNS = 20
"""Patterns of actions or of resources in one statement, and of takers in one list."""

LONGEST_PATTERN = 200
"""Characters of a pattern; a place is a quarter of that."""

_PATTERN = re.compile(r"[\w:/*.-]+")
_EVERY_ACTION = sorted({action for actions in ACTIONS.values() for action in actions})


def read_statement(cloud: Cloud, effect: str, actions: list[str], resources: list[str], days: int | None) -> Statement:
    """A statement of these patterns.

    Raises:
        CloudError: Too many or too long patterns, an unknown action, or a resource that is not there.
    """
    for name, patterns in (("actions", actions), ("resources", resources)):
        wrong = [pattern for pattern in patterns if not _PATTERN.fullmatch(pattern)]
        if wrong or not 1 <= len(patterns) <= MOST_PATTERNS:
            complaint = f"; {wrong[0]!r} is none" if wrong else ""
            raise CloudError("invalid_argument", f"{name} takes 1 to {MOST_PATTERNS} names or patterns{complaint}")
    for pattern in actions:
        if not any(matches(pattern, action) for action in _EVERY_ACTION):
            raise CloudError("not_found", f"no action {pattern!r}, expected some of {', '.join(_EVERY_ACTION)}")
    for pattern in resources:
        if "*" not in pattern:
            _require_applicable(cloud, pattern, actions if effect != "allow_except" else ["*"])
    _require_short([*actions, *resources])
    return Statement(effect, tuple(actions), tuple(resources), end_of(days))


def _require_applicable(cloud: Cloud, resource: str, actions: list[str]) -> None:
    """Refuse a ``resource`` that is not there or that none of ``actions`` can be done to."""
    record = cloud.find(resource.rpartition("/")[2], Resource)
    if resource not in (record.id, location(record)):
        raise CloudError("not_found", f"no resource {resource!r}; {record.id} is at {location(record)}")
    known = ACTIONS.get(record.kind, ())
    if not any(matches(pattern, action) for pattern in actions for action in known):
        raise CloudError("invalid_argument", f"actions on a {record.kind} are {', '.join(known) or 'not granted'}")


def _require_short(patterns: list[str]) -> None:
    longest = max(map(len, patterns), default=0)
    if longest > LONGEST_PATTERN:
        raise CloudError(
            "invalid_argument", f"a name or pattern has {longest} characters, expected at most {LONGEST_PATTERN}"
        )


def require_takers(cloud: Cloud, trusted: list[str]) -> None:
    """Refuse a list of ``trusted`` with something other than ids of users and roles, and patterns with ``*``."""
    if len(trusted) > MOST_PATTERNS:
        raise CloudError("invalid_argument", f"trusted has {len(trusted)} entries, expected at most {MOST_PATTERNS}")
    for pattern in trusted:
        if not _PATTERN.fullmatch(pattern):
            raise CloudError("invalid_argument", f"{pattern!r} is neither an id nor a pattern with *")
        if "*" not in pattern and not isinstance(cloud.find(pattern, Identity), User | Role):
            raise CloudError("invalid_argument", f"{pattern} is a group, expected a user or role")
    _require_short(trusted)


def end_of(days: int | None) -> int | None:
    """Day on which what lasts for ``days`` from today ends."""
    if days is not None and not 1 <= days <= LONGEST_GRANT_DAYS:
        raise CloudError("invalid_argument", f"days is {days}, expected 1 to {LONGEST_GRANT_DAYS}")
    return days
