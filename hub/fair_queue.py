"""Waiting items of many sources: taken by turns, given up where most wait. Pure.

Used by `hub.batcher`. Every step takes the same time, however many sources there are.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """First in, first out for each source; the sources take turns."""

    def __init__(self) -> None:
        self._queues: OrderedDict[Hashable, deque[T]] = OrderedDict()
        """In the order of their turns. None of them is empty."""
        self._of_length: dict[int, OrderedDict[Hashable, None]] = {}
        """Which sources have so many waiting; the one that has had them for longest comes first."""
        self._longest = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, source: Hashable, item: T) -> None:
        """Behind what this source has waiting. A new source has its turn after all others."""
        queue = self._queues.get(source)
        if queue is None:
            queue = self._queues[source] = deque()
        queue.append(item)
        self._moved(source, len(queue) - 1, len(queue))

    def pop(self) -> T:
        """The oldest item of the source whose turn it is. Raises IndexError where nothing waits."""
        if not self._queues:
            raise IndexError("nothing waits")
        source = next(iter(self._queues))
        self._queues.move_to_end(source)
        return self._take(source)

    def shed(self) -> T:
        """The oldest item of a source that has most waiting. Raises IndexError where nothing waits."""
        if not self._queues:
            raise IndexError("nothing waits")
        return self._take(next(iter(self._of_length[self._longest])))

    def _take(self, source: Hashable) -> T:
        queue = self._queues[source]
        item = queue.popleft()
        self._moved(source, len(queue) + 1, len(queue))
        if not queue:
            del self._queues[source]
        return item

    def _moved(self, source: Hashable, before: int, after: int) -> None:
        self._count += after - before
        if before:
            those = self._of_length[before]
            del those[source]
            if not those:
                del self._of_length[before]
        if after:
            self._of_length.setdefault(after, OrderedDict())[source] = None
        # One step at a time: where the longest has gone, the next is one shorter.
        self._longest = max(self._longest, after) if self._longest in self._of_length else after
