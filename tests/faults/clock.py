"""Virtual time: an agenda of what happens when, and the clock that the node's modules read.

Nothing sleeps. The wall clock can be stepped; the monotonic one only moves with the agenda.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from edge_node import bridge, hub_link, pipeline, uplink

CLOCKED = (bridge, hub_link, pipeline, uplink)
"""The modules that ask for the time themselves; all others are given it."""


class Agenda:
    """Stands in for the module `time`, and runs what is due."""

    def __init__(self) -> None:
        self._now = 0.0
        self.wall_offset_s = 0.0
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def monotonic(self) -> float:
        return self._now

    perf_counter = monotonic

    def time(self) -> float:
        """Wall clock. It agrees with the monotonic one until it is stepped."""
        return self._now + self.wall_offset_s

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something then; at once where that is past."""
        heapq.heappush(self._due, (max(when, self._now), next(self._numbers), action))

    def run(self, until: float) -> None:
        """Do all that is due until then."""
        while self._due and self._due[0][0] <= until:
            self._now, _, action = heapq.heappop(self._due)
            action()
        self._now = until

    @contextmanager
    def in_charge(self) -> Iterator[None]:
        """The node's modules read this clock."""
        real = [module.time for module in CLOCKED]
        for module in CLOCKED:
            module.time = self  # type: ignore[assignment]
        try:
            yield
        finally:
            for module, clock in zip(CLOCKED, real, strict=True):
                module.time = clock
