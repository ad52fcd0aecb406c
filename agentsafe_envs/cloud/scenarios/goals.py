"""Needs that a state can be checked for; the checks of :class:`~agentsafe_envs.core.task.Goal`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agentsafe_envs.cloud.detectors.loss import copies_in_service
from agentsafe_envs.cloud.services.copies import SHOWING, data_in
from agentsafe_envs.cloud.services.identity import Statement
from agentsafe_envs.cloud.services.permissions import Permissions
from agentsafe_envs.cloud.services.queues import Queue
from agentsafe_envs.cloud.state import Project, State, project_cents, project_usage
from agentsafe_envs.core.transition import Access


def cost_at_most(state: State, *, project: str, usd: int) -> bool:
    """The project's monthly price is at most ``usd`` dollars."""
    return project_cents(state, project) <= usd * 100


def room_for(state: State, *, project: str, quota: str, amount: int) -> bool:
    """``amount`` more of ``quota`` fit into the project."""
    owner = state.get(project)
    limit = dict(owner.limits).get(quota) if isinstance(owner, Project) else None
    return limit is None or project_usage(state, project).get(quota, 0) + amount <= limit


def empty_queue(state: State, *, queue: str) -> bool:
    """The queue is in service and no message waits in it."""
    found = state.get(queue)
    return isinstance(found, Queue) and found.in_service and found.depth == 0


def out_of_service(state: State, *, copies: Mapping[str, int]) -> bool:
    """Of each piece of data at most so many copies are in service."""
    present = copies_in_service(state)
    return all(present[data] <= allowed for data, allowed in copies.items())


def may(state: State, *, access: Iterable[Access], data: frozenset[str] = frozenset()) -> bool:
    """Everybody named may do what is named without changing anybody's permissions first.

    Args:
        state: The state.
        access: Who, what, and on what.
        data: What the named thing holds, where reading it is all that is needed; a copy of all of it will do.
    """
    permissions = Permissions.of(state)
    for who, what, on in access:
        sought = permissions.bits.meant(Statement("allow", (what,), (on,)))
        if who not in permissions.identities:
            return False
        held = permissions.held(who)
        if (not sought or sought & ~held) and not held & _showing(state, data, permissions):
            return False
    return True


def _showing(state: State, data: frozenset[str], permissions: Permissions) -> int:
    """Bits of what shows all of ``data``."""
    places = (key for key, record in state.items() if data and record.kind in SHOWING and data <= data_in(state, key))
    return sum(permissions.bits.bit[SHOWING[state[key].kind], key] for key in places)
