"""The capture thread: pace, numbers, clock and reconnects, with a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edge_node.capture.grabber import Grabber, SourceState
from edge_node.capture.source import (
    CapturedImage,
    FrameSource,
    SourceEnded,
    SourceError,
    SourceInfo,
    SourceKind,
    SourceLost,
)
from edge_node.frames import RawFrame

IMAGE = np.zeros((4, 6, 3), np.uint8)


class Clock:
    """Time that passes only where something waits or works."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []
        self.stop_after: int | None = None

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.now += seconds
        return self.stop_after is not None and len(self.waits) >= self.stop_after


class FakeSource:
    """Gives frames at these stamps, each after `work_s`; then raises `then`."""

    def __init__(
        self, clock: Clock, stamps: list[float], then: Exception, *, live: bool, work_s: float = 0.0
    ) -> None:
        self._clock, self._stamps, self._then, self._work_s = clock, iter(stamps), then, work_s
        self.info = SourceInfo(6, 4, 25.0, SourceKind.NETWORK if live else SourceKind.FILE, "it", live)
        self.skipped = 1
        self.closed = 0

    def read(self) -> CapturedImage:
        self._clock.now += self._work_s
        for stamp in self._stamps:
            return CapturedImage(IMAGE, stamp)
        raise self._then

    def close(self) -> None:
        self.closed += 1


def grab(
    clock: Clock, sources: list[FakeSource | Exception]
) -> tuple[Grabber, list[RawFrame], list[tuple[SourceState, str]]]:
    frames: list[RawFrame] = []
    states: list[tuple[SourceState, str]] = []
    queue: Iterator[FakeSource | Exception] = iter(sources)

    def opener() -> FrameSource:
        source = next(queue)
        if isinstance(source, Exception):
            raise source
        return source

    grabber = Grabber(
        opener,
        frames.append,
        lambda *s: states.append(s),
        roll=lambda: 0.0,
        now=clock,
        wait=clock.wait,
    )
    grabber.run()
    return grabber, frames, states


def test_a_file_is_paced_by_its_stamps_whatever_the_work_costs() -> None:
    clock = Clock()
    stamps = [0.5, 0.54, 0.6, 1.5]
    source = FakeSource(clock, stamps, SourceEnded("end"), live=False, work_s=0.03)
    grabber, frames, states = grab(clock, [source])
    start = frames[0].captured_at
    assert [f.captured_at - start for f in frames] == pytest.approx([0.0, 0.04, 0.1, 1.0])
    assert [f.pts_s for f in frames] == stamps
    assert [f.seq for f in frames] == [0, 1, 2, 3]
    assert [s for s, _ in states] == [SourceState.OPENING, SourceState.LIVE, SourceState.ENDED]
    assert source.closed == 1
    assert grabber.skipped == 1


def test_a_file_that_fell_behind_catches_up_and_skips_nothing() -> None:
    clock = Clock()
    stamps = [n * 0.04 for n in range(10)]
    slow: Callable[[], float] = iter([0.0, 0.2] + [0.0] * 20).__next__

    class Slow(FakeSource):
        def read(self) -> CapturedImage:
            clock.now += slow()
            return super().read()

    _, frames, _ = grab(clock, [Slow(clock, stamps, SourceEnded("end"), live=False)])
    late = [f.captured_at - frames[0].captured_at - f.pts_s for f in frames]
    assert len(frames) == 10
    assert late[1] == pytest.approx(0.16)
    assert late[6:] == pytest.approx([0.0] * 4)


def test_a_live_source_is_not_paced() -> None:
    clock = Clock()
    clock.stop_after = 1
    _, frames, _ = grab(clock, [FakeSource(clock, [0.0, 5.0], SourceLost("gone"), live=True)])
    assert [f.captured_at for f in frames] == [100.0, 100.0]


def test_after_a_loss_numbers_go_on_and_the_gap_keeps_its_length() -> None:
    clock = Clock()
    clock.stop_after = 3
    first = FakeSource(clock, [10.0, 10.04], SourceLost("it has stopped sending"), live=True, work_s=0.04)
    second = FakeSource(clock, [0.0, 0.04], SourceLost("gone again"), live=True, work_s=0.04)
    grabber, frames, states = grab(clock, [first, SourceLost("no answer"), second])
    assert [f.seq for f in frames] == [0, 1, 2, 3]
    gap = frames[2].captured_at - frames[1].captured_at
    assert gap > 1.0
    assert [f.pts_s for f in frames] == pytest.approx([10.0, 10.04, 10.04 + gap, 10.08 + gap])
    assert [s.value for s, _ in states] == ["opening", "live", "lost", "lost", "live", "lost"]
    assert states[2][1] == "it has stopped sending"
    assert first.closed == second.closed == 1
    assert grabber.skipped == 2


def test_pauses_grow_to_a_limit() -> None:
    clock = Clock()
    clock.stop_after = 8
    grab(clock, [SourceLost(f"no answer {n}") for n in range(20)])
    assert clock.waits == pytest.approx([0.5, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75])


def test_a_source_that_was_steady_is_tried_again_soon() -> None:
    clock = Clock()
    clock.stop_after = 4
    steady = FakeSource(clock, [0.0] * 10, SourceLost("gone"), live=True, work_s=1.0)
    grab(clock, [SourceLost("a"), SourceLost("b"), steady, SourceLost("c")])
    assert clock.waits == pytest.approx([0.5, 0.75, 0.5, 0.5])


def test_what_cannot_be_opened_fails_at_once_and_for_good() -> None:
    clock = Clock()
    _, frames, states = grab(clock, [SourceError("no camera at /dev/video0")])
    assert not frames
    assert not clock.waits
    assert states[-1] == (SourceState.FAILED, "no camera at /dev/video0")


def test_a_camera_unplugged_later_is_waited_for() -> None:
    clock = Clock()
    clock.stop_after = 3
    camera = FakeSource(clock, [0.0], SourceLost("no picture"), live=True)
    back = FakeSource(clock, [0.0], SourceLost("no picture"), live=True)
    _, frames, states = grab(clock, [camera, SourceError("no camera at /dev/video0"), back])
    assert len(frames) == 2
    assert (SourceState.LOST, "no camera at /dev/video0") in states


def test_a_fault_in_a_decoder_is_a_loss_and_not_the_end() -> None:
    clock = Clock()
    clock.stop_after = 2
    broken = FakeSource(clock, [0.0], RuntimeError("bits"), live=True)
    back = FakeSource(clock, [0.0], SourceLost("gone"), live=True)
    _, frames, states = grab(clock, [broken, back])
    assert len(frames) == 2
    assert states[2] == (SourceState.LOST, "reading the source failed (RuntimeError)")
    assert broken.closed == 1


def test_the_thread_stops_when_asked() -> None:
    clock = Clock()
    seen = threading.Event()
    stamps = [n * 1000.0 for n in range(100)]
    source = FakeSource(clock, stamps, SourceEnded("end"), live=False)
    grabber = Grabber(lambda: source, lambda _: seen.set(), lambda *_: None)
    grabber.start()
    assert seen.wait(5)
    grabber.stop()
    assert source.closed == 1
    assert "capture" not in {t.name for t in threading.enumerate()}
