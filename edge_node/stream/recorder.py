"""Records masked frames to a file: each one once, in order, at its own time.

Owns the queue before the encoder and its thread. The queue is bounded by memory; when it is full the
frame that comes is left out and counted (drop-newest: what was accepted is written without a gap). Sees
masked frames only, so a recording holds nothing that the live picture did not show.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from edge_node.bridge import name_thread
from edge_node.frames import MaskedFrame, ReleaseReason
from edge_node.stream.errors import RecordError
from edge_node.stream.matroska import MatroskaWriter

log = logging.getLogger(__name__)

MAX_WAITING_BYTES = 384 * 1024 * 1024
"""Frames that wait for the encoder: 5 s of 720p at 25 a second, 2.5 s of 1080p."""


class Recorder:
    """A sink that writes a Matroska file (H.264). `close` finishes the file; it may be called twice.

    `nominal_fps` is asked when the first frame comes (0: unknown) and only labels the file: the time of
    each frame is its `pts_s`. `on_error` gets one line, once, from the recorder's thread; what was
    written until then stays playable. Raises RecordError where the path cannot be used.
    """

    def __init__(
        self,
        path: Path,
        on_error: Callable[[str], None],
        nominal_fps: Callable[[], float] = lambda: 0.0,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        self.path = path
        kept = prepare(path)
        if kept is not None:
            log.info("the earlier recording was kept as %s", kept)
        self._on_error = on_error
        self._nominal_fps = nominal_fps
        self._max_waiting_bytes = max_waiting_bytes
        self._condition = threading.Condition()
        self._queue: deque[MaskedFrame] = deque()
        self._waiting_bytes = 0
        self._is_closing = False
        self._has_failed = False
        self.written = 0
        self.dropped = 0
        """Frames left out because the encoder was behind or the file could not be written."""
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def has_failed(self) -> bool:
        return self._has_failed

    def push(self, frame: MaskedFrame) -> None:
        """Take a frame; returns at once. A notice that stands in for a lost camera is no frame of it
        and is not recorded: the last picture stays on until the camera is back."""
        if frame.reason is ReleaseReason.NO_SOURCE:
            return
        size = frame.image.nbytes
        with self._condition:
            is_full = bool(self._queue) and self._waiting_bytes + size > self._max_waiting_bytes
            if self._is_closing or self._has_failed or is_full:
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
            self._fail(f"recording to {self.path} did not finish within {timeout_s:.0f} s")

    def _run(self) -> None:
        name_thread()
        writer: MatroskaWriter | None = None
        try:
            while (frame := self._next()) is not None:
                if writer is None:
                    height, width = frame.image.shape[:2]
                    writer = MatroskaWriter(self.path, width, height, self._nominal_fps())
                writer.write(frame.image, frame.pts_s)
                self.written += 1
        except (OSError, ValueError) as exc:
            self._stopped(exc)
        if writer is not None:
            try:
                writer.close()
            except (OSError, ValueError) as exc:
                self._stopped(exc)

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

    def _stopped(self, exc: Exception) -> None:
        reason = getattr(exc, "strerror", None) or str(exc)
        self._fail(
            f"recording to {self.path} has stopped ({reason}): free some space or record elsewhere; "
            f"about {self.written} frames are kept"
        )

    def _fail(self, line: str) -> None:
        with self._condition:
            self.dropped += len(self._queue)
            self._queue.clear()
            self._waiting_bytes = 0
            if self._has_failed:
                return
            self._has_failed = True
        self._on_error(line)


def prepare(path: Path) -> Path | None:
    """Check that a recording can be written to `path`; an earlier one there is moved aside.

    Returns where the earlier one is now, None where there was none. Raises RecordError.
    """
    if path.suffix.lower() != ".mkv":
        raise RecordError(
            f"recordings are Matroska files: call it {path.stem or 'out'}.mkv, not {path.name!r}"
        )
    if path.is_dir():
        raise RecordError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise RecordError(f"there is no folder {path.parent} to record to; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise RecordError(f"no permission to write {path}; choose another place")
    if not path.is_file() or not path.stat().st_size:
        return None
    number = 1
    while (kept := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    try:
        return path.rename(kept)
    except OSError as exc:
        raise RecordError(f"{path} exists and cannot be moved aside: {exc.strerror}") from exc
