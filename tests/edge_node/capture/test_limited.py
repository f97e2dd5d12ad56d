"""Calls into drivers get a time limit, and a driver that hangs holds up nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from edge_node.capture.camera import CameraSource
from edge_node.capture.limited import LimitedCaller
from edge_node.capture.source import SourceLost, SourceOptions
from vision.detections import Image


def test_what_a_call_returns_and_raises_comes_through() -> None:
    caller = LimitedCaller("test", 60.0)
    assert caller.call(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        caller.call(lambda: 1 // 0)
    caller.close()


def test_after_a_call_that_hangs_none_waits_until_it_has_returned() -> None:
    caller, free = LimitedCaller("test", 0.02), threading.Event()
    asked: list[int] = []
    with pytest.raises(TimeoutError):
        caller.call(free.wait)
    with pytest.raises(TimeoutError):
        caller.call(lambda: asked.append(1))
    assert not asked
    late = caller._late
    assert late is not None
    free.set()
    late.result(60.0)
    patient: Callable[[], int] = lambda: 7  # noqa: E731
    assert caller.call(patient) == 7
    caller.close()


class Hanging:
    """A `cv2.VideoCapture` whose driver hangs at the second picture."""

    def __init__(self, free: threading.Event) -> None:
        self._free = free
        self._reads = 0

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, Image]:
        self._reads += 1
        if self._reads > 1:
            self._free.wait()
        return True, np.zeros((48, 64, 3), np.uint8)

    def get(self, key: int) -> float:
        return 25.0

    def set(self, key: int, value: float) -> bool:
        return True

    def release(self) -> None: ...


def test_a_camera_whose_driver_hangs_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    free = threading.Event()
    source = CameraSource("/dev/video0", SourceOptions(), lambda _: Hanging(free), limit_s=0.05)
    source.read()
    with pytest.raises(SourceLost, match="in time"):
        source.read()
    source.close()
    free.set()
    assert "/dev/video0 does not let go" in caplog.text


def test_a_camera_whose_driver_hangs_at_opening_is_lost() -> None:
    free = threading.Event()

    def hang(_: str) -> Hanging:
        free.wait()
        return Hanging(free)

    with pytest.raises(SourceLost, match="does not answer"):
        CameraSource("/dev/video0", SourceOptions(), hang, limit_s=0.05)
    free.set()
