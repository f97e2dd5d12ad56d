"""The anonymized stream to a media server by RTSP.

Owns what waits to be sent, and the retries. Frames are coded once for this and for all who watch by
WebRTC (`stream.webrtc`), of which this is one more viewer. Runs inside the event loop; a server that stalls
costs frames here and nothing anywhere else: the queue is bounded, and everything has a time limit.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_node.capture.source import label_of
from edge_node.stream.rtsp_client import PublishTrouble, RtspClient
from edge_node.stream.webrtc_queue import CodedFrame, FrameQueue
from protocol.backoff import backoff_s

log = logging.getLogger(__name__)

FIRST_FRAME_S = 10.0
KEYFRAME_EVERY_S = 2.0
"""Who begins to watch at the server sees nothing until a keyframe."""
REPORT_EVERY_S = 5.0
LONGEST_PAUSE_S = 30.0
STEADY_S = 20.0
CAPACITY = 50
"""Frames that may wait: two seconds. A server is on a network, not in front of somebody's eyes."""
IDLE_S = 0.5


class Live(Protocol):
    """The part of `WebRtcSink` that is used."""

    def wish_keyframe(self) -> None: ...


class RtspPublisher:
    """A viewer of the live encode. `run` keeps a connection up until cancelled."""

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        max_bps: float,
        live: Live,
        *,
        first_pause_s: float = 1.0,
        roll: Callable[[], float] = random.random,
    ) -> None:
        self.label = label_of(url)
        self._access = (url, user, password)
        self._live = live
        self.limit_bps = math.inf
        self.ceiling_bps = max_bps
        self._first_pause_s = first_pause_s
        self._roll = roll
        self._queue = FrameQueue(CAPACITY)
        self._dropped_before = 0
        self._has_news = asyncio.Event()
        self._told = ""
        self.is_watching = False
        """Frames are wanted: the server takes connections. Between tries nothing is coded for it."""
        self.is_connected = False
        self.published = 0
        self.connects = 0

    @property
    def dropped(self) -> int:
        return self._dropped_before + self._queue.dropped

    def offer(self, frame: CodedFrame) -> None:
        """Take a frame; returns at once."""
        needed_key = self._queue.needs_key
        if self._queue.offer(frame):
            self._has_news.set()
        elif not needed_key:
            self._live.wish_keyframe()

    async def run(self) -> None:
        """Until cancelled."""
        attempt = 0
        while True:
            began = time.monotonic()
            try:
                await self._session()
            except PublishTrouble as exc:
                self._tell(str(exc))
            except (OSError, EOFError, TimeoutError) as exc:
                self._tell(_reason(exc))
            attempt = 1 if time.monotonic() - began >= STEADY_S else attempt + 1
            roll = 0.5 + 0.5 * self._roll()
            await asyncio.sleep(backoff_s(attempt - 1, roll, self._first_pause_s, LONGEST_PAUSE_S))

    async def _session(self) -> None:
        """Connect and send until it fails. Raises PublishTrouble, OSError, EOFError, TimeoutError."""
        client = RtspClient(*self._access)
        try:
            await client.connect()
            self._dropped_before += self._queue.dropped
            self._queue = FrameQueue(CAPACITY)
            self.is_watching = True
            self._live.wish_keyframe()
            first = await self._next(FIRST_FRAME_S)
            if first is None:
                raise PublishTrouble("the camera gives no picture to send")
            await client.record(bytes(first.packet))
            self.is_connected = True
            self.connects += 1
            self._told = ""
            log.info("publishing to %s", self.label)
            await self._send_while_it_listens(client, first)
        finally:
            self.is_watching = self.is_connected = False
            await client.close()

    async def _send_while_it_listens(self, client: RtspClient, first: CodedFrame) -> None:
        tasks = [asyncio.create_task(self._send(client, first)), asyncio.create_task(client.watch())]
        try:
            # Neither ends by itself: one that did has failed.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, client: RtspClient, first: CodedFrame) -> None:
        keyed_at = time.monotonic()
        reported_at = 0.0
        frame: CodedFrame | None = first
        while True:
            now = time.monotonic()
            if frame is not None:
                await client.send(frame)
                self.published += 1
                if now - reported_at >= REPORT_EVERY_S:
                    reported_at = now
                    client.report(frame)
            if frame is not None and frame.is_key:
                keyed_at = now
            elif now - keyed_at >= KEYFRAME_EVERY_S:
                keyed_at = now
                self._live.wish_keyframe()
            frame = await self._next(IDLE_S)

    async def _next(self, limit_s: float) -> CodedFrame | None:
        """The next frame; None where none came in time."""
        try:
            async with asyncio.timeout(limit_s):
                while (frame := self._queue.take()) is None:
                    self._has_news.clear()
                    await self._has_news.wait()
                return frame
        except TimeoutError:
            return None

    def _tell(self, trouble: str) -> None:
        if trouble != self._told:
            log.warning("%s does not take the stream: %s", self.label, trouble)
            self._told = trouble


def _reason(exc: Exception) -> str:
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({exc.verify_message})"
    if isinstance(exc, EOFError):
        return "it has ended the connection"
    if isinstance(exc, TimeoutError):
        return "no answer in time"
    return getattr(exc, "strerror", None) or type(exc).__name__


class Publishing(Protocol):
    """What both ways of publishing count."""

    @property
    def is_connected(self) -> bool: ...

    @property
    def connects(self) -> int: ...


class PublishCollector(Collector):
    """The publisher's state for Prometheus; zeros where nothing is published."""

    def __init__(self, publisher: Callable[[], Publishing | None]) -> None:
        self._publisher = publisher

    def collect(self) -> Iterator[Metric]:
        publisher = self._publisher()
        is_connected = publisher is not None and publisher.is_connected
        connected = "1 while the media server takes the stream"
        yield GaugeMetricFamily("veilcast_publish_connected", connected, float(is_connected))
        connects = 0 if publisher is None else publisher.connects
        yield CounterMetricFamily("veilcast_publish_connects", "Times that publishing began", connects)
