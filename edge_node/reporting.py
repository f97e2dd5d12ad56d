"""What the node tells the hub of itself, for the wall: numbers, every two seconds and when people come or go.

`FrameTally` counts masked frames as a sink among others (release thread); `Reporter` reads it in the event
loop and sends. Holds no picture and no name.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from edge_node.frames import MaskedFrame
from edge_node.stream.state import NodeState
from protocol.limits import MAX_DURATION_S, MAX_FPS, MAX_TRACKS
from protocol.messages import CameraState

REPORT_EVERY_S = 2.0
LOOK_EVERY_S = 0.25
"""How soon a change is told; a message of about 200 bytes each time something changes."""
WINDOW_S = 4.0
"""Rate and share are of the last seconds."""
MAX_WINDOW = 1_024
STALE_S = 2.0
"""An older picture says nothing of who is there now."""
CAMERA_STATES: dict[str, CameraState] = {
    "opening": "opening", "live": "live", "lost": "lost", "ended": "ended", "failed": "failed",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tally:
    """The last seconds of the stream."""

    fps: float = 0.0
    fully_veiled: float = 0.0
    """Share of them, 0..1."""
    shown: int = 0
    veiled: int = 0
    """Of the newest picture; 0 where there is none that is recent."""


@dataclass(frozen=True, slots=True)
class Report:
    """What `Uplink.report` sends; the fields of `protocol.messages.NodeReport` without its session."""

    camera: CameraState
    tally: Tally
    delay_p50_s: float
    delay_p95_s: float
    viewers: int
    software: str
    address: str

    def differs(self, other: Report | None) -> bool:
        """People would see a difference: told at once."""
        return other is None or (self.camera, self.tally.shown, self.tally.veiled) != (
            other.camera, other.tally.shown, other.tally.veiled,
        )  # fmt: skip


class FrameTally:
    """A sink that keeps nothing of a frame but its numbers."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._frames: deque[tuple[float, bool]] = deque(maxlen=MAX_WINDOW)
        self._shown = self._veiled = 0

    def push(self, frame: MaskedFrame) -> None:
        """Count a frame."""
        with self._lock:
            self._frames.append((self._now(), frame.fully_veiled))
            self._shown, self._veiled = len(frame.shown), frame.veiled_count

    def close(self) -> None:
        """Nothing is open."""

    def read(self) -> Tally:
        """The numbers of this moment."""
        now = self._now()
        with self._lock:
            frames = [(at, full) for at, full in self._frames if now - at <= WINDOW_S]
            shown, veiled = self._shown, self._veiled
        if not frames:
            return Tally()
        is_recent = now - frames[-1][0] <= STALE_S
        span_s = max(now - frames[0][0], 1.0)
        return Tally(
            min(MAX_FPS, len(frames) / span_s),
            sum(full for _, full in frames) / len(frames),
            min(MAX_TRACKS, shown) if is_recent else 0,
            min(MAX_TRACKS, veiled) if is_recent else 0,
        )


class Reporter:
    """`send` tells whether a report is on its way; without a session there is nobody to tell."""

    def __init__(
        self,
        tally: FrameTally,
        state: Callable[[], NodeState],
        viewers: Callable[[], int],
        address: Callable[[], str],
        send: Callable[[Report], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:  # three things to ask, one to tell
        self._tally = tally
        self._state = state
        self._viewers = viewers
        self._address = address
        self._send = send
        self._now = now
        self._sent: Report | None = None
        self._sent_at = float("-inf")
        self._software = software_version()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            self.step()
            await asyncio.sleep(LOOK_EVERY_S)

    def step(self) -> None:
        """Report if it is time, or if something has changed."""
        now = self._now()
        report = self._report()
        if (now - self._sent_at >= REPORT_EVERY_S or report.differs(self._sent)) and self._send(report):
            self._sent, self._sent_at = report, now

    def _report(self) -> Report:
        state = self._state()
        p50_ms, p95_ms, _ = state.latency_ms
        return Report(
            CAMERA_STATES[state.camera.state], self._tally.read(),
            min(MAX_DURATION_S, p50_ms / 1000), min(MAX_DURATION_S, p95_ms / 1000),
            self._viewers(), self._software, self._address(),
        )  # fmt: skip


def software_version() -> str:
    """Of the installed package; empty where it runs from elsewhere."""
    try:
        return version("veilcast")
    except PackageNotFoundError:
        return ""
