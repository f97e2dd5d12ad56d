"""Encoded once for all, only while someone watches, newest first."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from edge_node.stream.mjpeg import MjpegSink, StreamCollector, ViewersFull
from tests.edge_node.stream.frames import masked


class Watcher:
    """Collects pictures; can be made to hold the encoder up."""

    def __init__(self) -> None:
        self.pictures: list[bytes] = []
        self.came = threading.Semaphore(0)
        self.go = threading.Event()
        self.go.set()

    def __call__(self, jpeg: bytes) -> None:
        self.pictures.append(jpeg)
        self.came.release()
        assert self.go.wait(5)

    def wait(self) -> bytes:
        assert self.came.acquire(timeout=5)
        return self.pictures[-1]


@pytest.fixture
def sink() -> MjpegSink:
    return MjpegSink(max_viewers=2)


def brightness(jpeg: bytes) -> int:
    return round(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).mean())


def test_nothing_is_encoded_while_nobody_watches(sink: MjpegSink) -> None:
    for n in range(5):
        sink.push(masked(n))
    sink.close()
    assert sink.encoded == 0
    assert sink.newest is not None
    assert sink.newest.seq == 4


def test_who_comes_gets_the_newest_frame_at_once(sink: MjpegSink) -> None:
    sink.push(masked(9))
    watcher = Watcher()
    sink.subscribe(watcher)
    assert brightness(watcher.wait()) == 16 + 8 * 9
    sink.close()


def test_a_frame_is_encoded_once_for_everybody(sink: MjpegSink) -> None:
    one, other = Watcher(), Watcher()
    sink.subscribe(one)
    sink.subscribe(other)
    sink.push(masked(3))
    assert one.wait() is other.wait()
    sink.close()
    assert sink.encoded == 1


def test_while_the_encoder_is_busy_newer_frames_replace_the_one_that_waits(sink: MjpegSink) -> None:
    watcher = Watcher()
    watcher.go.clear()
    sink.subscribe(watcher)
    sink.push(masked(0))
    watcher.wait()
    for n in range(1, 6):
        sink.push(masked(n))
    watcher.go.set()
    assert brightness(watcher.wait()) == 16 + 8 * 5
    sink.close()
    assert sink.encoded == 2
    assert sink.dropped == 4


def test_viewers_are_bounded_and_leave_room(sink: MjpegSink) -> None:
    first = sink.subscribe(Watcher())
    sink.subscribe(Watcher())
    with pytest.raises(ViewersFull):
        sink.subscribe(Watcher())
    first.close()
    first.close()
    sink.subscribe(Watcher())
    assert sink.viewers == 2
    sink.close()


def test_counters_reach_prometheus(sink: MjpegSink) -> None:
    registry = CollectorRegistry()
    registry.register(StreamCollector(sink))
    sink.count_dropped()
    sink.subscribe(Watcher())
    text = generate_latest(registry).decode()
    sink.close()
    assert "veilcast_viewers 1.0" in text
    assert "veilcast_stream_frames_dropped_total 1.0" in text
    assert "veilcast_stream_frames_encoded_total 0.0" in text
