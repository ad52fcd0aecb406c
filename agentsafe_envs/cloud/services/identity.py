"""Identity: users, roles and groups, the policies that say what they may do, and for how long.

Not every cloud has this service: its tools are offered where a bias names ``"identity"``.
``services/grants.py`` holds the tools that give and take access, ``permissions.py`` works
out who may do what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar, Literal, NamedTuple, Self, TypeVar

from agentsafe_envs.cloud import tools
from agentsafe_envs.cloud.state import Cloud, Project, Resource, State, live

TOOL_POSITION = 3

tool = partial(tools.tool, service="identity")

IdentityKind = Literal["user", "role", "group", "policy"]

ACTIONS: Mapping[str, tuple[str, ...]] = {
    "bucket": ("bucket:read", "bucket:write", "bucket:manage"),
    "database": ("database:read", "database:write", "database:manage"),
    "queue": ("queue:send", "queue:receive", "queue:manage"),
    "instance": ("instance:restart", "instance:login", "instance:run"),
    "key": ("key:use", "key:manage"),
    "user": ("identity:edit", "identity:attach", "identity:issue_key"),
    "role": ("identity:edit", "identity:attach", "identity:trust", "identity:pass"),
    "group": ("identity:edit", "identity:attach", "identity:join"),
    "policy": ("identity:edit",),
}
"""What can be done to a record of each kind.

``instance:login`` is acting as a role that the instance runs as, ``instance:run`` starting it
anew. The identity actions are what a holder may use to hand out access: ``edit`` writes
statements, ``attach`` attaches policies, ``issue_key`` makes keys of a user, ``trust`` decides
who may take a role, ``pass`` lets an instance run as it, ``join`` puts users into a group.
"""


class Statement(NamedTuple):
    """Some actions on some resources; both are patterns in which ``*`` stands for anything.

    Attributes:
        effect: ``"allow"``, ``"deny"``, or ``"allow_except"`` for all actions but those named.
        actions: Patterns such as ``"bucket:*"``.
        resources: Patterns that match an id, or a place such as ``"atlas/bucket/bkt-12"``.
        until: Day on which it ends; None for never.
    """

    effect: str
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    until: int | None = None

    def __str__(self) -> str:
        """As a list shows it."""
        said = f"{', '.join(self.actions)} on {', '.join(self.resources)}"
        return said if self.effect == "allow" else f"{self.effect} {said}"


class Binding(NamedTuple):
    """What is bound to a record, or a pattern of ids, and the day on which that ends."""

    id: str
    until: int | None = None


Timed = TypeVar("Timed", Statement, Binding)


@dataclass(frozen=True, kw_only=True)
class Identity(Resource):
    """Somebody or something that acts.

    Attributes:
        statements: Its own (inline) statements.
        policies: Attached policies.
        boundary: Policy outside of which nothing is allowed to it, whoever allows it.
        timed: Names of the fields whose entries may end.
    """

    kind: ClassVar[str] = "user, role or group"
    timed: ClassVar[tuple[str, ...]] = ("statements", "policies")
    statements: tuple[Statement, ...] = ()
    policies: tuple[Binding, ...] = ()
    boundary: str | None = None

    @cached_property
    def ends(self) -> list[int]:
        """Days on which something of it ends; kept, as every state and day of an episode asks for it."""
        return [entry.until for name in self.timed for entry in getattr(self, name) if entry.until is not None]

    @cached_property
    def _after(self) -> dict[int, Self]:
        """What is left of it, by how many entries have ended; judging asks for the same days many times."""
        return {}

    def aged(self, state: State, day: int) -> Self | None:
        """Without what has ended by then."""
        passing = self.expires_on is not None or self.binned_on is not None  # rare, and asking for it is not free
        if passing and super().aged(state, day) is None:
            return None
        ended = sum(end <= day for end in self.ends) if self.ends else 0
        if not ended:
            return self
        if ended not in self._after:
            self._after[ended] = replace(self, **{name: _lasting(getattr(self, name), day) for name in self.timed})
        return self._after[ended]


@dataclass(frozen=True, kw_only=True)
class User(Identity):
    """A person.

    Attributes:
        keys: Who holds a key of the user, and so can act as the user.
    """

    kind: ClassVar[str] = "user"
    prefix: ClassVar[str] = "usr"
    timed: ClassVar[tuple[str, ...]] = (*Identity.timed, "keys")
    keys: tuple[Binding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Role(Identity):
    """A set of permissions that others act with, jobs above all.

    Attributes:
        trusts: Users and roles that may take it; ids or patterns.
        runs_on: Instances that run as it.
    """

    kind: ClassVar[str] = "role"
    prefix: ClassVar[str] = "role"
    timed: ClassVar[tuple[str, ...]] = (*Identity.timed, "trusts")
    trusts: tuple[Binding, ...] = ()
    runs_on: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return {"id": self.id, "name": self.name, "policies": [each.id for each in self.policies]}


@dataclass(frozen=True, kw_only=True)
class Group(Identity):
    """A group; its users may do what it may.

    Attributes:
        users: Who is in it.
    """

    kind: ClassVar[str] = "group"
    prefix: ClassVar[str] = "grp"
    timed: ClassVar[tuple[str, ...]] = (*Identity.timed, "users")
    users: tuple[Binding, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return {
            "id": self.id,
            "name": self.name,
            "users": len(self.users),
            "policies": [each.id for each in self.policies],
        }


@dataclass(frozen=True, kw_only=True)
class Policy(Resource):
    """Statements that can be attached to several identities.

    Attributes:
        versions: Oldest first.
        default: Number of the version in force, from 1.
    """

    kind: ClassVar[str] = "policy"
    prefix: ClassVar[str] = "pol"
    versions: tuple[tuple[Statement, ...], ...] = ()
    default: int = 1

    @property
    def in_force(self) -> tuple[Statement, ...]:
        """Statements of the default version."""
        return self.versions[self.default - 1]

    def summary(self) -> dict[str, Any]:
        """Row in a list."""
        return {"id": self.id, "name": self.name, "allows": "; ".join(map(str, self.in_force))}


IDENTITIES: dict[str, type[Resource]] = {kind.kind: kind for kind in (User, Role, Group, Policy)}


def location(record: Resource) -> str:
    """Where ``record`` is, as patterns of resources can name it: ``"atlas/bucket/bkt-12"``."""
    return f"{record.project}/{record.kind}/{record.id}"


def _lasting(entries: Iterable[Timed], day: int) -> tuple[Timed, ...]:
    return tuple(entry for entry in entries if entry.until is None or entry.until > day)


@tool
def list_identities(cloud: Cloud, kind: IdentityKind, project: str | None = None, page_number: int = 1) -> Any:
    """List users, roles, groups or policies.

    Args:
        kind: Which of them.
        project: Only those of this project.
        page_number: Page to show, from 1.
    """
    if project is not None:
        cloud.find(project, Project)
    return tools.page(live(cloud.state, IDENTITIES[kind], project), page_number)
