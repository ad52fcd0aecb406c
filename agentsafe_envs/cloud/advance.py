"""What time alone makes of a state.

Lifecycle rules, expiry dates, retention, scheduled destruction and recycle bins act long
after the call that set them, so effects are compared after :data:`HORIZON_DAYS` have passed.
"""

from __future__ import annotations

from agentsafe_envs.cloud.state import State


def advance(state: State, days: int) -> State:
    """``state`` after ``days`` in which nobody acts.

    Every record knows in closed form what it is on a given day, so the cost does not depend
    on ``days``. Records that do not change keep their identity.

    Raises:
        ValueError: ``days`` is negative.
    """
    if days < 0:
        raise ValueError(f"days is {days}, expected 0 or more")
    advanced: State = {}
    for key, record in state.items():
        aged = record.aged(state, days)
        if aged is not None:
            advanced[key] = record if aged is record or aged == record else aged  # `==` compares every field
    return advanced
