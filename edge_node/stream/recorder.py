"""Records masked frames: each one once, in order, at its own time, to one file or to segments in a folder.

Owns the queue before the encoder and its thread. The queue is bounded by memory; when it is full the
frame that comes is left out and counted (drop-newest: what was accepted is written without a gap). Where
the disk is full or broken it says so once, leaves frames out, and goes on in a new file when there is room.
Sees masked frames only, so a recording holds nothing that the live picture did not show.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from edge_node.bridge import name_thread
from edge_node.frames import MaskedFrame, ReleaseReason
from edge_node.stream.matroska import MatroskaWriter
from edge_node.stream.shelf import RecordPlan, Shelf

log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 384 * 1024 * 1024
"""Frames that wait for the encoder: 5 s of 720p at 25 a second, 2.5 s of 1080p."""
LOOK_S = 2.0
"""How often the free space is looked at: at 14 Mbit/s that is 4 MB."""
RETRY_S = 10.0
"""After a failure the next try. A full disk is seldom empty sooner."""
TIDY_S = 60.0


class Recorder:
    """A sink that writes Matroska (H.264). `close` finishes the file; it may be called twice.

    `path` ends in .mkv (one file) or is a folder (segments). `nominal_fps` is asked when a file begins (0:
    unknown) and only labels it: the time of each frame is its `pts_s`. `on_error` gets one line for each
    time that recording stops, from the recorder's thread; what was written until then stays playable.
    Raises RecordError where the path cannot be used.
    """

    def __init__(
        self,
        path: Path,
        on_error: Callable[[str], None],
        nominal_fps: Callable[[], float] = lambda: 0.0,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        *,
        shelf: Shelf | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._shelf = shelf or Shelf(path, RecordPlan(), "recording")
        self._on_error = on_error
        self._nominal_fps = nominal_fps
        self._max_waiting_bytes = max_waiting_bytes
        self._now = now
        self._condition = threading.Condition()
        self._queue: deque[MaskedFrame] = deque()
        self._waiting_bytes = 0
        self._is_closing = False
        self._has_failed = False
        self._is_stopped = False
        self.written = 0
        self.dropped = 0
        """Frames left out because the encoder was behind or the file could not be written."""
        self._writer: MatroskaWriter | None = None
        self._began_s = 0.0
        self._retry_at = self._look_at = self._tidy_at = -math.inf
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def has_failed(self) -> bool:
        """Recording has stopped at least once, which `on_error` was told."""
        return self._has_failed

    @property
    def is_recording(self) -> bool:
        """Frames that come are written."""
        return not self._is_stopped and not self._is_closing

    def push(self, frame: MaskedFrame) -> None:
        """Take a frame; returns at once. A notice that stands in for a lost camera is no frame of it
        and is not recorded: the last picture stays on until the camera is back."""
        if frame.reason is ReleaseReason.NO_SOURCE:
            return
        size = frame.image.nbytes
        with self._condition:
            is_full = bool(self._queue) and self._waiting_bytes + size > self._max_waiting_bytes
            if self._is_closing or is_full:
                self.dropped += 1
                return
            self._queue.append(frame)
            self._waiting_bytes += size
            self._condition.notify()

    def close(self, timeout_s: float = 30.0) -> None:
        """Write what waits and finish the file, within `timeout_s`."""
        with self._condition:
            if self._is_closing:
                return
            self._is_closing = True
            self._condition.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            self._stop(f"recording to {self.path} did not finish within {timeout_s:.0f} s")

    def _run(self) -> None:
        name_thread()
        while (frame := self._next()) is not None:
            try:
                if not self._may_write():
                    self._leave_out()
                    continue
                self._write(frame)
            except (OSError, ValueError) as exc:
                self._failed(exc)
                self._leave_out()
        try:
            self._finish()
        except (OSError, ValueError) as exc:
            self._failed(exc)

    def _next(self) -> MaskedFrame | None:
        """The next frame to write; None when there will be no more."""
        with self._condition:
            while not self._queue and not self._is_closing:
                self._condition.wait()
            if not self._queue:
                return None
            frame = self._queue.popleft()
            self._waiting_bytes -= frame.image.nbytes
            return frame

    # --- in the recorder's thread -----------------------------------------------------------------

    def _may_write(self) -> bool:
        """Whether the disk has room and the last failure was long enough ago."""
        now = self._now()
        if now < self._retry_at:
            return False
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_S
            self._shelf.tidy()
        if now < self._look_at:
            return not self._is_stopped
        self._look_at = now + LOOK_S
        if not self._shelf.has_room(self._is_stopped):
            if not self._is_stopped:
                self._stop(
                    f"recording to {self.path} has stopped ({self._shelf.limit_words}): it goes on when "
                    f"there is room again; {self.written} frames are kept"
                )
            self._finish()
            return False
        return True

    def _write(self, frame: MaskedFrame) -> None:
        if self._writer is not None and self._shelf.is_full(frame.pts_s - self._began_s):
            self._finish()
            self._shelf.tidy()
        if self._writer is None:
            height, width = frame.image.shape[:2]
            path = self._shelf.next_path()
            self._writer = MatroskaWriter(path, width, height, self._nominal_fps())
            self._began_s = frame.pts_s
        # In a folder each file starts at 0; a single file keeps the source's own times.
        start_s = self._began_s if self._shelf.is_folder else 0.0
        self._writer.write(frame.image, frame.pts_s - start_s)
        self.written += 1
        if self._is_stopped:
            self._is_stopped = False
            log.info("recording to %s goes on", self.path)

    def _finish(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _leave_out(self) -> None:
        with self._condition:
            self.dropped += 1

    def _failed(self, exc: Exception) -> None:
        """Writing failed: give up this file (what is in it can be played) and try again later."""
        try:
            self._finish()
        except (OSError, ValueError) as again:
            log.debug("the file could not be finished either (%s)", type(again).__name__)
        self._retry_at = self._now() + RETRY_S
        reason = getattr(exc, "strerror", None) or str(exc)
        self._stop(
            f"recording to {self.path} has stopped ({reason}): free some space or record elsewhere; "
            f"about {self.written} frames are kept"
        )

    def _stop(self, line: str) -> None:
        """Say that nothing is recorded at present, once until it goes on."""
        was_stopped, self._is_stopped = self._is_stopped, True
        self._has_failed = True
        if not was_stopped:
            self._on_error(line)
