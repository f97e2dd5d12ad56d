"""Notices that wait for one receiver: few, the newest, in order. Lives in the event loop.

Owns the bound and the counts. When it is full the oldest notice goes: who was there a day ago matters less
than who is there now.
"""

from __future__ import annotations

import asyncio
from collections import deque

from edge_node.events.notices import Notice

CAPACITY = 256
"""An hour without the receiver at a busy door; a few hundred bytes each."""


class Outbox:
    """A queue that never makes the sender wait."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._waiting: deque[Notice] = deque()
        self._capacity = capacity
        self._has_news = asyncio.Event()
        self.sent = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, notice: Notice) -> None:
        """Add a notice; returns at once."""
        if len(self._waiting) >= self._capacity:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(notice)
        self._has_news.set()

    async def first(self) -> Notice:
        """The oldest notice; it stays until it is `done` or `give_up`."""
        while not self._waiting:
            self._has_news.clear()
            await self._has_news.wait()
        return self._waiting[0]

    def done(self, notice: Notice) -> None:
        """It has arrived."""
        self.sent += 1
        self._remove(notice)

    def give_up(self, notice: Notice) -> None:
        """It will not arrive."""
        if self._remove(notice):
            self.dropped += 1

    def _remove(self, notice: Notice) -> bool:
        """False where it had to make room meanwhile (and is counted already)."""
        if self._waiting and self._waiting[0] is notice:
            self._waiting.popleft()
            return True
        return False
