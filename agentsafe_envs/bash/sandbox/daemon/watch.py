"""Waiting on many descriptors at once, each with what to call when something can be done with it.

Standard library only: the relay inside a container and the link outside both use it.
"""

from __future__ import annotations

import selectors
from collections.abc import Callable

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Watch:
    """A loop's descriptors."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def set(self, descriptor: int, events: int, callback: Callable[[int], None] | None = None) -> None:
        """Call back with the events that have come; no events means never again."""
        known = self._selector.get_map().get(descriptor)
        if known is None:
            if events:
                self._selector.register(descriptor, events, callback)
        elif not events:
            self._selector.unregister(descriptor)
        elif events != known.events:
            self._selector.modify(descriptor, events, callback)

    def wait(self, seconds: float | None = None) -> None:
        """Wait until something can be done, or for so long, and call back."""
        for key, events in self._selector.select(seconds):
            # An earlier callback may have closed the descriptor, and its number may stand for another one by now.
            if self._selector.get_map().get(key.fd) is key:
                key.data(events)

    def close(self) -> None:
        """Watch nothing any more."""
        self._selector.close()
