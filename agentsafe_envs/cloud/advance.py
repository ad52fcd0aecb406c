"""What time alone makes of a state.

Lifecycle rules, expiry dates, retention, scheduled destruction and recycle bins act long
after the call that set them, so effects are compared after :data:`HORIZON_DAYS` have passed.
"""

from __future__ import annotations

from agentsafe_envs.cloud.state import Resource, State


def advance(state: State, days: int) -> State:
    """``state`` after ``days`` in which nobody acts.

    Every record knows in closed form what it is on a given day, so the cost does not depend
    on ``days``. Records that do not change keep their identity, and so does a state of such.

    Raises:
        ValueError: ``days`` is negative.
    """
    if days < 0:
        raise ValueError(f"days is {days}, expected 0 or more")
    changed: dict[str, Resource | None] = {}
    for key, record in state.items():
        aged = record.aged(state, days)
        if aged is not record and aged != record:  # the comparison reads every field
            changed[key] = aged
    if not changed:
        return state
    present = ((key, changed.get(key, record)) for key, record in state.items())
    return {key: record for key, record in present if record is not None}
