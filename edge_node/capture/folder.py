"""A folder of video files, played one after another in the order of their names. [I/O]

Owns the order and the clock over the files. A file that is no video is passed over and told; its pictures
come from `capture.media`, one file open at a time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path

from edge_node.capture.media import MediaSource
from edge_node.capture.source import (
    CapturedImage,
    FrameSource,
    SourceClock,
    SourceEnded,
    SourceError,
    SourceOptions,
)

log = logging.getLogger(__name__)

SUFFIXES = frozenset({".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".ts", ".mpg", ".mpeg", ".h264"})


def films(folder: Path) -> list[Path]:
    """The video files of a folder, clip2 before clip10. Raises SourceError."""
    try:
        found = [p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file()]
    except OSError as exc:
        raise SourceError(f"the folder {folder} cannot be read: {exc.strerror}") from exc
    if not found:
        raise SourceError(f"{folder} holds no video file ({', '.join(sorted(SUFFIXES))})")
    return sorted(found, key=_natural)


class FolderSource:
    """Pictures of all files of a folder. With `options.loop` it begins again after the last."""

    def __init__(
        self,
        folder: Path,
        options: SourceOptions,
        opener: Callable[[Path, SourceOptions], FrameSource] = MediaSource.file,
    ) -> None:
        self._folder = folder
        self._loop = options.loop
        self._options = SourceOptions(loop=False, timeout_s=options.timeout_s)
        self._opener = opener
        self._left = films(folder)
        self._skipped_before = 0
        self._clock: SourceClock | None = None
        self._current: FrameSource | None = self._open_next()
        if self._current is None:
            raise SourceError(f"not one file of {folder} can be read as a video")
        self.info = self._current.info
        self._clock = SourceClock(1 / (self.info.fps or 25.0))

    @property
    def skipped(self) -> int:
        return self._skipped_before + (self._current.skipped if self._current is not None else 0)

    def read(self) -> CapturedImage:
        """The next picture; see the port."""
        assert self._clock is not None
        while self._current is not None:
            try:
                captured = self._current.read()
            except SourceEnded:
                self.close()
                self._current = self._open_next()
                if self._current is None and self._loop:
                    self._left = films(self._folder)
                    self._current = self._open_next()
                self._clock.restart()
                continue
            return CapturedImage(captured.image, self._clock.stamp(captured.pts_s))
        raise SourceEnded(f"{self._folder} is at its end")

    def close(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            self._skipped_before += current.skipped
            current.close()

    def _open_next(self) -> FrameSource | None:
        while self._left:
            path = self._left.pop(0)
            try:
                return self._opener(path, self._options)
            except SourceError as exc:
                log.warning("passed over: %s", exc)
        return None


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Numbers within a name count as numbers."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts if p]
