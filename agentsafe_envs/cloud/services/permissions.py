"""Who may do what: what policies allow, and what somebody can reach by escalating from there.

Access is counted in bits, one for each action on each thing that :class:`Bits` knows, so that
"more than before" is one operation on whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache, cached_property, lru_cache
from itertools import chain
from typing import NamedTuple

from agentsafe_envs.cloud.services.identity import (
    ACTIONS,
    IDENTITIES,
    Binding,
    Group,
    Identity,
    Policy,
    Role,
    Statement,
    User,
    location,
)
from agentsafe_envs.cloud.services.patterns import any_matches, matches, split_patterns
from agentsafe_envs.cloud.state import KEPT_STATES, State, StateKey


class AccessTargets(tuple[tuple[str, str, str], ...]):
    """Id, kind and project of everything that access can be had to; a key of caches, so it is hashed once."""

    def __init__(self, _: Iterable[tuple[str, str, str]]) -> None:
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


def access_targets(state: State) -> AccessTargets:
    """Everything in ``state`` that access can be had to; kept for a while."""
    return _access_targets(StateKey(state))


@lru_cache(KEPT_STATES)
def _access_targets(key: StateKey) -> AccessTargets:
    return AccessTargets(
        [
            (record.id, record.kind, record.project)
            for record in key.state.values()
            if record.kind in ACTIONS and record.binned_on is None
        ]
    )


def _extended(known: AccessTargets, present: AccessTargets) -> AccessTargets:
    """``known`` and after it the rest of ``present``, so that the bits of ``known`` are the same in every state."""
    if known == present:
        return known
    listed = {key for key, _, _ in known}
    return AccessTargets([*known, *(each for each in present if each[0] not in listed)])


class Bits:
    """Which bit stands for which access, and which bits a pattern means.

    Args:
        known: What has bits.
        present: What is there now, and where; patterns match nothing else.
    """

    def __init__(self, known: AccessTargets, present: AccessTargets) -> None:
        first, self.bit = 0, dict[tuple[str, str | None], int]()
        firsts: dict[str, int] = {}
        for key, kind, _ in known:
            firsts[key] = first
            for action in ACTIONS[kind]:
                self.bit[action, key] = 1 << first
                first += 1
        self.all = (1 << first) - 1
        self.powers = sum(bit for (action, _), bit in self.bit.items() if action in _POWERS)
        self.running = sum(bit for (action, _), bit in self.bit.items() if action == "instance:run")
        self._present = {
            key: (f"{project}/{kind}/{key}", kind, firsts[key]) for key, kind, project in present if key in firsts
        }
        self._meant: dict[Statement, int] = {}
        self._stated: dict[int, tuple[Iterable[Statement], int, int]] = {}
        self._of_project: dict[str, int] = {}

    def meant(self, statement: Statement) -> int:
        """Bits of the actions and resources that ``statement`` speaks of."""
        found = self._meant.get(statement)
        if found is None:
            found = 0
            names, patterns = split_patterns(statement.resources)
            # A location ends with its key, so what is named and no pattern is found without a look at the others.
            keys = self._present if patterns else {name.rpartition("/")[2] for name in names} & self._present.keys()
            for key in keys:
                location, kind, first = self._present[key]
                if key in names or location in names or any_matches(patterns, key, location):
                    found |= _actions(kind, statement.actions, statement.effect == "allow_except") << first
            self._meant[statement] = found
        return found

    def stated(self, statements: tuple[Statement, ...]) -> tuple[int, int]:
        """Bits that ``statements`` allow, and that they deny."""
        if not statements:
            return 0, 0
        known = self._stated.get(id(statements))
        if known is None:
            allowed = denied = 0
            for statement in statements:
                if statement.effect == "deny":
                    denied |= self.meant(statement)
                else:
                    allowed |= self.meant(statement)
            # Found by identity, as hashing them takes longer; being kept here, no other object has their identity.
            known = self._stated[id(statements)] = statements, allowed, denied
        return known[1], known[2]

    def names(self, bits: int) -> Iterator[str]:
        """``"<action> on <id>"`` of each of ``bits``, in their order."""
        return (f"{action} on {key}" for (action, key), bit in self.bit.items() if bits & bit)

    def of_project(self, project: str) -> int:
        """Every bit of what is in ``project``."""
        if project not in self._of_project:
            self._of_project[project] = self.meant(Statement("allow", ("*",), (f"{project}/*",)))
        return self._of_project[project]

    def work_of_project(self, project: str) -> int:
        """Bits of what is in ``project``, its identities and policies aside."""
        return self.meant(Statement("allow_except", ("identity:*",), (f"{project}/*",)))


_POWERS = frozenset(action for actions in ACTIONS.values() for action in actions if action.startswith("identity:")) | {
    "instance:login"
}
"""Actions by which a holder can come to more."""


@lru_cache(KEPT_STATES)
def bits_of(known: AccessTargets, present: AccessTargets) -> Bits:
    """:class:`Bits`, made once."""
    return Bits(known, present)


@cache
def _actions(kind: str, patterns: tuple[str, ...], others: bool) -> int:
    """Bits, from 0, of the actions on a ``kind`` that match a pattern, or of the others."""
    named = (any(matches(pattern, action) for pattern in patterns) for action in ACTIONS[kind])
    return sum(1 << bit for bit, each in enumerate(named) if each is not others)


class Standing(NamedTuple):
    """Bits of what one identity may do, of what some statement allows, and of what its boundary leaves."""

    held: int
    allowed: int
    bound: int


class Permissions:
    """Who may do what in one state, on the day it is in.

    Args:
        state: The state.
        bits: What access is counted to; :meth:`of` makes them.

    Attributes:
        bits: What the bits of all answers mean.
        identities: Users, roles and groups by id.
    """

    @classmethod
    def of(cls, state: State, known: AccessTargets | None = None, *, and_more: bool = False) -> Permissions:
        """Who may do what in ``state``; kept for a while, as goal and detectors ask about the same states.

        Args:
            state: The state.
            known: What access is counted to; by default everything in ``state``.
            and_more: Everything else in ``state`` counts as well, in bits above those of ``known``.
        """
        present = access_targets(state)
        counted = _extended(known, present) if known and and_more else known or present
        return _permissions(StateKey(state), bits_of(counted, present))

    def __init__(self, state: State, bits: Bits) -> None:
        self.bits = bits
        self.identities: dict[str, Identity] = {}
        self._policies: dict[str, Policy] = {}
        self._groups_of: dict[str, list[Group]] = {}
        self._takes: dict[str, list[str]] = {}
        self._acting_as: dict[str, frozenset[str]] = {}
        self._groups: list[Group] = []
        self._standings: dict[str, Standing] = {}
        self._held: dict[str, int] = {}
        self._of_policy: dict[str, tuple[int, int]] = {}
        patterns: dict[str, list[str]] = {}  # a pattern that many share is matched once
        for record in state.values():
            if record.kind not in IDENTITIES or record.binned_on is not None:
                continue
            if isinstance(record, Policy):
                self._policies[record.id] = record
                continue
            assert isinstance(record, Identity)
            self.identities[record.id] = record
            takers: tuple[Binding, ...] = ()  # who may act as it: whom a role trusts, and who holds a user's key
            if isinstance(record, Group):
                self._groups.append(record)
                for user in record.users:
                    self._groups_of.setdefault(user.id, []).append(record)
            elif isinstance(record, Role):
                takers = record.trusts
            elif isinstance(record, User):
                takers = record.keys
            for taker in takers:
                if "*" in taker.id:
                    patterns.setdefault(taker.id, []).append(record.id)
                self._takes.setdefault(taker.id, []).append(record.id)
        if patterns:
            places = [(each.id, location(each)) for each in self.identities.values() if not isinstance(each, Group)]
            for pattern, taken in patterns.items():
                for each, place in places:
                    if any_matches((pattern,), each, place):
                        self._takes.setdefault(each, []).extend(taken)

    def acts_as(self, who: str) -> set[str]:
        """``who``, and every role and user that it may act as, by trust, by key or by logging in."""
        acting, held = self._acting(who), self.held(who)
        logins = (each for each in self.identities.values() if isinstance(each, Role) and self._logs_in(each, held))
        return {*acting}.union(*(self._acting(each.id) for each in logins))

    def held(self, who: str) -> int:
        """Bits of what ``who`` may do, itself or as a role or user that it may act as."""
        if who not in self._takes:
            return self._standing(who).held
        if who not in self._held:
            self._held[who] = _union(self._standing(each).held for each in self._acting(who))
        return self._held[who]

    def reachable(self, who: str) -> int:
        """Bits of what ``who`` may do in the end if it uses every permission to get more.

        It takes roles, makes keys, joins groups, lets instances run as roles, attaches policies
        and rewrites statements and policy versions, until nothing is added. Statements that
        it writes open no more than the project of whoever they are for.
        """
        reached = self.held(who)
        if not reached & self.bits.powers:
            return reached
        acting, before = {*self._acting(who)}, (0, 0)
        # Somebody who may do nothing new can still be rewritten, so it goes on while there is anybody new.
        while (reached, len(acting)) != before and self._ceiling & ~reached:
            before = reached, len(acting)
            for each in acting:
                reached |= self._may_hold(each, reached)
            for each in self.identities.values():
                if each.id not in acting and self._may_become(each, reached):
                    acting |= self._acting(each.id)
                    reached |= self.held(each.id)
        return reached

    @cached_property
    def _ceiling(self) -> int:
        """What nobody can exceed: all that any statement allows, and the projects that identities are in."""
        written = (self.bits.stated(each.statements)[0] for each in self.identities.values())
        attachable = (self._in_force(policy)[0] for policy in self._policies)
        homes = (self.bits.of_project(each) for each in {each.project for each in self.identities.values()})
        return _union(chain(written, attachable, homes))

    def _standing(self, who: str) -> Standing:
        found = self._standings.get(who)
        if found is None:
            identity, allowed, denied = self.identities[who], 0, 0
            for holder in self._holders(identity):
                if holder.statements:
                    allows, denies = self.bits.stated(holder.statements)
                    allowed, denied = allowed | allows, denied | denies
                for binding in holder.policies:
                    if binding.id in self._policies:
                        allows, denies = self._in_force(binding.id)
                        allowed, denied = allowed | allows, denied | denies
            bound = self.bits.all
            if identity.boundary is not None:
                bound = self._in_force(identity.boundary)[0] if identity.boundary in self._policies else 0
            found = self._standings[who] = Standing(allowed & bound & ~denied, allowed, bound)
        return found

    def _holders(self, identity: Identity) -> tuple[Identity, ...]:
        """What its statements stand in: itself and its groups."""
        return (identity, *self._groups_of.get(identity.id, ())) if isinstance(identity, User) else (identity,)

    def _denials(self, identity: Identity) -> dict[str, int]:
        """What is denied by what its statements and policies stand in, by id."""
        found: dict[str, int] = {}
        for holder in self._holders(identity):
            found[holder.id] = self.bits.stated(holder.statements)[1]
            attached = (binding.id for binding in holder.policies if binding.id in self._policies)
            found |= {policy: self._in_force(policy)[1] for policy in attached}
        return found

    def _in_force(self, policy: str) -> tuple[int, int]:
        found = self._of_policy.get(policy)
        if found is None:
            found = self._of_policy[policy] = self.bits.stated(self._policies[policy].in_force)
        return found

    def _acting(self, who: str) -> frozenset[str]:
        """``who``, and every role and user that it may act as."""
        found = self._acting_as.get(who)
        if found is None:
            acting, left = {who}, [who]
            while left:
                for other in self._takes.get(left.pop(), ()):
                    if other not in acting:
                        acting.add(other)
                        left.append(other)
            found = self._acting_as[who] = frozenset(acting)
        return found

    def _may_become(self, other: Identity, reached: int) -> bool:
        bit = self.bits.bit
        if isinstance(other, User):
            return bool(reached & bit.get(("identity:issue_key", other.id), 0))
        if not isinstance(other, Role):
            return False
        if reached & bit.get(("identity:trust", other.id), 0):
            return True
        if reached & bit.get(("identity:pass", other.id), 0) and reached & self.bits.running:
            return True
        return self._logs_in(other, reached)

    def _logs_in(self, role: Role, reached: int) -> bool:
        return any(reached & self.bits.bit.get(("instance:login", instance), 0) for instance in role.runs_on)

    def _may_hold(self, who: str, reached: int) -> int:
        """What ``who`` could be allowed by changes to what its statements stand in, and to its boundary."""
        identity, standing = self.identities[who], self._standing(who)
        denials = self._denials(identity)
        home = self.bits.of_project(identity.project)

        def may(action: str, key: str | None) -> bool:
            return bool(reached & self.bits.bit.get((action, key), 0))

        bound = standing.bound | (home if may("identity:edit", identity.boundary) else 0)
        if may("identity:edit", who):
            return bound & home & ~_union(denied for source, denied in denials.items() if source != who)
        allowed, sources = standing.allowed, set(denials)
        for group in self._groups if isinstance(identity, User) else ():
            if may("identity:join", group.id):
                allowed |= self._standing(group.id).held
                sources |= self._denials(group).keys()
        for source in sources:
            if may("identity:edit", source):
                allowed |= home
                denials.pop(source, None)
            if may("identity:attach", source):
                allowed |= _union(self._in_force(policy)[0] for policy in self._policies)
                if any(may("identity:edit", policy) for policy in self._policies):
                    allowed |= home  # it attaches a policy that it can then rewrite
        return allowed & bound & ~_union(denials.values())


@lru_cache(KEPT_STATES)
def _permissions(key: StateKey, bits: Bits) -> Permissions:
    return Permissions(key.state, bits)


def _union(several: Iterable[int]) -> int:
    bits = 0
    for each in several:
        bits |= each
    return bits
