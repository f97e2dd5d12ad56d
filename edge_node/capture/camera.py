"""A camera at this machine (UVC or any other V4L2 device), through OpenCV. [I/O]

Owns the device and the search for others to name in an error. Knows nothing of retrying.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np

from edge_node.capture.limited import LimitedCaller
from edge_node.capture.source import (
    CapturedImage,
    SourceClock,
    SourceError,
    SourceInfo,
    SourceKind,
    SourceLost,
    SourceOptions,
)
from vision.detections import Image

log = logging.getLogger(__name__)

CALL_S = 15.0
"""For each call into OpenCV, which has no limit of its own for what a driver is asked when it opens; longer
than the limits below, which end with a better word."""
OPEN_TIMEOUT_MS = 5_000
READ_TIMEOUT_MS = 5_000
"""A camera that gives nothing for this long is lost; OpenCV's own default is ten seconds."""
_BY_NAME = Path("/sys/class/video4linux")
_DEV = Path("/dev")


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that is used."""

    def isOpened(self) -> bool: ...  # noqa: N802 - OpenCV's name
    def read(self) -> tuple[bool, Image]: ...
    def get(self, key: int) -> float: ...
    def set(self, key: int, value: float) -> bool: ...
    def release(self) -> None: ...


def _open_v4l2(device: str) -> Capture:
    wishes = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
        OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC,
        READ_TIMEOUT_MS,
    ]
    capture = cv2.VideoCapture(device, cv2.CAP_V4L2, wishes)
    if not capture.isOpened():  # a build without these two settings refuses to open with them
        capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
    return cast(Capture, capture)


class CameraSource:
    """Frames of one local camera. Raises SourceError where it cannot be opened."""

    def __init__(
        self,
        device: str,
        options: SourceOptions,
        opener: Callable[[str], Capture] = _open_v4l2,
        now: Callable[[], float] = time.monotonic,
        limit_s: float = CALL_S,
    ) -> None:
        self._device = device
        self._now = now
        self.skipped = 0
        self._capture: Capture | None = None
        self._caller = LimitedCaller(f"camera {device}", limit_s)
        try:
            self._capture = self._caller.call(lambda: self._open(opener, options))
            first = self._grab()
            fps = self._caller.call(lambda: self._capture.get(cv2.CAP_PROP_FPS) if self._capture else 0.0)
        except TimeoutError as exc:
            self.close()
            raise SourceLost(f"{device} does not answer within {limit_s:g} s") from exc
        except (SourceLost, SourceError):
            self.close()
            raise
        self.info = SourceInfo(
            width=first.shape[1],
            height=first.shape[0],
            fps=fps if 0 < fps <= 1000 else 0.0,
            kind=SourceKind.CAMERA,
            label=device,
            is_live=True,
        )
        self._clock = SourceClock(1 / (self.info.fps or 25.0))
        self._first: Image | None = first
        self._began = self._now()

    def read(self) -> CapturedImage:
        """The next picture. Its stamp is the time of arrival: what drivers report as a camera's own
        time differs in unit and origin from driver to driver."""
        image, self._first = self._first, None
        if image is None:
            image = self._grab()
        return CapturedImage(image, self._clock.stamp(self._now() - self._began))

    def close(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            try:
                self._caller.call(capture.release)
            except TimeoutError:
                log.warning("%s does not let go; it is left behind", self._device)
        self._caller.close()

    def _open(self, opener: Callable[[str], Capture], options: SourceOptions) -> Capture:
        if opener is _open_v4l2:
            _check(self._device)
        capture = opener(self._device)
        if not capture.isOpened():
            capture.release()
            raise SourceError(
                f"{self._device} does not open as a camera: another program may hold it, or it is not one; "
                f"cameras found: {found_cameras()}"
            )
        self._ask(capture, options)
        return capture

    def _ask(self, capture: Capture, options: SourceOptions) -> None:
        # USB 2 carries 720p at 25 frames a second only as MJPEG; a camera without it stays as it is.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.height)
        capture.set(cv2.CAP_PROP_FPS, options.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 2)

    def _grab(self) -> Image:
        capture = self._capture
        if capture is None:
            raise SourceLost(f"{self._device} is closed")
        try:
            ok, image = self._caller.call(capture.read)
        except TimeoutError as exc:
            raise SourceLost(f"{self._device} gives no picture in time") from exc
        if not ok or image is None:
            raise SourceLost(f"{self._device} gives no picture: is it unplugged?")
        if image.ndim == 2:
            image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        return np.ascontiguousarray(image)


def _check(device: str) -> None:
    path = Path(device)
    if not path.exists():
        raise SourceError(f"no camera at {device}; cameras found: {found_cameras()}")
    try:
        with path.open("rb"):
            pass
    except PermissionError as exc:
        raise SourceError(
            f"no permission to read {device}; add this user to the group video: "
            "sudo usermod -aG video $USER, then log in again"
        ) from exc
    except OSError as exc:
        raise SourceError(
            f"{device} does not open: {exc.strerror}; cameras found: {found_cameras()}"
        ) from exc


def found_cameras(dev: Path = _DEV, by_name: Path = _BY_NAME) -> str:
    """The video devices of this machine in one line, for an error message."""
    found = []
    for path in sorted(dev.glob("video*"), key=lambda p: (len(p.name), p.name)):
        if not path.name.removeprefix("video").isdigit():
            continue
        name = by_name / path.name / "name"
        try:
            found.append(f"{path} ({name.read_text().strip()})")
        except OSError:
            found.append(str(path))
    return ", ".join(found) or "none"
