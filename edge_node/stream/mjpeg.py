"""Masked frames as JPEG, encoded once for everybody who watches.

Owns the encoding thread, which works only while someone watches, and the list of viewers. Newest wins:
a frame that comes while another is being encoded replaces the one that waits. How the bytes reach a
browser, and what a slow one misses, is `stream.web`'s part.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator

import cv2
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from edge_node.bridge import LatestSlot, Worker
from edge_node.frames import MaskedFrame

log = logging.getLogger(__name__)

MAX_VIEWERS = 16
"""At 720p a viewer takes about 20 Mbit/s: more would fill a small computer's network."""
QUALITY = 80
"""JPEG quality: half the bytes of 92 and no difference that is seen in motion."""
IDLE_S = 0.25


class ViewersFull(Exception):  # noqa: N818 - a state, not a mistake
    """MAX_VIEWERS are watching."""


class Subscription:
    """One viewer's place. `close` may be called twice."""

    def __init__(self, leave: Callable[[Subscription], None], on_jpeg: Callable[[bytes], None]) -> None:
        self._leave = leave
        self.on_jpeg = on_jpeg

    def close(self) -> None:
        self._leave(self)


class MjpegSink:
    """A sink for people with a browser. Thread-safe."""

    def __init__(self, quality: int = QUALITY, max_viewers: int = MAX_VIEWERS) -> None:
        self._quality = quality
        self._max_viewers = max_viewers
        self._lock = threading.Lock()
        self._viewers: set[Subscription] = set()
        self._slot: LatestSlot[MaskedFrame] = LatestSlot()
        self._newest: MaskedFrame | None = None
        self._dropped = 0
        self.encoded = 0
        self._worker = Worker("mjpeg", self._step, self._faulted)
        self._worker.start()

    @property
    def newest(self) -> MaskedFrame | None:
        """The last frame pushed, for snapshots and the page's words; None before the first."""
        return self._newest

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    @property
    def dropped(self) -> int:
        """Frames that a viewer, or the encoder, did not get because a newer one came first."""
        return self._dropped + self._slot.overwritten

    def push(self, frame: MaskedFrame) -> None:
        """Take a frame; returns at once."""
        self._newest = frame
        if self._viewers:
            self._slot.put(frame)

    def subscribe(self, on_jpeg: Callable[[bytes], None]) -> Subscription:
        """Call `on_jpeg` for each encoded frame, from the encoding thread; it must return at once.

        The newest frame comes right away. Raises ViewersFull.
        """
        subscription = Subscription(self._leave, on_jpeg)
        with self._lock:
            if len(self._viewers) >= self._max_viewers:
                raise ViewersFull(f"{self._max_viewers} viewers are watching already")
            self._viewers = self._viewers | {subscription}
        if self._newest is not None:
            self._slot.put(self._newest)
        return subscription

    def count_dropped(self) -> None:
        """A viewer was too slow for a frame."""
        with self._lock:
            self._dropped += 1

    def close(self) -> None:
        self._worker.stop()
        self._viewers = set()

    def _leave(self, subscription: Subscription) -> None:
        with self._lock:
            self._viewers = self._viewers - {subscription}

    def _step(self) -> None:
        frame = self._slot.take(IDLE_S)
        viewers = self._viewers  # replaced as a whole, never changed: safe to walk through
        if frame is None or not viewers:
            return
        jpeg = encode(frame, self._quality)
        self.encoded += 1
        for viewer in viewers:
            viewer.on_jpeg(jpeg)

    def _faulted(self, exc: BaseException) -> None:
        log.error("encoding a frame for viewers failed: %s", exc)


def encode(frame: MaskedFrame, quality: int = QUALITY) -> bytes:
    """The frame as a JPEG file."""
    ok, jpeg = cv2.imencode(".jpg", frame.image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"a picture of shape {frame.image.shape} cannot be encoded")
    return jpeg.tobytes()


class StreamCollector(Collector):
    """The sink's counters for Prometheus."""

    def __init__(self, sink: MjpegSink) -> None:
        self._sink = sink

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("veilcast_viewers", "Browsers that watch now", self._sink.viewers)
        encoded = "Frames encoded for viewers"
        yield CounterMetricFamily("veilcast_stream_frames_encoded", encoded, self._sink.encoded)
        dropped = "Frames that a viewer missed because a newer one came first"
        yield CounterMetricFamily("veilcast_stream_frames_dropped", dropped, self._sink.dropped)
