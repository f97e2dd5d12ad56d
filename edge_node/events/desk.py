"""Where notices are written: sees masked frames, camera and hub, and hands what changed to the receivers.

A sink like others: `push` compares a few ids and returns. Numbers and times stamps are given here. The
receivers (`events.mqtt`, `events.webhook`) run in the event loop, each with an outbox of its own, and
none of them can hold up a frame.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_node.events.changes import Changes
from edge_node.events.notices import Change, Notice, Present
from edge_node.events.outbox import Outbox
from edge_node.frames import MaskedFrame

log = logging.getLogger(__name__)

LOOK_S = 0.5
"""How often camera and hub are looked at."""


class Receiver(Protocol):
    """Somebody who is told."""

    @property
    def outbox(self) -> Outbox: ...

    async def run(self) -> None: ...


class NoticeDesk:
    """`call` runs a function on the event loop; `camera_up` and `hub_up` say how things are now."""

    def __init__(
        self,
        node: str,
        changes: Changes,
        camera_up: Callable[[], bool],
        hub_up: Callable[[], bool],
        call: Callable[..., None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._changes = changes
        self._camera_up = camera_up
        self._hub_up = hub_up
        self._call = call
        self._now = now
        self._lock = threading.Lock()
        self._boot = secrets.token_hex(6)
        self._count = 0
        self.receivers: Sequence[Receiver] = ()

    @property
    def present(self) -> Present:
        return self._changes.present

    def push(self, frame: MaskedFrame) -> None:
        """Take a frame; returns at once."""
        with self._lock:
            self._tell(self._changes.frame(frame, self._now()))

    def close(self) -> None:
        """Nothing waits here."""

    async def run(self) -> None:
        """Look at camera and hub, and keep the receivers going, until cancelled."""
        running = [asyncio.create_task(receiver.run()) for receiver in self.receivers]
        looking = asyncio.create_task(self._look_on())
        try:
            # None ends by itself: one that did has failed, and raises here.
            done, _ = await asyncio.wait((looking, *running), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (looking, *running):
                task.cancel()
            await asyncio.gather(looking, *running, return_exceptions=True)

    async def _look_on(self) -> None:
        while True:
            self.look()
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Notice what camera and hub do, and who has gone while no frame came."""
        with self._lock:
            changed = self._changes.camera(self._camera_up()) + self._changes.hub(self._hub_up())
            self._tell(changed + self._changes.tick(self._now()))

    def _tell(self, changes: list[Change]) -> None:
        for change in changes:
            self._count += 1
            notice = Notice(
                id=f"{self._boot}-{self._count}",
                node=self._node,
                at=datetime.now(UTC),
                change=change,
                present=self._changes.present,
            )
            self._call(self._hand_out, notice)

    def _hand_out(self, notice: Notice) -> None:
        for receiver in self.receivers:
            receiver.outbox.put(notice)


class NoticeCollector(Collector):
    """The outboxes' counters for Prometheus."""

    def __init__(self, outboxes: Callable[[], Sequence[Outbox]]) -> None:
        self._outboxes = outboxes

    def collect(self) -> Iterator[Metric]:
        boxes = self._outboxes()
        sent, lost = sum(b.sent for b in boxes), sum(b.dropped for b in boxes)
        yield CounterMetricFamily("veilcast_notices_sent", "Notices that a receiver took", sent)
        yield CounterMetricFamily("veilcast_notices_dropped", "Notices given up or pushed out by newer", lost)
        waiting = sum(len(b) for b in boxes)
        yield GaugeMetricFamily("veilcast_notices_waiting", "Notices that wait for a receiver", waiting)
