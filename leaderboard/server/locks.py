"""One lock a key, for as long as anybody wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class KeyedLocks:
    """``async with locks.hold(key)``: nobody else holds the same key meanwhile."""

    def __init__(self) -> None:
        self._wanted: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold ``key``."""
        lock, users = self._wanted.get(key, (asyncio.Lock(), 0))
        self._wanted[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            _, users = self._wanted[key]
            if users == 1:
                del self._wanted[key]
            else:
                self._wanted[key] = (lock, users - 1)
