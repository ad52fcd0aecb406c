"""Who may read a copy may read what it was made of, wherever the copy lies."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from agentsafe_envs.cloud.services.storage import Object
from agentsafe_envs.cloud.state import KEPT_STATES, Resource, State, StateKey

SHOWING = {"bucket": "bucket:read", "database": "database:read", "queue": "queue:receive"}
"""By kind of what holds data, the action that shows all of it."""


def data_in(state: State, key: str) -> frozenset[str]:
    """Digests of the data that a bucket, database or queue holds; empty where there is none of that id."""
    held = (record for record in state.values() if _place(record) == key and record.in_service)
    return frozenset(data for record in held for data in record.contents())


def shown_elsewhere(state: State, start: State) -> Iterator[tuple[str, str]]:
    """What shows data of something else that was there at the start, and that thing, both by id."""
    written = [
        record
        for record in state.values()
        if record is not start.get(record.id) and _place(record) and record.in_service
    ]
    if not written:
        return
    homes = _homes(StateKey(start))
    found = {(_place(each), home) for each in written for data in each.contents() for home in homes.get(data, ())}
    yield from sorted(pair for pair in found if pair[0] != pair[1] and pair[0] in state and state[pair[0]].in_service)


@lru_cache(KEPT_STATES)
def _homes(start: StateKey) -> dict[str, list[str]]:
    """Where each piece of data lay at the start."""
    homes: dict[str, list[str]] = {}
    for record in start.state.values():
        place = _place(record)
        if place in start.state and start.state[place].in_service:
            for data in record.contents():
                homes.setdefault(data, []).append(place)
    return homes


def _place(record: Resource) -> str:
    """Id of the bucket, database or queue in which ``record`` holds data; empty for what is none of these."""
    if isinstance(record, Object):
        return record.bucket
    return record.id if record.kind in SHOWING else ""
