"""Files and network cameras, through PyAV. [I/O]

Owns opening, decoding and conversion to BGR. A frame or packet that cannot be decoded is left out and
counted. Does not pace and does not reconnect: `capture.grabber` does.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError

from edge_node.capture.source import (
    MAX_PIXELS,
    CapturedImage,
    SourceClock,
    SourceEnded,
    SourceError,
    SourceInfo,
    SourceKind,
    SourceLost,
    SourceOptions,
    label_of,
)
from vision.detections import Image

log = logging.getLogger(__name__)

MAX_BAD_IN_A_ROW = 250
"""Ten seconds of frames at 25 a second: after that it is not a damaged spot but a damaged source."""
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}
"""By degrees counterclockwise, as FFmpeg states the rotation of a picture."""
_REFUSALS = (av.HTTPUnauthorizedError, av.HTTPForbiddenError)


class MediaSource:
    """Pictures of a file or a stream. Built by `file` or `network`."""

    def __init__(self, address: str, label: str, kind: SourceKind, options: SourceOptions) -> None:
        self.skipped = 0
        self._address = address
        self._label = label
        self._kind = kind
        self._options = options
        self._container: InputContainer | None = None
        self._container = self._open()
        if not self._container.streams.video:
            self.close()
            raise SourceError(f"{label} holds no video: it is of another kind, or cut short")
        self._stream = self._container.streams.video[0]
        rate = self._stream.average_rate or self._stream.base_rate or self._stream.guessed_rate
        fps = float(rate) if rate and 0 < rate <= 1000 else 0.0
        # A film that is served over http has a length and is paced like a file.
        is_live = kind is SourceKind.NETWORK and not self._container.duration
        # Frame threads double the rate but hold one frame back per thread: not for live pictures.
        self._stream.thread_type = "SLICE" if is_live else "FRAME"
        # Motion JPEG over http has no clock of its own; FFmpeg would count 25 frames a second.
        self._by_arrival = is_live and "mjpeg" in self._container.format.name.replace("mpjpeg", "mjpeg")
        self._clock = SourceClock(1 / (fps or 25.0))
        self._origin_s: float | None = None
        self._frames = self._decode(is_live)
        self._first: CapturedImage | None = self._begin()
        height, width = self._first.image.shape[:2]
        self.info = SourceInfo(width, height, fps, kind, label, is_live)

    @classmethod
    def file(cls, path: Path, options: SourceOptions) -> MediaSource:
        """Raises SourceError where the file is missing, unreadable or no video."""
        if path.is_dir():
            raise SourceError(f"{path} is a folder; give a video file")
        if not path.exists():
            raise SourceError(f"there is no file {path}; give a video file, a camera number or rtsp://…")
        # "file:" keeps FFmpeg from reading a name such as "concat:a" or "rtsp:a" as something else.
        return cls(f"file:{path}", str(path), SourceKind.FILE, options)

    @classmethod
    def network(cls, url: str, options: SourceOptions) -> MediaSource:
        """Raises SourceLost where nothing answers now, SourceError where the camera refuses."""
        return cls(url, label_of(url), SourceKind.NETWORK, options)

    def read(self) -> CapturedImage:
        """The next picture; see the port. A looped file starts again at its end."""
        if self._first is not None:
            captured, self._first = self._first, None
            return captured
        try:
            return next(self._frames)
        except StopIteration:
            pass
        if self.info.is_live:
            raise SourceLost(f"{self._label} has stopped sending")
        if not self._options.loop:
            raise SourceEnded(f"{self._label} is at its end")
        self._rewind()
        try:
            return next(self._frames)
        except StopIteration:
            raise SourceEnded(f"{self._label} cannot be read again from its start") from None

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open(self) -> InputContainer:
        # A file may be a playlist that names other addresses: FFmpeg lets a file open files only, as
        # long as no wider protocol_whitelist is set here (held by a test).
        options: dict[str, str] = {}
        if self._kind is SourceKind.NETWORK:
            options = {"rtsp_transport": self._options.rtsp_transport, "fflags": "nobuffer"}
        timeout = self._options.timeout_s if self._kind is SourceKind.NETWORK else None
        try:
            # metadata_errors: a clip with a title in an odd encoding is still a clip.
            return av.open(self._address, options=options, timeout=timeout, metadata_errors="replace")
        except _REFUSALS:
            raise SourceError(f"{self._label} refuses the user name or password in its address") from None
        except (FFmpegError, OSError, ValueError) as exc:
            # The text of the error repeats the address with its password; only the reason is used,
            # and the chain is cut.
            raise self._cannot_open(exc) from None

    def _cannot_open(self, exc: Exception) -> Exception:
        if self._kind is SourceKind.FILE:
            if isinstance(exc, PermissionError):
                return SourceError(f"no permission to read {self._label}")
            return SourceError(
                f"{self._label} cannot be read as a video ({_reason(exc)}): "
                "it may be damaged, cut short or of another kind"
            )
        return SourceLost(f"{self._label} does not answer ({_reason(exc)})")

    def _begin(self) -> CapturedImage:
        """The first picture: proves that there is one, and tells the size after rotation."""
        try:
            return next(self._frames)
        except StopIteration:
            self.close()
            if self._kind is SourceKind.NETWORK:
                raise SourceLost(f"{self._label} sends no picture") from None
            raise SourceError(
                f"not one picture of {self._label} can be decoded: the file is damaged or cut short"
            ) from None
        except (SourceLost, SourceError):
            self.close()
            raise

    def _rewind(self) -> None:
        self.close()
        self._container = self._open()
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "FRAME"
        self._clock.restart()
        self._frames = self._decode(is_live=False)

    def _decode(self, is_live: bool) -> Iterator[CapturedImage]:
        """Pictures until the end. Bad packets and frames are counted and left out."""
        bad = 0
        for frames in self._packets(is_live):
            for frame in frames:
                if frame.is_corrupt:
                    self.skipped += 1
                    continue
                bad = 0
                yield self._captured(frame, is_live)
            bad = bad + 1 if frames is _BAD else bad
            if bad >= MAX_BAD_IN_A_ROW:
                log.warning("%s: %d damaged packets in a row, giving up", self._label, bad)
                return

    def _packets(self, is_live: bool) -> Iterator[list[av.VideoFrame]]:
        """Decoded frames packet by packet; `_BAD` for a packet that could not be decoded."""
        assert self._container is not None
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (FFmpegError, OSError) as exc:
                if is_live:
                    raise SourceLost(f"{self._label} has stopped sending ({_reason(exc)})") from None
                self.skipped += 1
                log.warning("%s breaks off (%s)", self._label, _reason(exc))
                return
            try:
                yield packet.decode()
            except av.EOFError:
                return
            except (FFmpegError, ValueError):
                self.skipped += 1
                yield _BAD

    def _captured(self, frame: av.VideoFrame, is_live: bool) -> CapturedImage:
        if frame.width * frame.height > MAX_PIXELS:
            raise SourceError(
                f"the pictures of {self._label} are {frame.width}x{frame.height}; the most is 7680x4320"
            )
        pts_s = None if frame.time is None else float(frame.time)
        if self._by_arrival:
            pts_s = time.monotonic()
        if is_live and pts_s is not None:  # a live clock starts anywhere; a file's is kept as it is
            self._origin_s = pts_s if self._origin_s is None else self._origin_s
            pts_s -= self._origin_s
        return CapturedImage(to_bgr(frame), self._clock.stamp(pts_s))


_BAD: list[av.VideoFrame] = []


def to_bgr(frame: av.VideoFrame) -> Image:
    """(H, W, 3) uint8 BGR, turned upright as the frame's metadata asks."""
    image = frame.to_ndarray(format="bgr24")
    turn = _TURNS.get(round(frame.rotation / 90) * 90 % 360)
    if turn is not None:
        image = cv2.rotate(image, turn)
    return np.asarray(image, np.uint8)


def _reason(exc: Exception) -> str:
    """Why, without the address that FFmpeg's own text repeats."""
    if isinstance(exc, av.ExitError):
        return "no answer in time"
    return str(getattr(exc, "strerror", None) or type(exc).__name__)
