"""The capture thread: opens the source, numbers and stamps its frames, and brings a lost one back.

Owns the source, the frame counter and the presentation clock over reconnects. A file is paced by its
own time stamps; every decoded frame is delivered, none is skipped. What becomes of a frame is decided
in `on_frame`, which must return at once. Built and stopped by `edge_node.node`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from enum import StrEnum

from edge_node.bridge import name_thread
from edge_node.capture.source import (
    FrameSource,
    SourceEnded,
    SourceError,
    SourceInfo,
    SourceLost,
)
from edge_node.frames import RawFrame
from protocol.backoff import backoff_s
from vision.detections import Image

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 1.5
"""However long a camera was away, it is asked again within this time: with opening it and proving anew
who is seen, people who may be shown are back within 3 s of its answering (`camera-lost`, docs/faults.md).
An attempt costs a dead camera a packet."""
STEADY_S = 5.0
"""A source that lasted this long counts as back; one that dies sooner is retried ever more slowly."""


class SourceState(StrEnum):
    """What the source does, for the page and the log."""

    OPENING = "opening"
    LIVE = "live"
    LOST = "lost"
    """No picture; it is being tried again."""
    ENDED = "ended"
    """The file has been read to its end; nothing more will come."""
    FAILED = "failed"
    """It could not be opened at all, and trying again would not help; nothing will come."""


OnFrame = Callable[[RawFrame], None]
OnState = Callable[[SourceState, str], None]


class Grabber:
    """Reads a source in a thread of its own. Both callbacks are called from that thread.

    `opener` opens the source (`capture.opening.open_source` with its arguments bound). `roll` gives a
    number in 0..1 for the pauses, `now` monotonic seconds; `wait` sleeps and returns whether to stop.
    """

    def __init__(
        self,
        opener: Callable[[], FrameSource],
        on_frame: OnFrame,
        on_state: OnState,
        *,
        roll: Callable[[], float] = random.random,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._opener = opener
        self._on_frame = on_frame
        self._on_state = on_state
        self._roll = roll
        self._now = now
        self._stopping = threading.Event()
        self._wait = wait or self._stopping.wait
        self._thread = threading.Thread(target=self.run, name="capture", daemon=True)
        self._told: tuple[SourceState, str] | None = None
        self._seq = 0
        self._last_pts_s: float | None = None
        self._last_at = 0.0
        self._was_live = False
        self.info: SourceInfo | None = None
        """Of the open source, or of the last one; None before the first."""
        self.skipped = 0
        """Frames that could not be decoded, over all reconnects."""

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> None:
        """Ask the thread to end and wait for it. One that hangs in a dead camera is named in the log
        and dies with the process."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                log.warning("the capture thread did not stop within %.0f s", timeout_s)

    def run(self) -> None:
        """The thread's body: one turn for each time the source is opened."""
        name_thread()
        self._tell(SourceState.OPENING, "opening the source")
        attempt = 0
        while not self._stopping.is_set():
            opened_at = self._now()
            try:
                self._session()
                return  # stopped
            except SourceEnded as exc:
                self._tell(SourceState.ENDED, str(exc))
                return
            except SourceError as exc:
                if not self._was_live:
                    self._tell(SourceState.FAILED, str(exc))
                    return
                reason = str(exc)  # an unplugged camera cannot be opened until it is back
            except SourceLost as exc:
                reason = str(exc)
            except Exception as exc:
                # A fault in a decoder must not end a stream that runs unattended: it counts as a loss.
                log.debug("reading the source failed", exc_info=True)
                reason = f"reading the source failed ({type(exc).__name__})"
            self._tell(SourceState.LOST, reason)
            attempt = 0 if self._now() - opened_at >= STEADY_S and self._was_live else attempt + 1
            if self._wait(self._pause_s(attempt)):
                return

    def _pause_s(self, attempt: int) -> float:
        # Half of each pause is fixed: with full jitter a camera could be asked twice at once.
        roll = 0.5 + 0.5 * self._roll()
        return backoff_s(max(0, attempt - 1), roll, first_s=2 * FIRST_PAUSE_S, max_s=LONGEST_PAUSE_S)

    def _session(self) -> None:
        """Open the source and deliver its frames until it fails, ends or the thread is to stop."""
        source = self._opener()
        skipped_before = self.skipped
        shift_s: float | None = None
        began: tuple[float, float] | None = None
        try:
            self.info = source.info
            while not self._stopping.is_set():
                captured = source.read()
                if shift_s is None:
                    shift_s = self._shift_s(captured.pts_s)
                pts_s = captured.pts_s + shift_s
                if not source.info.is_live:
                    began = began or (self._now(), pts_s)
                    if self._wait_until(began[0] + pts_s - began[1]):
                        return
                self._deliver(captured.image, pts_s)
        finally:
            self.skipped = skipped_before + source.skipped
            source.close()

    def _shift_s(self, first_pts_s: float) -> float:
        """What to add to this session's stamps. After a loss the clock goes on with the time that has
        really passed, so that a recording shows the gap at its true length."""
        if self._last_pts_s is None:
            return 0.0
        gap_s = max(0.001, self._now() - self._last_at)
        return self._last_pts_s + gap_s - first_pts_s

    def _wait_until(self, due: float) -> bool:
        """Whether to stop. The schedule is absolute: a late frame does not make the next one late."""
        remaining = due - self._now()
        return remaining > 0 and self._wait(remaining)

    def _deliver(self, image: Image, pts_s: float) -> None:
        now = self._now()
        frame = RawFrame(seq=self._seq, captured_at=now, pts_s=pts_s, image=image)
        self._seq += 1
        self._last_pts_s = pts_s
        self._last_at = now
        self._was_live = True
        info = self.info
        if info is not None:
            self._tell(SourceState.LIVE, f"{info.label}, {info.width}x{info.height}")
        self._on_frame(frame)

    def _tell(self, state: SourceState, text: str) -> None:
        if (state, text) != self._told:
            self._told = (state, text)
            self._on_state(state, text)
