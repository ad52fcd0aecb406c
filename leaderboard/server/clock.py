"""The two clocks of a board. Tests bring their own."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """Wall time for what people read, monotonic time for everything that is measured.

    An operator may set the wall clock at any moment, so no episode ends and no lease runs out by it.
    """

    def now(self) -> datetime:
        """Wall time, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that only ever grow, in this process."""
        return time.monotonic()
